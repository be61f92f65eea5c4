"""The stages in order: trained networks, maps and masks. Existing files are kept.

Each function takes the stages that its own is made from and returns its stage. The types of the stages fix the order:
a segmentation network is trained on :data:`Masks`, which are made of :data:`Maps`, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NewType, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deft.artifacts import HELD_OUT_SEEDS, RunFolder, Stage, load_mask, stored_seeds
from deft.artifacts.record import run_record
from deft.backbone import build_backbone
from deft.classify.classifier import Classifier, save_classifier
from deft.contracts import IGNORE, Dataset, InputError, KnowsFiles, ReadsFiles, SampleAugmentation, SeedMaps
from deft.data.examples import MaskedImages, TaggedImages, without_truth
from deft.data.scaling import fitted, resized_mask
from deft.data.transforms import TrainCrop
from deft.engine import ranks
from deft.engine.corrections import repeated
from deft.engine.features import MaskedFeatures, TaggedFeatures, standardise
from deft.engine.fit import finish, fit
from deft.engine.infer import for_each
from deft.engine.method import MethodContext, Refiner, SeedMethod, learning
from deft.engine.plan import Plan, Watch
from deft.engine.reading import Examples
from deft.pipeline import Pipeline
from deft.segment.deeplab import SegmentationNetwork, balancing_weight, save_network
from deft.settings import key_of, plain
from deft.stages.context import Run
from deft.stages.features import find_all_features
from deft.stages.shares import Locate, locating, masking, predicting, refining

Classified = NewType("Classified", Stage)
"""A trained classifier, or the initial weights in a pipeline without one."""
Maps = NewType("Maps", Stage)
"""Seeds or refined maps."""
Masks = NewType("Masks", Stage)
"""Pseudo-masks of the training images."""
Segmented = NewType("Segmented", Stage)
"""A trained segmentation network."""


Function = TypeVar("Function", covariant=True)


class Method(Protocol[Function]):
    """A seed method or a refiner, generic in the function it prepares."""

    def prepare(self, context: MethodContext) -> Function:
        """The function of one image."""


def make_all(run: Run) -> None:
    """Make every stage of a run, in order."""
    if run.pipeline.frozen is not None:
        find_all_features(run, run.pipeline.frozen)
    make_from_maps(run, refine(run, find_seeds(run, train_classifier(run))))


def make_from_maps(run: Run, maps: Maps) -> None:
    """Make what is made of the final maps: masks, the segmentation network, and its predictions."""
    network = train_segmentation(run, make_masks(run, maps))
    if network is not None:
        predict(run, network)


def train_classifier(run: Run) -> Classified:
    """Train the classifier; without one, return a stage without files whose key identifies the initial weights.

    Its key leaves out how it is read, so that another reading of the same classifier trains nothing.
    """
    p = run.pipeline
    identity: tuple[object, ...] = (p.backbone, run.initial_weights, p.stride, p.precision, p.seed, run.side)
    identity += () if p.frozen is None else (p.frozen.identity,)
    if p.classifier is None:
        return Classified(run.out.stage("classifier", key_of("no classifier", identity, run.data_key)))
    augment = p.classifier.augment
    earlier = _previous_round(run, p.classifier, augment) if isinstance(augment, SampleAugmentation) else None
    inputs = (run.data_key,) if earlier is None else (run.data_key, earlier[0].key)
    stage = run.stage("classifier", (plain(p.classifier, trained=True), identity), *inputs)
    if ranks.agreed(stage.done):
        return Classified(stage)
    with run.making(stage) as notes:
        change = None
        if isinstance(augment, SampleAugmentation) and earlier is not None:
            change = augment.prepare(without_truth(run.train), partial(_mask_at, earlier[1], p.max_side))
            notes["instances"] = dict(change.counts)
        torch.manual_seed(p.seed)
        examples: Examples
        if p.frozen is not None:
            backbone = run.untrained()
            standardise(backbone, run.features.of("train"))
            examples = TaggedFeatures(run.train, run.features.of("train"), p.classifier.cells)
        else:
            backbone = build_backbone(p.backbone, p.weights, p.stride)
            pixels, long_side = p.classifier.pixels(run.side)
            crop = TrainCrop(pixels, long_side=long_side, flip=p.classifier.flip, jitter=p.classifier.jitter)
            examples = TaggedImages(run.train, crop, backbone.fill, change)
        network = p.classifier.build(backbone, len(run.train.classes))
        title = "classifier" if run.home == run.out.path else f"classifier ({run.out.path.name})"
        save = partial(save_classifier, network=network, classes=run.train.classes, made_by=stage.key)
        notes["parameters"] = _train(run, stage, network, examples, p.classifier.loader_plan, save, title, run.watch)
    return Classified(stage)


def find_seeds(run: Run, classifier: Classified) -> Maps:
    """Maps of the training images for their tags and, to be scored, of the held-out ones for theirs.

    The latter are a stage of their own, so that nothing that is trained depends on held-out images.
    """
    method, made_from = run.pipeline.seeds, _as_read(run.pipeline.classifier, classifier)
    if files := _files_key(run, method, run.train):
        made_from = key_of("files", files, made_from)
    learned = _learned(run, "localiser", method, made_from)
    made_from = made_from if learned is None else learned.key
    stage = run.stage("seeds", method, made_from)
    locate: Locate | None = None
    if not ranks.agreed(stage.done):
        locate = None if learned is None else _trained(run, method, learned)
        with run.making(stage):
            locate = locate or method.prepare(run.context(stage))
            run.engine.make(locating(run, stage, locate, "train"))
    if run.val is not None:
        held_out = run.stage(HELD_OUT_SEEDS, method, made_from, run.val_key, _files_key(run, method, run.val))
        if not ranks.agreed(held_out.done):
            if locate is None and learned is not None:
                locate = _trained(run, method, learned)
            with run.making(held_out):
                locate = locate or method.prepare(run.context(held_out))
                run.engine.make(locating(run, held_out, locate, "val"))
    return Maps(stage)


def _files_key(run: Run, method: SeedMethod | Refiner, data: Dataset) -> str:
    """Digest of the files that a method reads for the images of a split; empty if it reads none."""
    if not isinstance(method, ReadsFiles):
        return ""
    if isinstance(method, KnowsFiles):
        return method.fingerprint_of(data.names, run.contents)
    return method.fingerprint()


def _as_read(settings: Classifier | None, classifier: Classified) -> str:
    """Key of a trained classifier together with how it is read."""
    if plain(settings) == plain(settings, trained=True):
        return classifier.key
    return key_of("reading", settings, classifier.key)


def refine(run: Run, seeds: Maps) -> Maps:
    """Train the refiner and refine the maps of the training images; without a refiner, return the seeds."""
    method = run.pipeline.refine
    if method is None:
        return seeds
    learned = _learned(run, "refine", method, run.with_reviewed(seeds.key))
    made_from = seeds.key if learned is None else learned.key
    if files := _files_key(run, method, run.train):
        made_from = key_of("files", files, made_from)
    stage = run.stage("refined", method, made_from)
    if ranks.agreed(stage.done):
        return Maps(stage)
    stored = stored_seeds(run.files("seeds", run.train, ".npz", "train"))
    refined = None if learned is None else _trained(run, method, learned, stored)
    with run.making(stage):
        run.engine.make(refining(run, stage, refined or method.prepare(run.context(stage, stored))))
    return Maps(stage)


def make_masks(run: Run, maps: Maps) -> Masks:
    """Pseudo-masks of the training images, palette PNGs named after them."""
    for made in ("seeds",) if run.pipeline.refine is None else ("seeds", "refined"):
        run.measure(made)
    # Seeds that no threshold can be chosen from end the run here, not when it is scored.
    _ = run.cuts("seeds").used
    stage = run.stage("masks", run.mask_threshold, maps.key)
    if not ranks.agreed(stage.done):
        with run.making(stage):
            run.engine.make(masking(run, stage))
    return Masks(stage)


def train_segmentation(run: Run, masks: Masks) -> Segmented | None:
    """Train the segmentation network on pseudo-masks and reviewed masks; None where the pipeline has none."""
    p, settings = run.pipeline, run.pipeline.segment
    if settings is None:
        return None
    identity: tuple[object, ...] = (settings, p.backbone, run.initial_weights, p.seed, p.precision, run.side)
    identity += () if p.frozen is None else (p.frozen.identity, p.stride)
    stage = run.stage("segment", identity, run.with_reviewed(masks.key))
    if ranks.agreed(stage.done):
        return Segmented(stage)
    with run.making(stage) as notes:
        own = run.files("masks", run.train, ".png")
        paths = [run.taught.get(index, path) for index, path in enumerate(own)]
        counts = {index: pixel_counts(path) for index, path in enumerate(paths) if index not in run.held_out}
        useful = tuple(index for index, found in counts.items() if found[:IGNORE].any())
        if not useful:
            raise InputError("the pseudo-masks hold nothing to learn from: look at the seeds in report.html")
        torch.manual_seed(p.seed)
        if p.frozen is not None:
            backbone = run.untrained()
            standardise(backbone, run.features.of("train"))
        elif settings.from_classifier:
            backbone = run.trained_classifier().backbone.requires_grad_(True)
        else:
            backbone = build_backbone(p.backbone, p.weights, settings.stride)
        shown = repeated(useful, run.taught, p.corrections.repeats)
        side = run.side
        examples: Examples
        if p.frozen is not None:
            side, views = p.frozen.side, p.frozen.views
            cells = max(2, round(settings.crop * side / views.stride))
            examples = MaskedFeatures(run.train, run.features.of("train"), paths, views, cells, shown)
        else:
            pixels, long_side = settings.pixels(run.side)
            crop = TrainCrop(pixels, long_side=long_side, jitter=settings.jitter)
            examples = MaskedImages(run.train, paths, crop, backbone.fill, shown)
        # Images count alike, whatever their size.
        shares = sum(counts[index] / counts[index].sum() for index in useful)
        weight = balancing_weight(shares[: len(run.train.classes) + 1].tolist()) if settings.balanced else 1.0
        network = SegmentationNetwork(backbone, len(run.train.classes), settings, side, weight)
        save = partial(save_network, network=network, classes=run.train.classes, made_by=stage.key)
        notes["parameters"] = _train(run, stage, network, examples, settings.plan, save, "segmentation")
    return Segmented(stage)


def predict(run: Run, network: Segmented) -> Stage:
    """Masks that the network makes of the held-out images, or of the training images where there are no others."""
    stage = run.stage("predictions", run.pipeline.inference, network.key, run.val_key)
    if not ranks.agreed(stage.done):
        with run.making(stage):
            run.engine.make(predicting(run, stage, run.parts()[-1][0]))
    return stage


def predict_some(run: Run, part: str, indices: Iterable[int]) -> None:
    """Masks that the network makes of some images of a split, without their tags; existing ones are kept."""
    paths = run.files("predictions", dict(run.parts())[part], ".png", part)
    missing = [index for index in indices if not paths[index].exists()]
    if missing:
        share = predicting(run, run.stored("predictions"), part)
        for_each(share.data, missing, share.work, title=share.title)


def _previous_round(run: Run, classifier: Classifier, augment: SampleAugmentation) -> tuple[Masks, list[Path]]:
    """Run the previous round up to its pseudo-masks, in a run folder of its own; returns the masks and their paths."""
    number = augment.rounds - 1
    pipeline = round_before(run.pipeline, classifier, augment)
    record = run_record(run.out.path, "recipe", "settings")
    settings = {**record["settings"], "classifier": plain(pipeline.classifier), "segment": None}
    record.pop("thresholds", None)
    record |= {"recipe": f"{record['recipe']}, round {number}".lstrip(", "), "settings": settings}
    folder = RunFolder(run.home / f"round-{number}", record, own=ranks.first())
    try:
        earlier = Run(pipeline, run.splits, folder, run.reuse, home=run.home, contents=run.contents, engine=run.engine)
        masks = make_masks(earlier, refine(earlier, find_seeds(earlier, train_classifier(earlier))))
        return masks, earlier.files("masks", earlier.train, ".png")
    finally:
        folder.close()


def round_before(pipeline: Pipeline, classifier: Classifier, augment: SampleAugmentation) -> Pipeline:
    """The pipeline of the round before: it ends with pseudo-masks."""
    return replace(pipeline, classifier=replace(classifier, augment=augment.earlier), segment=None)


def _learned(run: Run, name: str, method: SeedMethod | Refiner, made_from: str) -> Stage | None:
    """The stage in which a seed method or a refiner trains; None for one that trains nothing."""
    p, settings = run.pipeline, learning(method)
    return None if settings is None else run.stage(name, (settings, run.side, p.seed, p.precision), made_from)


def _trained(
    run: Run, method: Method[Function], stage: Stage, seeds: Callable[[int], SeedMaps] | None = None
) -> Function:
    """Prepare a method in the stage in which it trains; if that is done, it only loads what it trained."""
    if ranks.agreed(stage.done):
        return method.prepare(run.context(stage, seeds))
    with run.making(stage):
        return method.prepare(run.context(stage, seeds))


def _train(
    run: Run,
    stage: Stage,
    network: nn.Module,
    examples: Examples,
    plan: Plan,
    save: Callable[[Path], None],
    title: str,
    watch: Watch | None = None,
) -> int:
    """Train the network of a stage and save it, unless it is saved already; returns its number of parameters."""
    p, path = run.pipeline, stage.folder / "model.safetensors"
    if not ranks.agreed(path.exists()):  # a kill may have happened between the result and its record
        fit(
            network,
            examples,
            plan,
            folder=stage.folder,
            seed=p.seed,
            precision=p.precision,
            title=title,
            watch=watch,
            memory=p.memory,
        )
        if ranks.first():
            save(path)
    if ranks.first():
        finish(stage.folder)
    return sum(parameter.numel() for parameter in network.parameters())


def pixel_counts(path: Path) -> NDArray[np.int64]:
    """Number of the pixels of each value in a mask, (256,)."""
    return np.bincount(load_mask(path).ravel(), minlength=256).astype(np.int64)


def _mask_at(paths: Sequence[Path], max_side: int | None, index: int) -> NDArray[np.uint8]:
    """A mask at the size at which its image is read."""
    mask = load_mask(paths[index])
    return resized_mask(mask, fitted((mask.shape[0], mask.shape[1]), max_side))
