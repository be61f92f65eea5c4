"""The stages of a run, each a method that makes what is missing in its folder and returns its key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deft.artifacts import RunFolder, Stage, file_stem, load_mask, read_json
from deft.backbone import Backbone, build_backbone, find_weights
from deft.classify.classifier import Classifier, ClassifierNetwork, load_classifier, save_classifier
from deft.contracts import Dataset, InputError, ReadsFiles, SampleAugmentation, SeedMaps, Splits
from deft.data.examples import MaskedImages, TaggedImages, typical_side, without_truth
from deft.data.transforms import TrainCrop
from deft.engine import ranks
from deft.engine.fit import Watch, finish, fit
from deft.engine.infer import for_each
from deft.engine.layout import channels_last
from deft.mapping import SHARED, predictions_of, seeds_of
from deft.package_weights import package_digest
from deft.segment.deeplab import SegmentationNetwork, save_network
from deft.settings import key_of, plain
from deft.thresholds import Cuts, MapStatistics, choose, choose_refined, kept_statistics, read_tuned, stored_statistics

if TYPE_CHECKING:
    from deft.pipeline import Pipeline


NO_CLASSIFIER = "these seeds are read from a classifier and the recipe has none; give it one, or seeds of another kind"


@dataclass(frozen=True)
class Workshop:
    """What the ``prepare`` of a seed method or a refiner may use."""

    data: Dataset
    """Training images."""
    seeds: Callable[[int], SeedMaps]
    """Stored seeds of training image ``i``; a seed method has none yet."""
    backbone: Backbone
    """The trained classifier's, or what it would begin from where the recipe has none; in eval mode."""
    network: ClassifierNetwork | None
    """The trained classifier, in eval mode, this workshop's own copy; None where the recipe has none."""
    folder: Path
    """Of the stage that is trained: what is kept there survives a kill."""
    made_by: str
    """Key of the stage, to be written into its files."""
    side: int
    """Typical long side of the images, in pixels."""
    seed: int
    precision: str
    """Lightning's word, of training and of what is read off networks."""

    @property
    def classifier(self) -> ClassifierNetwork:
        """The trained classifier, in eval mode.

        Raises:
            InputError: the recipe has none.
        """
        if self.network is None:
            raise InputError(NO_CLASSIFIER)
        return self.network

    def crops(
        self,
        masks: list[Path],
        indices: tuple[int, ...],
        *,
        crop: float,
        scale: tuple[float, float],
        flip: bool,
        jitter: float = 0.0,
        centred: bool = False,
    ) -> MaskedImages:
        """Random crops of the images ``indices`` and of their masks.

        Args:
            masks: one path for every image of the data.
            indices: the images to learn from.
            crop: its side as a multiple of the images' typical long side.
            scale: range of the factor by which images are resized.
            flip: mirror every other image.
            jitter: strength of the colour jitter, 0 to 1.
            centred: make the side 32 k + 1 pixels instead of 32 k. Cell i of a feature map then is centred on pixel
                i * stride whether the network pads like torch or like TensorFlow.
        """
        side = 32 * max(1, round(crop * self.side / 32)) + int(centred)
        cut = TrainCrop(side, scale=scale, flip=flip, jitter=jitter)
        return MaskedImages(self.data, masks, cut, self.backbone.fill, indices)


class Run:
    """A pipeline at work in a run folder; each stage is a method that makes what is missing and returns its key."""

    def __init__(
        self,
        pipeline: Pipeline,
        data: Splits,
        out: RunFolder,
        reuse: Sequence[Path] = (),
        watch: Watch | None = None,
        home: Path | None = None,
    ) -> None:
        self.pipeline, self.splits, self.out = pipeline, data, out
        self.reuse = tuple(path for other in reuse for path in (other, *sorted(other.glob("round-*"))))
        self.home = home or out.path
        """The folder that the folders of earlier rounds are in."""
        self.watch = watch
        self.train, self.val = data.train, data.val
        self.data_key = data.train.fingerprint()
        self.val_key = data.val.fingerprint() if data.val is not None else ""
        self.side = typical_side(data.train)

    def stage(self, name: str, settings: Any, *inputs: str) -> Stage:
        """The stage of that name, taken over from another run where one has it."""
        stage = self.out.stage(name, key_of(name, settings, *inputs))
        if ranks.first() and not stage.done:
            stage.adopt(self.reuse)
        ranks.barrier()
        return stage

    @contextmanager
    def making(self, stage: Stage) -> Iterator[dict[str, Any]]:
        """As :meth:`deft.artifacts.Stage.making`, begun and ended by the first of several processes for all."""
        if not ranks.first():
            ranks.barrier()
            yield {}
            ranks.barrier()
        else:
            with stage.making() as notes:
                ranks.barrier()
                yield notes
                ranks.barrier()
        ranks.barrier()

    def share(self, stage: Stage) -> None:
        """Make the files of a stage together with whoever takes part."""
        shares = SHARED[stage.name](self, stage)
        for each in shares:
            each.take_part()
        ranks.barrier()
        if ranks.first():
            for each in shares:
                each.todo().clear()

    def files(self, stage: str, data: Dataset, suffix: str, part: str = "") -> list[Path]:
        """One path per image of ``data`` in a stage's folder."""
        folder = self.out.path / stage / part
        return [folder / (file_stem(name) + suffix) for name in data.names]

    def classifier(self) -> str:
        """Train the classifier; without one, the key of what the later stages begin from instead."""
        p = self.pipeline
        identity = (p.backbone, weights_digest(p.weights, p.backbone), p.stride, p.precision, p.seed, self.side)
        if p.classifier is None:
            return key_of("no classifier", identity, self.data_key)
        augment = p.classifier.augment
        earlier, objects = self._earlier(p.classifier, augment) if isinstance(augment, SampleAugmentation) else ("", [])
        inputs = (self.data_key, earlier) if earlier else (self.data_key,)
        stage = self.stage("classifier", (p.classifier, identity), *inputs)
        if ranks.agreed(stage.done):
            return stage.key
        with self.making(stage) as notes:
            change = None
            if isinstance(augment, SampleAugmentation):
                change = augment.prepare(self.train, partial(_mask_at, objects))
                notes["instances"] = dict(change.counts)
            torch.manual_seed(p.seed)
            backbone = build_backbone(p.backbone, p.weights, p.stride)
            network = p.classifier.build(backbone, len(self.train.classes))
            pixels, long_side = p.classifier.pixels(self.side)
            crop = TrainCrop(pixels, long_side=long_side, flip=p.classifier.flip, jitter=p.classifier.jitter)
            examples = TaggedImages(self.train, crop, backbone.fill, change)
            title = "classifier" if self.home == self.out.path else f"classifier ({self.out.path.name})"
            path = stage.folder / "model.safetensors"
            if not ranks.agreed(path.exists()):  # a kill may have come between the result and its record
                self._fit(network, examples, p.classifier.reading, stage, title, self.watch)
                if ranks.first():
                    save_classifier(path, network, self.train.classes, stage.key)
            self._finish(stage)
            notes["parameters"] = sum(parameter.numel() for parameter in network.parameters())
        return stage.key

    def _earlier(self, classifier: Classifier, augment: SampleAugmentation) -> tuple[str, list[Path]]:
        """Run the round before this one up to its pseudo-masks, in a run folder of its own; their key and paths."""
        number = augment.rounds - 1
        before = replace(classifier, augment=augment.earlier)
        record = read_json(self.out.path / "run.json")
        settings = {**record["settings"], "classifier": plain(before), "segment": None}
        record.pop("thresholds", None)
        record |= {"recipe": f"{record['recipe']}, round {number}".lstrip(", "), "settings": settings}
        folder = RunFolder(self.home / f"round-{number}", record, own=ranks.first())
        try:
            pipeline = replace(self.pipeline, classifier=before, segment=None)
            work = Run(pipeline, self.splits, folder, self.reuse, home=self.home)
            key = work.masks(work.refine(work.seeds(work.classifier())))
            return key, work.files("masks", work.train, ".png")
        finally:
            folder.close()

    def seeds(self, classifier: str) -> str:
        """Maps of the training images for their tags and, to be scored, of the held-out ones for theirs."""
        method = self.pipeline.seeds
        if isinstance(method, ReadsFiles):
            classifier = key_of("files", method.fingerprint(), classifier)
        learned = self._learned("localiser", method.learning, classifier)
        stage = self.stage("seeds", method, classifier if learned is None else learned.key, self.val_key)
        if ranks.agreed(stage.done):
            return stage.key
        if learned is not None:
            self._learn(learned, method, _no_seeds)
        with self.making(stage):
            self.share(stage)
        return stage.key

    def statistics(self, stage: str) -> MapStatistics:
        """Statistics of the training images' maps: ``seeds``, or ``refined``; kept in the stage's folder.

        Of several processes one alone may ask once the masks are made, which measures them.
        """
        path = self.out.path / stage / "statistics.json"
        known = stored_statistics(path, str(read_json(path.parent / "stage.json")["key"]))
        return self._measured(stage) if known is None else known

    def _measured(self, stage: str) -> MapStatistics:
        """As :meth:`statistics`, measured by the first of several processes, all of which have to call it."""
        folder = self.out.path / stage
        paths = self.files("seeds", self.train, ".npz", "train") if stage == "seeds" else self.map_files()
        key = str(read_json(folder / "stage.json")["key"])
        data = without_truth(self.train)
        return kept_statistics(folder / "statistics.json", key, data, seeds_of(paths), f"thresholds ({stage})")

    def cuts(self, stage: str) -> Cuts:
        """The thresholds that there are for the maps of ``seeds`` or ``refined``."""
        pipeline = self.pipeline
        tuned, seeds = self.tuned.get(stage), self.statistics("seeds")
        if stage == "seeds" or pipeline.refine is None:
            return Cuts("seed_threshold", pipeline.seed_threshold, choose(seeds), tuned)
        choice = choose_refined(self.statistics(stage), seeds)
        return Cuts("refine.background", pipeline.refine.background, choice, tuned)

    @cached_property
    def tuned(self) -> dict[str, float]:
        """Thresholds that ``deft tune`` chose on drawn masks, by stage; empty where it never did."""
        record = read_tuned(self.home)
        return dict(record.thresholds) if record is not None and self.home == self.out.path else {}

    def refine(self, seeds: str) -> str:
        """Train the refiner and refine the training images' maps; without one the seeds go on as they are."""
        refiner = self.pipeline.refine
        if refiner is None:
            return seeds
        learned = self._learned("refine", refiner.learning, seeds)
        stage = self.stage("refined", refiner, seeds if learned is None else learned.key)
        if ranks.agreed(stage.done):
            return stage.key
        if learned is not None:
            self._learn(learned, refiner, seeds_of(self.files("seeds", self.train, ".npz", "train")))
        with self.making(stage):
            self.share(stage)
        return stage.key

    def masks(self, maps: str) -> str:
        """Pseudo-masks of the training images, palette PNGs named after them."""
        for made in ("seeds",) if self.pipeline.refine is None else ("seeds", "refined"):
            self._measured(made)
        _ = self.cuts(
            "seeds"
        ).used  # seeds that no threshold can be chosen from end the run here, not when it is scored
        stage = self.stage("masks", self.mask_threshold, maps)
        if ranks.agreed(stage.done):
            return stage.key
        with self.making(stage):
            self.share(stage)
        return stage.key

    def segment(self, masks: str) -> str | None:
        """Train the segmentation network on the pseudo-masks."""
        settings = self.pipeline.segment
        if settings is None:
            return None
        p = self.pipeline
        initial = weights_digest(p.weights, p.backbone)
        stage = self.stage("segment", (settings, p.backbone, initial, p.seed, p.precision, self.side), masks)
        if ranks.agreed(stage.done):
            return stage.key
        with self.making(stage) as notes:
            paths = self.files("masks", self.train, ".png")
            useful = tuple(index for index, path in enumerate(paths) if not (load_mask(path) == 255).all())
            if not useful:
                raise InputError("the pseudo-masks hold nothing to learn from: look at the seeds in report.html")
            torch.manual_seed(p.seed)
            if settings.from_classifier:
                backbone = self.trained_classifier().backbone.requires_grad_(True)
            else:
                backbone = build_backbone(p.backbone, p.weights, settings.stride)
            network = SegmentationNetwork(backbone, len(self.train.classes), settings, self.side)
            pixels, long_side = settings.pixels(self.side)
            crop = TrainCrop(pixels, long_side=long_side, jitter=settings.jitter)
            examples = MaskedImages(self.train, paths, crop, backbone.fill, useful)
            path = stage.folder / "model.safetensors"
            if not ranks.agreed(path.exists()):
                self._fit(network, examples, settings.plan, stage, "segmentation")
                if ranks.first():
                    save_network(path, network, self.train.classes, stage.key)
            self._finish(stage)
            notes["parameters"] = sum(parameter.numel() for parameter in network.parameters())
        return stage.key

    def predictions(self, segment: str | None) -> str | None:
        """Masks that the network makes of the held-out images, or of the training images where there are no others."""
        if segment is None:
            return None
        stage = self.stage("predictions", self.pipeline.inference, segment, self.val_key)
        if ranks.agreed(stage.done):
            return stage.key
        with self.making(stage):
            self.share(stage)
        return stage.key

    def predict(self, part: str, indices: Iterable[int], key: str) -> None:
        """Masks that the network makes of some images of a split, untagged; those there are already are kept."""
        paths = self.files("predictions", dict(self.parts())[part], ".png", part)
        missing = [index for index in indices if not paths[index].exists()]
        if missing:
            share = predictions_of(self, part, self.out.stage("predictions", key))
            for_each(share.data, missing, share.work, title=share.title)

    @property
    def mask_threshold(self) -> float:
        """Background threshold of the pseudo-masks.

        Raises:
            InputError: it is to be chosen from maps that have one value everywhere.
        """
        return self.cuts("seeds" if self.pipeline.refine is None else "refined").used

    def map_files(self) -> list[Path]:
        """Maps that the pseudo-masks are made from: refined ones, or the seeds where nothing refines them."""
        if self.pipeline.refine is None:
            return self.files("seeds", self.train, ".npz", "train")
        return self.files("refined", self.train, ".npz")

    def parts(self) -> list[tuple[str, Dataset]]:
        """The splits there are."""
        return [("train", self.train)] + ([("val", self.val)] if self.val is not None else [])

    def trained_classifier(self) -> ClassifierNetwork:
        """A copy of the classifier, in eval mode.

        Raises:
            InputError: the recipe has none.
        """
        if self.pipeline.classifier is None:
            raise InputError(NO_CLASSIFIER)
        return load_classifier(self.out.path / "classifier" / "model.safetensors", self.pipeline.classifier.head)

    def _learned(self, name: str, learning: object, *inputs: str) -> Stage | None:
        """The stage in which a seed method or a refiner trains; None for one that trains nothing."""
        p = self.pipeline
        return None if learning is None else self.stage(name, (learning, self.side, p.seed, p.precision), *inputs)

    def _untrained(self) -> Backbone:
        p = self.pipeline
        torch.manual_seed(p.seed)
        return channels_last(build_backbone(p.backbone, p.weights, p.stride)).eval()

    def _learn(self, stage: Stage, method: Any, seeds: Callable[[int], SeedMaps]) -> None:
        """Train what a seed method or a refiner has to be trained for."""
        if not ranks.agreed(stage.done):
            with self.making(stage):
                method.prepare(self._workshop_in(stage, seeds))

    def workshop(self, stage: Stage, seeds: Callable[[int], SeedMaps] | None = None) -> Workshop:
        """What the method of a stage may use; its folder is where the method has learnt, if it learns."""
        learned = {"seeds": "localiser", "refined": "refine"}[stage.name]
        method = self.pipeline.seeds if stage.name == "seeds" else self.pipeline.refine
        if method is None or method.learning is None:
            return self._workshop_in(stage, seeds or _no_seeds)
        folder = self.out.path / learned
        key = str(read_json(folder / "stage.json")["key"])
        return self._workshop_in(Stage(learned, folder, key), seeds or _no_seeds)

    def _workshop_in(self, stage: Stage, seeds: Callable[[int], SeedMaps]) -> Workshop:
        p = self.pipeline
        network = None if p.classifier is None else self.trained_classifier()
        return Workshop(
            data=without_truth(self.train),
            seeds=seeds,
            backbone=self._untrained() if network is None else network.backbone,
            network=network,
            folder=stage.folder,
            made_by=stage.key,
            side=self.side,
            seed=p.seed,
            precision=p.precision,
        )

    def _finish(self, stage: Stage) -> None:
        if ranks.first():
            finish(stage.folder)

    def _fit(
        self, network: nn.Module, examples: Any, plan: Any, stage: Stage, title: str, watch: Watch | None = None
    ) -> None:
        p = self.pipeline
        fit(
            network,
            examples,
            plan,
            folder=stage.folder,
            seed=p.seed,
            precision=p.precision,
            title=title,
            watch=watch,
        )


def weights_digest(weights: str, backbone: str) -> str:
    """What the weights are, wherever they lie: ``hub``, ``none``, or the name and hash of the package or the file.

    Raises:
        InputError: a named file is missing, or ``package`` is asked for and there is none for this backbone.
    """
    if weights in ("hub", "none"):
        return weights
    if weights == "package":
        return package_digest(backbone)
    path = find_weights(backbone, weights)
    with path.open("rb") as file:
        return f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def _no_seeds(index: int) -> SeedMaps:
    raise LookupError(f"the seeds of image {index} are asked for while seeds are made; make them from the classifier")


def _mask_at(paths: Sequence[Path], index: int) -> NDArray[np.uint8]:
    return load_mask(paths[index])
