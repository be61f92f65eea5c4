"""A pipeline at work in a run folder: its data, the places of its files, and the thresholds that they lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from deft.artifacts import CONTENTS, RunFolder, Stage, file_stem, stored_seeds
from deft.artifacts.contents import Contents, joined
from deft.artifacts.corrected import read_corrected
from deft.artifacts.folder import read_run
from deft.artifacts.record import stage_key
from deft.backbone import Backbone, build_backbone, weights_digest, weights_key
from deft.classify.classifier import ClassifierNetwork, load_classifier
from deft.contracts import Dataset, InputError, OfFiles, Sample, SeedMaps, Splits
from deft.data.corrected import corrected_data
from deft.data.examples import typical_side, without_truth
from deft.data.fingerprints import taught, truth_fingerprint
from deft.data.working_size import key_at, working_size
from deft.engine import ranks
from deft.engine.features import FeatureFiles, Features
from deft.engine.layout import channels_last
from deft.engine.method import NO_CLASSIFIER, MethodContext, covers_as_seeds, remedy_of
from deft.engine.plan import Watch
from deft.engine.share import HERE, Engine
from deft.guards.opening import exists
from deft.pipeline import Pipeline
from deft.settings import key_of
from deft.thresholds import Cuts, MapStatistics, choose, choose_refined, kept_statistics, read_tuned, stored_statistics

FEATURES = "features"
"""The stage with the features of a frozen backbone."""


class Run:
    """A pipeline, its data and its folder; the functions of :mod:`deft.stages.make` do the work."""

    def __init__(
        self,
        pipeline: Pipeline,
        data: Splits,
        out: RunFolder,
        reuse: Sequence[Path] = (),
        watch: Watch | None = None,
        home: Path | None = None,
        contents: Contents | None = None,
        engine: Engine = HERE,
        begins: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.pipeline, self.out = pipeline, out
        self.reuse = tuple(path for other in reuse for path in (other, *sorted(other.glob("round-*"))))
        self.home = home or out.path
        """Folder that contains the run folders of earlier rounds."""
        self.corrected = read_corrected(self.home)
        """What the run has taken over from a review."""
        train = corrected_data(data.train, self.corrected.rejected, self.corrected.tags)
        self.splits = Splits(train, data.val)
        """The data, without rejected training images and with corrected tags."""
        self.watch = watch
        self.engine = engine
        """Makes the files of images."""
        self.begins = begins
        """Called with the name of each stage that is made, when its work begins."""
        # Every stage reads its images here, and none of them larger than the pipeline allows.
        self.train = working_size(train, pipeline.max_side)
        self.val = None if data.val is None else working_size(data.val, pipeline.max_side)
        self.contents = contents or Contents(self.home / CONTENTS)
        """Digests of the data's files, as far as the run knows them."""
        self.side = typical_side(self.train)

    @cached_property
    def data_key(self) -> str:
        """Fingerprint of what the training images teach."""
        return key_at(taught(self.splits.train, self.contents).fingerprint, self.train)

    @cached_property
    def val_key(self) -> str:
        """Fingerprint of the held-out images and their tags; empty if there are none."""
        if self.val is None or self.splits.val is None:
            return ""
        return key_at(taught(self.splits.val, self.contents).fingerprint, self.val)

    @cached_property
    def initial_weights(self) -> str:
        """What keys take of the initial weights, wherever they are."""
        record = read_run(self.home) if exists(self.home / "run.json") else {}
        settings = record.get("settings")
        recorded = str(settings.get("weights", "")) if isinstance(settings, dict) else ""
        return weights_key(weights_digest(self.pipeline.weights, self.pipeline.backbone, recorded))

    @property
    def truth_key(self) -> str:
        """Fingerprint of all that the images are scored with, on which nothing but scores depends."""
        parts = (self.splits.train, self.splits.val)
        return joined([truth_fingerprint(data, self.contents) for data in parts if data is not None])

    @cached_property
    def features(self) -> FeatureFiles:
        """Where the features of a frozen backbone lie."""
        return FeatureFiles(self.out.path / FEATURES, self.parts(), self._stems)

    def stored_features(self, sample: Sample) -> Features | None:
        """Stored features of an image, by its name; None if the backbone is trained, or the run has no such image."""
        return None if self.pipeline.frozen is None else self.features.stored(sample)

    def _stems(self, data: Dataset) -> list[str]:
        """Name of the file of each image's features, after the image's contents and the size at which it is read."""
        original = self.splits.train if data is self.train or self.splits.val is None else self.splits.val
        digests = original.image_digests(self.contents) if isinstance(original, OfFiles) else []
        if len(digests) != len(data):  # what an image is follows from its place
            digests = [f"{'.'.join(digests) or original.fingerprint()} {name}" for name in data.names]
        return [key_of(FEATURES, key_at(digest, data)) for digest in digests]

    @cached_property
    def taught(self) -> dict[int, Path]:
        """Files of the reviewed masks that teach, by index of the training image."""
        return {
            index: self.corrected.mask_file(name)
            for index, name in enumerate(self.train.names)
            if name in self.corrected.taught
        }

    @cached_property
    def held_out(self) -> frozenset[int]:
        """Training images with a reviewed mask that teach no network of masks."""
        return frozenset(index for index, name in enumerate(self.train.names) if name in self.corrected.held_out)

    def with_reviewed(self, key: str) -> str:
        """The key of masks to learn from together with the reviewed ones; the same key if there are none."""
        reviewed = self.corrected.masks_key
        return key_of("with reviewed", self.pipeline.corrections.repeats, reviewed, key) if reviewed else key

    def stage(self, name: str, settings: Any, *inputs: str) -> Stage:
        """The stage of that name and these settings, copied from a run in ``reuse`` if one has it."""
        stage = self.out.stage(name, key_of(name, settings, *inputs))
        if ranks.first():
            if stage.done:
                stage.verify()
            if not stage.done:
                stage.adopt(self.reuse)
        ranks.barrier()
        return stage

    @contextmanager
    def making(self, stage: Stage) -> Iterator[dict[str, Any]]:
        """:meth:`deft.artifacts.Stage.making` for several processes: rank 0 begins and ends the stage for all."""
        self.begins(stage.name)
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

    def stored(self, name: str) -> Stage:
        """The stage that is stored under a name, whatever its settings."""
        return self.out.stage(name, stage_key(self.out.path / name / "stage.json"))

    def files(self, stage: str, data: Dataset, suffix: str, part: str = "") -> list[Path]:
        """One path per image of ``data`` in a stage's folder."""
        folder = self.out.path / stage / part
        return [folder / (file_stem(name) + suffix) for name in data.names]

    @property
    def mask_threshold(self) -> float:
        """Background threshold of the pseudo-masks.

        Raises:
            InputError: it is to be chosen from maps that have one value everywhere.
        """
        return self.cuts("seeds" if self.pipeline.refine is None else "refined").used

    def map_files(self) -> list[Path]:
        """Map files that the pseudo-masks are made from: refined maps, or seeds if there is no refiner."""
        if self.pipeline.refine is None:
            return self.files("seeds", self.train, ".npz", "train")
        return self.files("refined", self.train, ".npz")

    def parts(self) -> list[tuple[str, Dataset]]:
        """The splits by name."""
        return [("train", self.train)] + ([("val", self.val)] if self.val is not None else [])

    def trained_classifier(self) -> ClassifierNetwork:
        """A copy of the classifier, in eval mode.

        Raises:
            InputError: the recipe has none.
        """
        if self.pipeline.classifier is None:
            raise InputError(NO_CLASSIFIER)
        return load_classifier(self.out.path / "classifier" / "model.safetensors", self.pipeline.classifier.head)

    def statistics(self, stage: str) -> MapStatistics:
        """Statistics of the training images' maps: ``seeds``, or ``refined``; kept in the stage's folder.

        Once the masks are made, a single one of several processes may call this.
        """
        path = self.out.path / stage / "statistics.json"
        known = stored_statistics(path, self.stored(stage).key)
        return self.measure(stage) if known is None else known

    def measure(self, stage: str) -> MapStatistics:
        """:meth:`statistics`, measured if they are not stored; with several processes all have to call this."""
        folder = self.out.path / stage
        paths = self.files("seeds", self.train, ".npz", "train") if stage == "seeds" else self.map_files()
        key = self.stored(stage).key
        data = without_truth(self.train)
        return kept_statistics(folder / "statistics.json", key, data, stored_seeds(paths), f"thresholds ({stage})")

    def cuts(self, stage: str) -> Cuts:
        """All known thresholds for the maps of ``seeds`` or ``refined``."""
        pipeline = self.pipeline
        tuned, seeds = self.tuned.get(stage), self.statistics("seeds")
        remedy = remedy_of(pipeline.seeds)
        if stage == "seeds" or pipeline.refine is None:
            return Cuts("seed_threshold", pipeline.seed_threshold, choose(seeds), tuned, seeds.images, remedy)
        found = self.statistics(stage)
        choice = choose_refined(found, seeds) if covers_as_seeds(pipeline.refine) else choose(found)
        return Cuts("refine.background", pipeline.refine.background, choice, tuned, found.images, remedy)

    @cached_property
    def tuned(self) -> dict[str, float]:
        """Thresholds chosen by ``deft tune`` on drawn masks, by stage; empty if it never ran."""
        record = read_tuned(self.home)
        return dict(record.thresholds) if record is not None and self.home == self.out.path else {}

    def context(self, stage: Stage, seeds: Callable[[int], SeedMaps] | None = None) -> MethodContext:
        """The context of the method that works in a stage's folder.

        Args:
            stage: the one that the method learns in, or the one whose maps it makes where it learns nothing.
            seeds: stored seeds of training image ``i``; None while seeds are made.
        """
        p = self.pipeline
        network = None if p.classifier is None else self.trained_classifier()
        learns_masks = stage.name == "refine"  # and no seed method: seeds follow from tags alone
        return MethodContext(
            data=without_truth(self.train),
            seeds=seeds or _no_seeds,
            backbone=self.untrained() if network is None else network.backbone,
            network=network,
            folder=stage.folder,
            made_by=stage.key,
            side=self.side,
            seed=p.seed,
            precision=p.precision,
            engine=self.engine,
            memory=p.memory,
            stored=self.stored_features,
            reviewed=self.taught if learns_masks else {},
            held_out=self.held_out if learns_masks else frozenset(),
            repeats=p.corrections.repeats,
            remedy=remedy_of(p.seeds),
        )

    def untrained(self) -> Backbone:
        """The backbone that the classifier starts from, or the frozen one, in eval mode."""
        p = self.pipeline
        torch.manual_seed(p.seed)
        inner = channels_last(build_backbone(p.backbone, p.weights, p.stride, own_stride=p.frozen is not None)).eval()
        return inner if p.frozen is None else p.frozen.on(inner)


def _no_seeds(index: int) -> SeedMaps:
    raise LookupError(f"the seeds of image {index} are asked for while seeds are made; make them from the classifier")
