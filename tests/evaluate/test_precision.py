from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deft.artifacts import RunFolder, load_mask, load_seeds, save_mask, save_seeds, write_json
from deft.backbone import build_backbone
from deft.classify.classifier import Classifier, save_classifier
from deft.classify.linear import LinearHead
from deft.contracts import Dataset, Sample, Splits
from deft.data import open_data
from deft.evaluate.precision import compare, sentence
from deft.pipeline import Pipeline
from deft.seedmaps import to_mask, upsample
from deft.seeds.advcam import AdvCam
from deft.seeds.cam import Cam
from deft.segment.deeplab import DeepLab, load_network, save_network
from deft.segment.inference import Inference
from deft.stages.context import Run
from deft.thresholds import AUTO, Threshold, choose, measure
from fakes import segmenter
from references import slow_miou

PIPELINE = Pipeline(
    classifier=Classifier(head=LinearHead()),
    seeds=Cam(scales=(0.5, 1.0)),
    seed_threshold=0.6,
    segment=DeepLab(channels=16),
    inference=Inference(scales=(1.0,)),
    backbone="test_resnet",
    weights="none",
    precision="bf16-mixed",
)


class Unseen:
    """A dataset whose truth nobody knows."""

    def __init__(self, data: Dataset) -> None:
        self.data, self.scored = data, np.zeros(len(data), dtype=bool)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Sample:
        return replace(self.data[index], mask=None)


def made(pipeline: Pipeline, splits: Splits, out: RunFolder) -> Run:
    """A run with networks of random weights, and with what they find in its precision."""
    run = Run(pipeline, splits, out)
    torch.manual_seed(0)
    backbone = build_backbone("test_resnet", "none", 16)
    classifier = pipeline.own_classifier.build(backbone, 3).eval()
    torch.nn.init.normal_(classifier.head.classifier.weight)
    save_classifier(out.path / "classifier" / "model.safetensors", classifier, splits.train.classes, "key")
    network = segmenter()
    save_network(out.path / "segment" / "model.safetensors", network, splits.train.classes, "key")
    for part, data in run.parts():
        if isinstance(pipeline.seeds, Cam):
            for index, path in enumerate(run.files("seeds", data, ".npz", part)):
                sample = data[index]
                seeds = pipeline.seeds(run.trained_classifier(), sample.image, sample.labels, pipeline.precision)
                save_seeds(path, seeds)
    write_json(out.path / "seeds" / "stage.json", {"key": "key", "state": "done"})
    part, data = run.parts()[-1]
    for index, path in enumerate(run.files("predictions", data, ".png", part)):
        found = pipeline.inference.predict(network, data[index].image, data.classes, precision=pipeline.precision)
        save_mask(path, found.mask)
    return run


@pytest.fixture
def splits(folder_data: Path) -> Splits:
    return open_data(f"folder:{folder_data}")


@pytest.fixture
def out(tmp_path: Path) -> Iterator[RunFolder]:
    folder = RunFolder(tmp_path / "run", {})
    yield folder
    folder.close()


@pytest.mark.parametrize("setting", [0.6, AUTO])
def test_held_out_images_are_compared_in_both_precisions(
    setting: Threshold, splits: Splits, out: RunFolder, tmp_path: Path
) -> None:
    pipeline = replace(PIPELINE, seed_threshold=setting)
    run = made(pipeline, splits, out)
    stored = run.files("seeds", splits.train, ".npz", "train")
    choice = choose(measure(splits.train, lambda index: load_seeds(stored[index])))
    assert choice is not None
    cut = choice.threshold if setting == AUTO else 0.6
    found = compare(run)
    assert splits.val is not None
    assert (found["precision"], found["images"]) == ("bf16-mixed", len(splits.val))
    truths = [splits.val[index].mask for index in range(len(splits.val))]
    # The same by hand: masks of stored files, and of files made in float32.
    beside = RunFolder(tmp_path / "exact", {})
    exact = made(replace(pipeline, precision="32-true"), splits, beside)
    beside.close()
    predictions, maps = [], []
    for one in (run, exact):
        predictions.append([load_mask(path) for path in one.files("predictions", splits.val, ".png", "val")])
        stored = [load_seeds(path) for path in one.files("seeds", splits.val, ".npz", "val")]
        maps.append([to_mask(upsample(seeds), seeds.classes, cut) for seeds in stored])
    for key, (given, other) in (("segmentation", predictions), ("seeds", maps)):
        assert found[key]["miou"] == pytest.approx(slow_miou(given, truths))
        assert found[key]["miou of float32"] == pytest.approx(slow_miou(other, truths))
        equal = np.mean([one == two for one, two in zip(given, other, strict=True)])
        assert found[key]["equal pixels"] == pytest.approx(equal)
        assert 0.5 < found[key]["equal pixels"] <= 1
    assert found["segmentation"]["equal pixels"] < 1  # else nothing would have been seen


def test_few_images_are_spread_over_the_training_images(splits: Splits, out: RunFolder) -> None:
    run = made(PIPELINE, Splits(splits.train, Unseen(splits.val)), out)
    found = compare(run, images=3)
    assert found["images"] == 3
    train = [0, 4, 7]  # of 8, first to last; Python rounds 3.5 to even
    truths = [splits.train[index].mask for index in train]
    network_masks = []
    network, _ = load_network(out.path / "segment" / "model.safetensors")
    for index in train:  # nobody predicted these: they are made in both precisions
        labels = PIPELINE.inference.predict(
            network, splits.train[index].image, splits.train.classes, precision="bf16-mixed"
        )
        network_masks.append(labels.mask)
    assert found["segmentation"]["miou"] == pytest.approx(slow_miou(network_masks, truths))


def test_without_truth_only_equal_pixels_are_counted(splits: Splits, out: RunFolder) -> None:
    run = made(PIPELINE, Splits(Unseen(splits.train), None), out)
    found = compare(run)
    assert found["images"] == len(splits.train)
    assert set(found["seeds"]) == set(found["segmentation"]) == {"equal pixels"}
    known = compare(run, {"seeds": {"equal pixels": 0.25}})
    assert known["seeds"] == {"equal pixels": 0.25} and known["segmentation"] == found["segmentation"]


def test_nothing_is_compared_where_nothing_could_differ(splits: Splits, out: RunFolder) -> None:
    exact = replace(PIPELINE, precision="32-true")
    assert compare(Run(exact, splits, out)) == {}
    run = Run(replace(PIPELINE, seeds=AdvCam(), segment=None), splits, out)
    assert compare(run) == {}
    assert sentence({}) == ""


def test_the_sentence_tells_both_scores_and_their_difference() -> None:
    seeds = {"miou": 0.53914, "miou of float32": 0.539, "equal pixels": 0.998}
    masks = {"miou": 0.60999, "miou of float32": 0.61, "equal pixels": 1.0}
    both = {"precision": "bf16-mixed", "images": 16, "seeds": seeds, "segmentation": masks}
    assert sentence(both) == (
        "bf16-mixed against float32 on 16 images: seeds 53.91 and 53.90 mIoU (+0.01), 99.80 % of pixels equal; "
        "masks 61.00 and 61.00 mIoU (+0.00), 100.00 % of pixels equal"
    )
    blind = {"precision": "bf16-mixed", "images": 4, "segmentation": {"equal pixels": 0.5}}
    assert sentence(blind) == "bf16-mixed against float32 on 4 images: masks 50.00 % of pixels equal"
