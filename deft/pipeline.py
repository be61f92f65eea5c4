"""A pipeline and its run: the stages in order; a stage whose result is stored and current is skipped."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from deft.artifacts import (
    RunFolder,
    Stage,
    file_stem,
    key_of,
    load_mask,
    load_seeds,
    plain,
    read_json,
    restore,
    save_mask,
    save_seeds,
)
from deft.backbone import Backbone, build_backbone, find_weights
from deft.classify.classifier import Classifier, load_classifier, save_classifier
from deft.contracts import Dataset, InputError, LabelMap, Sample, SeedMaps, Splits
from deft.data import check, open_data
from deft.data.examples import MaskedImages, TaggedImages, typical_side
from deft.data.faults import refuse
from deft.data.transforms import TrainCrop
from deft.engine.fit import finish, fit
from deft.engine.infer import device, for_each
from deft.refine.labels import threshold, upsample_seeds
from deft.seeds.cam import Cam
from deft.segment.deeplab import DeepLab, SegmentationNetwork, load_network, save_network
from deft.segment.inference import Inference


@dataclass(frozen=True)
class Workshop:
    """What a refiner's ``prepare`` may use."""

    data: Dataset
    """Training images."""
    seeds: Callable[[int], SeedMaps]
    """Stored seeds of image ``i``."""
    backbone: Backbone
    """The trained classifier's backbone, in eval mode."""
    folder: Path
    """Of the refiner's stage: what it keeps there survives a kill."""
    made_by: str
    """Key of the stage, to be written into its files."""
    side: int
    """Typical long side of the images, in pixels."""
    seed: int
    precision: str
    devices: int

    def crops(
        self, masks: list[Path], indices: tuple[int, ...], *, crop: float, scale: tuple[float, float], flip: bool
    ) -> MaskedImages:
        """Random crops of the images ``indices`` and of their masks.

        Args:
            masks: one path for every image of the data.
            indices: the images to learn from.
            crop: its side as a multiple of the images' typical long side.
            scale: range of the factor by which images are resized.
            flip: mirror every other image.
        """
        cut = TrainCrop(32 * max(1, round(crop * self.side / 32)), scale=scale, flip=flip)
        return MaskedImages(self.data, masks, cut, self.backbone.fill, indices)


class Refiner(Protocol):
    """Turns seeds into better maps."""

    @property
    def background(self) -> float:
        """Threshold below which a refined map is background."""

    def prepare(self, workshop: Workshop) -> Callable[[Sample, SeedMaps], SeedMaps]:
        """Train what has to be trained, or load it, and return the function of one image."""


@dataclass(frozen=True)
class Pipeline:
    """One method from tags to masks: every field is a setting, and ``--set`` reaches each."""

    classifier: Classifier
    seeds: Cam = field(default_factory=Cam)
    seed_threshold: float = 0.15
    """Background threshold at which seeds are scored and, without a refiner, become masks (IRN: 0.15)."""
    refine: Refiner | None = None
    segment: DeepLab | None = field(default_factory=DeepLab)
    """The network trained on the pseudo-masks; None stops at the masks."""
    inference: Inference = field(default_factory=Inference)
    backbone: str = "resnet50"
    """Any timm model with feature maps."""
    weights: str = "hub"
    """``hub``, ``none``, or a .safetensors or .pth file."""
    stride: int = 16
    """Output stride of the classifier's backbone."""
    precision: str = "32-true"
    """``32-true``, ``bf16-mixed`` or ``16-mixed`` while training."""
    seed: int = 0
    devices: int = 1
    """GPUs or processes of this machine to train on."""

    def __post_init__(self) -> None:
        """Refuse thresholds that a sweep does not know; it would be told only after hours of training."""
        known = {"seed_threshold": self.seed_threshold}
        if self.refine is not None:
            known["refine.background"] = self.refine.background
        for name, value in known.items():
            if not 0 <= value < 1 or abs(value * 100 - round(value * 100)) > 1e-6:
                raise InputError(f"{name} must be 0.00, 0.01, ... or 0.99, got {value}")
        if self.seed < 0 or self.devices < 1:
            raise InputError(f"expected seed of at least 0 and devices of at least 1, got {self.seed}, {self.devices}")


STAGES = ("classifier", "seeds", "refine", "masks", "segment", "predictions")
"""Folders of a run in the order they are made."""


class Run:
    """A pipeline at work in a run folder; each stage is a method that makes what is missing and returns its key."""

    def __init__(self, pipeline: Pipeline, data: Splits, out: RunFolder, reuse: Sequence[Path] = ()) -> None:
        self.pipeline, self.splits, self.out, self.reuse = pipeline, data, out, tuple(reuse)
        self.train, self.val = data.train, data.val
        self.data_key = data.train.fingerprint()
        self.val_key = data.val.fingerprint() if data.val is not None else ""
        self.side = typical_side(data.train)

    def stage(self, name: str, settings: Any, *inputs: str) -> Stage:
        """The stage of that name, taken over from another run where one has it."""
        stage = self.out.stage(name, key_of(name, settings, *inputs))
        if not stage.done:
            stage.adopt(self.reuse)
        return stage

    def files(self, stage: str, data: Dataset, suffix: str, part: str = "") -> list[Path]:
        """One path per image of ``data`` in a stage's folder."""
        folder = self.out.path / stage / part
        return [folder / (file_stem(name) + suffix) for name in data.names]

    def classifier(self) -> str:
        """Train the classifier."""
        p = self.pipeline
        identity = (p.backbone, weights_digest(p.weights, p.backbone), p.stride, p.precision, p.seed, self.side)
        stage = self.stage("classifier", (p.classifier, identity), self.data_key)
        if stage.done:
            return stage.key
        with stage.making() as notes:
            torch.manual_seed(p.seed)
            backbone = build_backbone(p.backbone, p.weights, p.stride)
            network = p.classifier.build(backbone, len(self.train.classes))
            pixels, long_side = p.classifier.pixels(self.side)
            crop = TrainCrop(pixels, long_side=long_side, flip=p.classifier.flip, jitter=p.classifier.jitter)
            examples = TaggedImages(self.train, crop, backbone.fill)
            self._fit(network, examples, p.classifier.plan, stage, "classifier")
            save_classifier(stage.folder / "model.safetensors", network, self.train.classes, stage.key)
            finish(stage.folder)
            notes["parameters"] = sum(parameter.numel() for parameter in network.parameters())
        return stage.key

    def seeds(self, classifier: str) -> str:
        """Maps of the training images for their tags and, to be scored, of the held-out ones for theirs."""
        stage = self.stage("seeds", self.pipeline.seeds, classifier, self.val_key)
        if stage.done:
            return stage.key
        with stage.making():
            network = self._classifier().to(device())
            for part, data in self.parts():
                paths = self.files("seeds", data, ".npz", part)

                def work(index: int, sample: Sample, paths: list[Path] = paths) -> None:
                    maps = self.pipeline.seeds(network, sample.image, sample.labels)
                    save_seeds(paths[index], maps, stage.key)

                for_each(data, _missing(paths), work, title=f"seeds ({part})")
        return stage.key

    def refine(self, seeds: str) -> str:
        """Refine the training images' maps; without a refiner the seeds go on as they are."""
        refiner = self.pipeline.refine
        if refiner is None:
            return seeds
        p = self.pipeline
        stage = self.stage("refine", (refiner, self.side, p.seed, p.precision), seeds)
        if stage.done:
            return stage.key
        with stage.making():
            inputs = self.files("seeds", self.train, ".npz", "train")
            workshop = Workshop(
                data=self.train,
                seeds=lambda index: load_seeds(inputs[index]),
                backbone=self._classifier().backbone,
                folder=stage.folder,
                made_by=stage.key,
                side=self.side,
                seed=p.seed,
                precision=p.precision,
                devices=p.devices,
            )
            refined = refiner.prepare(workshop)
            paths = self.files("refine", self.train, ".npz", "maps")

            def work(index: int, sample: Sample) -> None:
                save_seeds(paths[index], refined(sample, load_seeds(inputs[index])), stage.key)

            for_each(self.train, _missing(paths), work, title="random walk")
        return stage.key

    def masks(self, maps: str) -> str:
        """Pseudo-masks of the training images, palette PNGs named after them."""
        stage = self.stage("masks", self.mask_threshold, maps)
        if stage.done:
            return stage.key
        with stage.making():
            inputs, paths = self.map_files(), self.files("masks", self.train, ".png")

            def work(index: int) -> None:
                seeds = load_seeds(inputs[index])
                mask = threshold(upsample_seeds(seeds), seeds.classes, self.mask_threshold)
                save_mask(paths[index], mask, stage.key)

            for index in _missing(paths):
                work(index)
        return stage.key

    def segment(self, masks: str) -> str | None:
        """Train the segmentation network on the pseudo-masks."""
        settings = self.pipeline.segment
        if settings is None:
            return None
        p = self.pipeline
        initial = weights_digest(p.weights, p.backbone)
        stage = self.stage("segment", (settings, p.backbone, initial, p.seed, p.precision, self.side), masks)
        if stage.done:
            return stage.key
        with stage.making() as notes:
            paths = self.files("masks", self.train, ".png")
            useful = tuple(index for index, path in enumerate(paths) if not (load_mask(path) == 255).all())
            if not useful:
                raise InputError("the pseudo-masks hold nothing to learn from: look at the seeds in report.html")
            torch.manual_seed(p.seed)
            if settings.from_classifier:
                backbone = self._classifier().backbone.requires_grad_(True)
            else:
                backbone = build_backbone(p.backbone, p.weights, settings.stride)
            network = SegmentationNetwork(backbone, len(self.train.classes), settings, self.side)
            pixels, long_side = settings.pixels(self.side)
            crop = TrainCrop(pixels, long_side=long_side, jitter=settings.jitter)
            examples = MaskedImages(self.train, paths, crop, backbone.fill, useful)
            self._fit(network, examples, settings.plan, stage, "segmentation")
            save_network(stage.folder / "model.safetensors", network, self.train.classes, stage.key)
            finish(stage.folder)
            notes["parameters"] = sum(parameter.numel() for parameter in network.parameters())
        return stage.key

    def predictions(self, segment: str | None) -> str | None:
        """Masks that the network makes of the held-out images, or of the training images where there are no others."""
        if segment is None:
            return None
        stage = self.stage("predictions", self.pipeline.inference, segment, self.val_key)
        if stage.done:
            return stage.key
        with stage.making():
            part, data = self.parts()[-1]
            self.predict(part, range(len(data)), stage.key)
        return stage.key

    def predict(self, part: str, indices: Iterable[int], key: str) -> None:
        """Masks that the network makes of some images of a split, untagged; those there are already are kept."""
        data = dict(self.parts())[part]
        paths = self.files("predictions", data, ".png", part)
        missing = [index for index in indices if not paths[index].exists()]
        if not missing:
            return
        network, _ = load_network(self.out.path / "segment" / "model.safetensors")
        network.to(device())

        def work(index: int, sample: Sample) -> None:
            found: LabelMap = self.pipeline.inference.predict(network, sample.image, data.classes)
            save_mask(paths[index], found.mask, key)

        for_each(data, missing, work, title=f"predictions ({part})")

    @property
    def mask_threshold(self) -> float:
        """Background threshold of the pseudo-masks."""
        return self.pipeline.seed_threshold if self.pipeline.refine is None else self.pipeline.refine.background

    def map_files(self) -> list[Path]:
        """Maps that the pseudo-masks are made from: refined ones, or the seeds where nothing refines them."""
        if self.pipeline.refine is None:
            return self.files("seeds", self.train, ".npz", "train")
        return self.files("refine", self.train, ".npz", "maps")

    def parts(self) -> list[tuple[str, Dataset]]:
        """The splits there are."""
        return [("train", self.train)] + ([("val", self.val)] if self.val is not None else [])

    def _fit(self, network: nn.Module, examples: Any, plan: Any, stage: Stage, title: str) -> None:
        p = self.pipeline
        fit(
            network,
            examples,
            plan,
            folder=stage.folder,
            seed=p.seed,
            precision=p.precision,
            devices=p.devices,
            title=title,
        )

    def _classifier(self) -> Any:
        return load_classifier(self.out.path / "classifier" / "model.safetensors", self.pipeline.classifier.head)


def run(pipeline: Pipeline, data: str | Splits, out: Path | str, reuse: Sequence[Path] = (), name: str = "") -> Path:
    """Run all stages, or go on where an earlier run in ``out`` stopped.

    Args:
        pipeline: what to run.
        data: ``KIND:PATH`` as on the command line, or splits.
        out: the run folder.
        reuse: other run folders; their stages of equal settings and inputs are copied, not made again.
        name: of the recipe, for the record and the page.

    Returns:
        The report, ``out/report.html``.

    Raises:
        InputError: the data or the folder cannot be used; nothing has been trained then.
    """
    from deft.evaluate import evaluate
    from deft.present import write_report

    splits = open_data(data) if isinstance(data, str) else data
    faults = check(splits, full=False)
    refuse(faults, data if isinstance(data, str) else "")
    for fault in faults[:5]:
        print(fault, file=sys.stderr)
    weights_digest(pipeline.weights, pipeline.backbone)  # a missing file is told before anything is made
    folder = RunFolder(Path(out), description(pipeline, data, splits, name), needed_bytes(splits, pipeline))
    try:
        work = Run(pipeline, splits, folder, reuse)
        classifier = work.classifier()
        maps = work.refine(work.seeds(classifier))
        work.predictions(work.segment(work.masks(maps)))
        evaluate(work)
        return write_report(work)
    finally:
        folder.close()


def reopen(folder: Path) -> Run:
    """A finished run, to be read again.

    Raises:
        InputError: the folder holds no run, or one whose settings come from a file of yours.
    """
    path = folder / "run.json"
    if not path.exists():
        raise InputError(f"{folder}: expected a run folder, found no run.json in it")
    record = read_json(path)
    if not record["data"]["given"]:
        raise InputError(f"{folder}: its data was given in Python and has no name; write its page with deft.run again")
    pipeline = restore(record["settings"])
    if not isinstance(pipeline, Pipeline):
        raise InputError(f"{path}: expected the settings of a pipeline; it was written by another program")
    return Run(pipeline, open_data(record["data"]["given"]), RunFolder(folder, record))


def description(pipeline: Pipeline, data: str | Splits, splits: Splits, name: str) -> dict[str, Any]:
    """What a second run in the same folder has to agree with."""
    settings = plain(pipeline)
    del settings["devices"]  # changes how fast, not what
    settings["weights"] = weights_digest(pipeline.weights, pipeline.backbone)
    packages = ("torch", "torchvision", "timm", "lightning", "segmentation_models_pytorch", "numpy")
    return {
        "recipe": name,
        "settings": settings,
        "data": {
            "given": data if isinstance(data, str) else "",
            "images": len(splits.train),
            "held out": len(splits.val) if splits.val is not None else 0,
            "classes": list(splits.train.classes),
            "fingerprint": splits.train.fingerprint(),
            "fingerprint of held out": splits.val.fingerprint() if splits.val is not None else "",
        },
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
    }


def weights_digest(weights: str, backbone: str) -> str:
    """What the weights are, wherever they lie: ``hub``, ``none``, or the file's name and hash.

    Raises:
        InputError: a named file is missing.
    """
    if weights in ("hub", "none"):
        return weights
    path = find_weights(backbone, weights)
    with path.open("rb") as file:
        return f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def needed_bytes(splits: Splits, pipeline: Pipeline) -> int:
    """A generous guess of what a run writes, so that a full disk is told before the training."""
    images = len(splits.train) + (len(splits.val) if splits.val is not None else 0)
    networks = 400e6 if pipeline.backbone.startswith("resnet") else 150e6
    return int(networks + images * 60e3)


def _missing(paths: Sequence[Path]) -> list[int]:
    return [index for index, path in enumerate(paths) if not path.exists()]


def settings_of(pipeline: Pipeline) -> dict[str, Any]:
    """Every field by its dotted name, for ``--set`` and the page."""
    found: dict[str, Any] = {}

    def walk(value: Any, prefix: str) -> None:
        for item in dataclasses.fields(value):
            inner = getattr(value, item.name)
            dotted = f"{prefix}{item.name}"
            if dataclasses.is_dataclass(inner) and not isinstance(inner, type):
                walk(inner, dotted + ".")
            else:
                found[dotted] = inner

    walk(pipeline, "")
    return found
