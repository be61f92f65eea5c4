"""The whole of ``irn``, from photographs to pseudo-masks, beside the sum of the published way's stages.

    python benchmarks/speed/whole_irn.py --data voc:PATH --weights FILE [--backbone NAME]

or with the environment variables ``DEFT_BENCH_DATA`` and ``DEFT_BENCH_WEIGHTS``; ``DEFT_BENCH_RUN`` names a finished
run of ``irn`` whose own seconds are written beside the estimate.

Both ways are timed on a few images and steps and scaled to the images of the data and to the steps of the recipe. The
published way is float32, contiguous and one image after the other. A first row gives it the crops of the recipe, which
are as large as the photographs; a second one its own, 512 pixels whatever the photographs are. The segmentation
network, which the published way takes from elsewhere, is left out of both.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import crf
import loading
import numpy as np
import torch
import torch.nn.functional as F
import walk
from irn_training import DensePairs
from measure import Row, once, show
from numpy.typing import NDArray
from stored_seeds import Found, pickled
from torch import Tensor
from training import stepper

import seeds as published_seeds
from deft import recipes
from deft.artifacts import load_seeds, read_json, save_mask, save_seeds
from deft.backbone import Backbone, build_backbone
from deft.classify.classifier import Classifier, ClassifierNetwork
from deft.contracts import Dataset, Sample, SeedMaps
from deft.data import open_data
from deft.data.examples import MaskedImages, TaggedImages, typical_side, without_truth
from deft.data.transforms import TrainCrop
from deft.engine.infer import for_each
from deft.engine.layout import channels_last
from deft.engine.memory import keep_freed
from deft.engine.precision import autocast, choose
from deft.refine.crf import dense_crf, unary_from_labels
from deft.refine.irn import Irn, IrnRefine
from deft.refine.irn_network import IrnNetwork
from deft.refine.random_walk import boundary_affinities
from deft.seedmaps import STRIDE, to_mask, upsample
from deft.thresholds import number

WHAT = "the whole of irn, photographs to pseudo-masks"
GOAL = "20 times faster"
HAS_CRF = find_spec("pydensecrf") is not None
"""pydensecrf2, for the published way."""
RUN_STAGES = ("classifier", "seeds", "refine", "refined", "masks")


@dataclass(frozen=True)
class Place:
    """What is measured, and where."""

    data: Dataset
    """Without the ground truth, which neither way reads."""
    weights: str
    backbone: str
    device: torch.device
    sample: tuple[int, ...]
    """The images measured."""
    steps: int
    """Training steps measured, after one that warms."""
    side: int
    """Typical long side, in pixels."""
    folder: Path
    crops: int = 0
    """Side of all crops, in pixels, as the published way has them; 0 for those of the recipe."""

    @property
    def classifier(self) -> Classifier:
        """Of the recipe."""
        return recipes.irn().own_classifier

    @property
    def irn(self) -> Irn:
        """Of the recipe, with the published thresholds, so that both ways cut at the same."""
        settings = recipes.published(recipes.irn()).refine
        if not isinstance(settings, Irn):
            raise AssertionError("the recipe irn refines by IRN")
        return settings

    @property
    def crop(self) -> TrainCrop:
        """Of the classifier."""
        if self.crops:
            return TrainCrop(self.crops, long_side=(320, 640))
        pixels, sides = self.classifier.pixels(self.side)
        return TrainCrop(pixels, long_side=sides)

    @property
    def irn_crop(self) -> TrainCrop:
        """Of IRN's network."""
        pixels = self.crops or 32 * max(1, round(self.irn.crop * self.side / 32))
        return TrainCrop(pixels, scale=self.irn.scale)

    @property
    def images(self) -> list[Sample]:
        """The images measured, decoded."""
        return [self.data[index] for index in self.sample]

    def fresh(self) -> Backbone:
        """A backbone with its weights."""
        torch.manual_seed(0)
        return build_backbone(self.backbone, self.weights, 16)

    def network(self) -> ClassifierNetwork:
        """A classifier whose head is not trained: times do not depend on it."""
        return self.classifier.build(self.fresh(), len(self.data.classes)).to(self.device)


Clocked = dict[str, float]
"""Stage to seconds of one step or one image."""


def middle(work: Callable[[int], object], place: Place) -> float:
    """Median seconds of ``work(0)``, ``work(1)``, ... after one that warms."""
    work(0)
    return float(np.median([once(lambda n=n: work(n), place.device) for n in range(place.steps)]))  # type: ignore[misc]


def batch_of(examples: TaggedImages | MaskedImages, count: int, device: torch.device) -> dict[str, Tensor]:
    """One batch, read here."""
    found = [examples.example(n % len(examples), np.random.default_rng(n)) for n in range(count)]
    return {key: torch.stack([each[key] for each in found]).to(device) for key in found[0]}


def masked(place: Place, fill: tuple[int, int, int]) -> MaskedImages:
    """IRN's examples; labels are patches, as far as the time of a step depends on them."""
    paths = [place.folder / f"label-{number}.png" for number in range(len(place.data))]
    for index in place.sample:
        height, width = place.data[index].image.shape[:2]
        coarse = np.random.default_rng(index).choice(np.array([0, 0, 0, 255, 1, 2], np.uint8), (6, 8))
        rows, columns = np.arange(height) * 6 // height, np.arange(width) * 8 // width
        save_mask(paths[index], np.ascontiguousarray(coarse[np.ix_(rows, columns)]))
    return MaskedImages(place.data, paths, place.irn_crop, fill, place.sample)


def irn_step(
    network: IrnNetwork, losses: Callable[[dict[str, Tensor]], Tensor], place: Place
) -> Callable[[dict[str, Tensor]], None]:
    """A step of IRN's training."""
    optimiser = place.irn.plan.optimiser.build(network.groups())
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]

    def step(batch: dict[str, Tensor]) -> None:
        loss: Any = losses(batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, place.irn.plan.clip)
        optimiser.step()

    return step


def theirs_training(place: Place, irn_batch: int) -> Clocked:
    """Seconds of each step, the published way."""
    device, spent = place.device, {}
    paths = [getattr(place.data, "images", ())[index] for index in place.sample]
    spent["read a training image"] = float(
        np.median([once(lambda p=p: loading.published(p, np.random.default_rng(0)), device) for p in 3 * paths])  # type: ignore[misc]
    )
    network = place.network().train()
    batch = batch_of(TaggedImages(place.data, place.crop, network.backbone.fill), place.classifier.plan.batch, device)
    step = stepper(network, "32-true", device)
    spent["classifier step"] = middle(lambda n: step(batch, 1), place)

    boundaries = place.irn.network(place.fresh()).to(device).train()
    boundaries.backbone.requires_grad_(True)
    side = place.irn_crop.crop // STRIDE
    pairs = DensePairs(side, side, place.irn.train_radius, device)

    def dense(batch: dict[str, Tensor]) -> Tensor:
        maps = [each.detach() for each in boundaries.backbone(batch["image"])[-5:]]
        whole = (batch["image"].shape[-2], batch["image"].shape[-1])
        edge, moved = boundaries.edge(maps, whole), boundaries.displacement(maps, whole)
        return torch.stack(list(pairs(edge.sigmoid(), moved, batch["mask"][:, ::STRIDE, ::STRIDE]).values())).sum()

    batch = batch_of(masked(place, network.backbone.fill), irn_batch, device)
    step_of_irn = irn_step(boundaries, dense, place)
    spent["IRN step"] = middle(lambda n: step_of_irn(batch), place) * place.irn.plan.batch / irn_batch
    return spent


def theirs_images(place: Place) -> Clocked:
    """Seconds of each image, the published way."""
    device, spent = place.device, {}
    network = place.network().eval()
    images = place.images
    size = [(sample.image.shape[0], sample.image.shape[1]) for sample in images]

    def seeds(n: int) -> Found:
        strided = published_seeds.published(network, images[n % len(images)].image)
        full = F.interpolate(strided[None], size=size[n % len(images)], mode="bilinear")[0]
        return Found(published_seeds.TAGS, full, strided)

    spent["seeds of an image"] = middle(seeds, place)
    found = [seeds(n) for n in range(len(images))]
    files = place.folder / "theirs.npy"
    spent["write its maps"] = middle(lambda n: files.write_bytes(pickled(found[n % len(images)])), place)

    def labels(n: int) -> None:
        each, settings = found[n % len(images)], place.irn.labels
        for level in (number(settings.fg), number(settings.bg)):
            value, strongest = each.full.max(0)
            chosen = torch.where(value > level, strongest + 1, 0)
            count = len(each.classes) + 1
            if HAS_CRF:
                crf.cpp(images[n % len(images)].image, chosen, count)
            else:
                unary = unary_from_labels(chosen.to(device), count, settings.gt_prob)
                dense_crf(unary, images[n % len(images)].image, settings.crf).argmax(0)

    spent["confident labels of an image"] = middle(labels, place)
    boundaries = place.irn.network(place.fresh()).to(device).eval()

    @torch.no_grad()
    def edge_of(n: int) -> Tensor:
        image = torch.from_numpy(images[n % len(images)].image).permute(2, 0, 1)[None].contiguous().to(device)
        return boundaries.edge_and_displacement(image)[0][0]

    spent["boundaries of an image"] = middle(edge_of, place)
    walked = found[0].strided

    def spread(n: int) -> None:
        nonlocal walked
        walked = walk.squared(found[0].strided.to(device), boundary_affinities(edge_of(0), walk.RADIUS)).cpu()

    spent["boundaries and walk of an image"] = middle(spread, place)

    def mask(n: int) -> None:
        full = F.interpolate(walked[None], size=size[0], mode="bilinear")[0]
        cut = number(place.irn.background)
        save_mask(place.folder / "theirs.png", to_mask(full / full.max(), published_seeds.TAGS, cut))

    spent["mask of an image"] = middle(mask, place)
    return spent


def ours(place: Place, irn_batch: int) -> Clocked:
    """Seconds of each step and image, as the package does it; images are mapped over as in a run."""
    device, spent, precision = place.device, {}, choose(place.device)
    network: ClassifierNetwork = channels_last(place.network()).train()
    examples = TaggedImages(place.data, place.crop, network.backbone.fill)
    spent["read a training image"] = float(
        np.median([once(lambda i=i: examples.example(i, np.random.default_rng(0)), device) for i in 3 * place.sample])  # type: ignore[misc]
    )
    batch = batch_of(examples, place.classifier.plan.batch, device)
    step = stepper(network, precision, device)
    spent["classifier step"] = middle(lambda n: step(batch, 1), place)
    network.eval()

    indices = place.sample

    def mapped(work: Callable[[int, Sample], None], on_device: bool = True) -> float:
        def images() -> None:
            for_each(place.data, indices, work, title="sample", on_device=on_device)

        images()
        return float(np.median([once(images, device) for _ in range(place.steps)])) / len(indices)

    locate: Any = recipes.irn().seeds
    stored = {index: place.folder / f"{index}.npz" for index in indices}
    labels = {index: np.zeros(len(place.data.classes), np.bool_) for index in indices}
    for each in labels.values():
        each[list(published_seeds.TAGS)] = True

    def seeds(index: int, sample: Sample) -> None:
        save_seeds(stored[index], locate(network, sample.image, labels[index], precision))

    spent["seeds of an image"] = mapped(seeds)

    spent["write its maps"] = 0.0  # is in the line before

    def label(index: int, sample: Sample) -> None:
        save_mask(place.folder / f"{index}.png", place.irn.labels(sample.image, load_seeds(stored[index])))

    spent["confident labels of an image"] = mapped(label, on_device=False)

    boundaries = channels_last(place.irn.network(place.fresh())).to(device).train()

    def sparse(batch: dict[str, Tensor]) -> Tensor:
        with autocast(precision, device):
            terms = boundaries.terms(batch, 1, torch.Generator())
        return torch.stack(list(terms.values())).float().sum()

    batch = batch_of(masked(place, network.backbone.fill), irn_batch, device)
    step_of_irn = irn_step(boundaries, sparse, place)
    spent["IRN step"] = middle(lambda n: step_of_irn(batch), place) * place.irn.plan.batch / irn_batch
    boundaries.eval()

    def calibrate(index: int, sample: Sample) -> None:
        boundaries.calibrate([torch.from_numpy(sample.image).permute(2, 0, 1).to(device)])

    spent["boundaries of an image"] = mapped(calibrate)
    refine = IrnRefine(boundaries, place.irn, place.irn.walk_steps(place.side), precision)

    def refined(index: int, sample: Sample) -> None:
        save_seeds(place.folder / f"{index}-refined.npz", refine(sample.image, load_seeds(stored[index])))

    spent["boundaries and walk of an image"] = mapped(refined)

    def mask(index: int, sample: Sample) -> None:
        maps: SeedMaps = load_seeds(place.folder / f"{index}-refined.npz")
        pixels: NDArray[np.uint8] = to_mask(upsample(maps), maps.classes, number(place.irn.background))
        save_mask(place.folder / f"{index}-mask.png", pixels)

    spent["mask of an image"] = mapped(mask, on_device=False)
    return spent


def units(place: Place) -> dict[str, int]:
    """How often each is done in a run."""
    images = len(place.data)
    steps, irn_steps = place.classifier.plan.steps(images), place.irn.plan.steps(images)
    read = steps * place.classifier.plan.batch + irn_steps * place.irn.plan.batch
    of_an_image = (
        *("seeds of an image", "write its maps", "confident labels of an image", "boundaries of an image"),
        *("boundaries and walk of an image", "mask of an image"),
    )
    counts = {"read a training image": read, "classifier step": steps, "IRN step": irn_steps}
    return counts | dict.fromkeys(of_an_image, images)


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """All of it, beside either crops; every stage is in ``extra``."""
    data, weights = os.environ.get("DEFT_BENCH_DATA"), os.environ.get("DEFT_BENCH_WEIGHTS")
    if not data or not weights:
        yield Row(
            what=WHAT,
            beside="sum of the published way's stages",
            theirs=None,
            ours=float("nan"),
            difference="",
            goal=GOAL,
            note="needs MSRC: set DEFT_BENCH_DATA to voc:PATH and DEFT_BENCH_WEIGHTS to a file of weights",
        )
        return
    train = without_truth(open_data(data).train)
    count, steps = (2, 1) if quick else (4, 2)
    sample = tuple(range(0, len(train), max(1, len(train) // count)))[:count]
    backbone = os.environ.get("DEFT_BENCH_BACKBONE", "mobilenetv2_100")
    irn_batch = 2 if quick else 16 if device.type == "cuda" else 4
    with tempfile.TemporaryDirectory() as folder:
        place = Place(train, weights, backbone, device, sample, steps, typical_side(train), Path(folder))
        keep_freed()  # as the command does
        after = ours(place, irn_batch)
        keep_freed(False)
        of_images = theirs_images(place)
        for crops, named in ((0, "crops of the recipe"), (64 if quick else 512, "crops of 512")):
            before = of_images | theirs_training(replace(place, crops=crops), irn_batch)
            yield summed(place, before, after, f"sum of the published way's stages, {named}")


def summed(place: Place, before: Clocked, after: Clocked, beside: str) -> Row:
    """All stages, scaled."""
    table = {
        name: {
            "times": number,
            "published, s each": before[name],
            "ours, s each": after[name],
            "published, s": before[name] * number,
            "ours, s": after[name] * number,
        }
        for name, number in units(place).items()
    }
    one, other = (sum(stage[f"{way}, s"] for stage in table.values()) for way in ("published", "ours"))
    extra: dict[str, Any] = {"stages": table}
    note = "; ".join(
        f"{name} {stage['published, s']:.0f} / {stage['ours, s']:.0f} s"
        for name, stage in sorted(table.items(), key=lambda item: -item[1]["published, s"])
    )
    if run := os.environ.get("DEFT_BENCH_RUN"):
        extra["a run, s"] = stages_of(Path(run))
        note += f"; a run took {sum(extra['a run, s'].values()):.0f} s"
    return Row(
        what=f"{WHAT}, {len(place.data)} images, {place.backbone}",
        beside=beside,
        theirs=one,
        ours=other,
        difference="see the rows of the stages",
        goal=GOAL,
        note=f"both scaled from {len(place.sample)} images and {place.steps} steps, {choose(place.device)}"
        f"{'' if HAS_CRF else ', CRF of both ours'}; {note}",
        runs=place.steps,
        extra=extra,
    )


def stages_of(run: Path) -> dict[str, float]:
    """Seconds that a run's stages took."""
    records = {name: run / name / "stage.json" for name in RUN_STAGES}
    return {name: float(read_json(path)["seconds"]) for name, path in records.items() if path.exists()}


if __name__ == "__main__":
    reading = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "weights", "backbone"):
        reading.add_argument(f"--{name}", default=os.environ.get(f"DEFT_BENCH_{name.upper()}"))
    for name, value in vars(reading.parse_args()).items():
        if value:
            os.environ[f"DEFT_BENCH_{name.upper()}"] = value
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
