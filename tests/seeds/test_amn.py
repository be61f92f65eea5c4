from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deft.artifacts import load_mask, load_seeds, load_tensors
from deft.backbone import build_backbone
from deft.contracts import InputError, Sample, SeedMaps, Splits
from deft.data import open_data
from deft.engine import plan as engine
from deft.engine.method import MethodContext
from deft.engine.optimise import Adam
from deft.engine.plan import Plan
from deft.seeds.amn import Amn, stretch
from deft.seeds.amn_network import AmnNetwork
from deft.seeds.cam import Cam
from fakes import classifier, method_context

Trained = tuple[MethodContext, Callable[[Sample], SeedMaps]]


@dataclass(frozen=True)
class Thirds:
    """Labels without a CRF: the upper third is background, the lower one the first class, if the image has any."""

    def __call__(self, image: np.ndarray, seeds: SeedMaps) -> np.ndarray:
        mask = np.full(image.shape[:2], 255, dtype=np.uint8)
        mask[: len(mask) // 3] = 0
        if seeds.classes:
            mask[-len(mask) // 3 :] = seeds.classes[0] + 1
        return mask


@dataclass(frozen=True)
class Unsure:
    """Labels that are never sure of an object."""

    def __call__(self, image: np.ndarray, seeds: SeedMaps) -> np.ndarray:
        return np.zeros(image.shape[:2], dtype=np.uint8)


@dataclass(frozen=True)
class Learner:
    """A seed method that trains."""

    learning: int = 1

    def prepare(self, context: Any) -> Callable[[Sample], SeedMaps]:
        raise AssertionError("never asked")


@dataclass(frozen=True)
class Stored:
    """A seed method that reads files."""

    learning: None = None

    def prepare(self, context: Any) -> Callable[[Sample], SeedMaps]:
        raise AssertionError("never asked")

    def check(self, splits: Splits) -> None:
        raise InputError("a file is broken")

    def fingerprint(self) -> str:
        return "abc"


SMALL = Amn(
    labels=Thirds(),
    base=Cam(scales=(1.0,)),
    plan=Plan(epochs=1, min_steps=12, batch=4, optimiser=Adam(lr=1e-4), workers=0),
    scales=(0.5, 1.0),
)


def bench(data: Path, folder: Path) -> MethodContext:
    """What a run would give it: the training images and a classifier of random weights."""
    return method_context(open_data(f"folder:{data}").train, folder, network=classifier())


@pytest.fixture(scope="module")
def trained(folder_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    made = bench(folder_data, tmp_path_factory.mktemp("localiser"))
    return made, SMALL.prepare(made)


def network() -> AmnNetwork:
    torch.manual_seed(0)
    return AmnNetwork(build_backbone("test_resnet", "none", 16), 3).eval()


def test_maps_are_stretched_but_for_the_sure_background() -> None:
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.1, 0.7, (3, 6, 5)).astype(np.float32)
    probability[2] = 0.3
    background = rng.random((6, 5)) < 0.4
    expected = np.empty_like(probability)
    for plane in range(3):
        least, most = probability[plane].min(), probability[plane].max()
        for row in range(6):
            for column in range(5):
                value = probability[plane, row, column]
                fresh = (value - least) / (most - least) if most > least else 0.0
                expected[plane, row, column] = value if background[row, column] else fresh
    found = stretch(torch.from_numpy(probability), torch.from_numpy(background))
    assert np.allclose(found.numpy(), expected, atol=1e-6)
    assert stretch(torch.zeros(0, 6, 5), torch.from_numpy(background)).shape == (0, 6, 5)


def test_the_maps_of_an_image_are_its_probabilities_stretched() -> None:
    net, image = network(), np.random.default_rng(1).integers(0, 256, (50, 63, 3), dtype=np.uint8)
    labels = np.full((50, 63), 255, dtype=np.uint8)
    labels[:20], labels[30:] = 0, 2
    sample = Sample("one", image, np.array([False, True, True]))
    seeds = SMALL.maps(net, sample, labels, (0.1, 0.2, 0.3))
    probability = net.probability(image, sample.labels, SMALL.scales, True)[2:]
    assert (seeds.classes, seeds.size, seeds.scores) == ((1, 2), (50, 63), (0.1, 0.2, 0.3))
    assert torch.equal(seeds.maps[:, :5], probability[:, :5])  # rows 0 to 16 of the image
    least, most = probability.amin((1, 2), keepdim=True), probability.amax((1, 2), keepdim=True)
    assert torch.allclose(seeds.maps[:, 5:], ((probability - least) / (most - least))[:, 5:], atol=1e-6)
    assert torch.equal(SMALL.maps(net, sample, labels).maps, seeds.maps)


def test_maps_are_read_in_the_precision_asked() -> None:
    net, image = network(), np.random.default_rng(1).integers(0, 256, (50, 63, 3), dtype=np.uint8)
    sample, labels = Sample("one", image, np.array([False, True, True])), np.zeros((50, 63), dtype=np.uint8)
    found = SMALL.maps(net, sample, labels, precision="bf16-mixed")
    probability = net.probability(image, sample.labels, SMALL.scales, True, "bf16-mixed")
    assert torch.equal(found.maps, probability[2:])


def test_trains_once_and_maps_every_image(trained: Trained, folder_data: Path) -> None:
    made, locate = trained
    held_out = open_data(f"folder:{folder_data}").val
    assert held_out is not None
    assert not (made.folder / "checkpoint.safetensors").exists()
    for data in (made.data, held_out):
        for index in range(len(data)):
            sample = data[index]
            seeds = locate(sample)
            assert seeds.classes == tuple(np.flatnonzero(sample.labels))
            assert seeds.maps.shape == (len(seeds.classes), 16, 16)
            assert seeds.maps.dtype == torch.float32 and seeds.maps.device.type == "cpu"
            assert not len(seeds.maps) or 0 <= float(seeds.maps.min()) <= float(seeds.maps.max()) <= 1
            assert len(seeds.scores) == 3
            assert torch.equal(locate(sample).maps, seeds.maps)
    written = (made.folder / "model.safetensors").stat().st_mtime_ns
    again = SMALL.prepare(bench(folder_data, made.folder))
    assert (made.folder / "model.safetensors").stat().st_mtime_ns == written
    assert torch.equal(again(made.data[3]).maps, locate(made.data[3]).maps)


def test_labels_are_those_of_the_first_maps_and_the_classifier_stays_as_it_was(
    trained: Trained, folder_data: Path
) -> None:
    made, _ = trained
    fresh = bench(folder_data, made.folder).classifier.state_dict()
    assert all(torch.equal(value, fresh[key]) for key, value in made.classifier.state_dict().items())
    first = Cam(scales=(1.0,)).prepare(made)
    for index, name in enumerate(made.data.names):
        sample, stored = made.data[index], load_seeds(made.folder / "base" / f"{name}.npz")
        assert torch.allclose(stored.maps, first(sample).maps, atol=1 / 255)
        assert np.array_equal(load_mask(made.folder / "labels" / f"{name}.png"), Thirds()(sample.image, stored))


def test_an_image_of_the_same_name_has_labels_of_its_own(
    trained: Trained,
) -> None:
    made, locate = trained
    sample = made.data[0]
    other = replace(sample, image=sample.image[::-1, :40].copy())
    assert locate(other).size == (64, 40)
    assert torch.equal(locate(replace(other, name="unheard of")).maps, locate(other).maps)
    assert locate(replace(sample, labels=np.array([False, False, True]))).classes == (2,)


def test_killed_and_started_again_it_ends_at_the_same_network(
    trained: Trained,
    folder_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, locate = trained
    monkeypatch.setattr(engine, "CHECKPOINT_SECONDS", 0.0)
    terms, calls = AmnNetwork.terms, []

    def killed(self: AmnNetwork, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        calls.append(epoch)
        if len(calls) == 13:  # the first one measures the memory of a step
            raise RuntimeError("killed")
        return terms(self, batch, epoch, rng)

    monkeypatch.setattr(AmnNetwork, "terms", killed)
    with pytest.raises(RuntimeError, match="killed"):
        SMALL.prepare(bench(folder_data, tmp_path))
    assert not (tmp_path / "model.safetensors").exists()
    stored = {path: path.stat().st_mtime_ns for path in [*tmp_path.rglob("*.npz"), *tmp_path.rglob("*.png")]}
    assert len(stored) == 2 * len(made.data)
    gone = min(stored)
    gone.unlink()
    resumed = SMALL.prepare(bench(folder_data, tmp_path))
    assert len(calls) == 14  # went on from step 11 of 12
    assert {path for path, time in stored.items() if path.stat().st_mtime_ns != time} == {gone}
    whole, again = (load_tensors(folder / "model.safetensors")[0] for folder in (made.folder, tmp_path))
    assert all(torch.equal(again[key], value) for key, value in whole.items())
    assert torch.equal(resumed(made.data[3]).maps, locate(made.data[3]).maps)


def test_labels_without_an_object_are_refused_before_training(folder_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"seeds\.labels\.fg"):
        replace(SMALL, labels=Unsure()).prepare(bench(folder_data, tmp_path))
    assert not (tmp_path / "model.safetensors").exists()


def test_reading_settings_do_not_touch_the_training() -> None:
    assert replace(SMALL, scales=(1.0,), mirror=False).learning == SMALL.learning
    for change in ({"labels": Unsure()}, {"base": Cam()}, {"smoothing": 0.1}, {"dropout": 0.0}, {"crop": 0.5}):
        assert replace(SMALL, **change).learning != SMALL.learning


def test_the_files_of_a_base_that_reads_files_are_checked_and_counted(folder_data: Path) -> None:
    splits = open_data(f"folder:{folder_data}")
    SMALL.check(splits)
    assert SMALL.fingerprint() == ""
    stored = replace(SMALL, base=Stored())
    assert stored.fingerprint() == "abc"
    with pytest.raises(InputError, match="broken"):
        stored.check(splits)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base": Learner()}, "seeds.base"),
        ({"scale": (1.5, 0.5)}, "Amn.scale"),
        ({"head_lr": 0.0}, "Amn.head_lr"),
        ({"dropout": 1.0}, "Amn.dropout"),
        ({"smoothing": -0.1}, "Amn.smoothing"),
        ({"scales": ()}, "Amn.scales"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        replace(SMALL, **change)
