from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.artifacts import load_mask, read_json
from deft.contracts import InputError, SeedMaps
from deft.data.examples import MaskedImages
from deft.data.transforms import TrainCrop
from deft.engine.optimise import Sgd
from deft.engine.plan import Plan
from deft.refine.irn import Irn, IrnRefine, propagate
from deft.refine.labels import ConfidentLabels
from deft.thresholds import MapStatistics
from fakes import Pyramid, Scenes, method_context

SMALL = Irn(plan=Plan(epochs=1, min_steps=3, batch=2, optimiser=Sgd(lr=0.01), workers=0), train_radius=4, steps=16)


def test_trains_once_and_refines_every_image(tmp_path: Path) -> None:
    data = Scenes()
    refine = SMALL.prepare(method_context(data, tmp_path, seeds=data.seeds))
    assert (tmp_path / "model.safetensors").exists()
    for index in range(len(data)):
        labels = load_mask(tmp_path / "labels" / "folder" / f"scene {index}.png")
        assert labels.shape == data[index].image.shape[:2]
        assert set(np.unique(labels)) <= {0, 1, 255}
        assert (labels[data.scenes[index][1]] == 1).mean() > 0.8
    before = [refine(data[index], data.seeds(index)) for index in range(len(data))]
    for index, refined in enumerate(before):
        height, width = data[index].image.shape[:2]
        assert refined.size == (height, width) and refined.classes == (0,)
        assert refined.maps.shape == (1, (height - 1) // 4 + 1, (width - 1) // 4 + 1)
        assert refined.maps.min() >= 0 and refined.maps.max() == 1

    written = (tmp_path / "model.safetensors").stat().st_mtime_ns
    again = SMALL.prepare(method_context(data, tmp_path, seeds=data.seeds))
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == written
    for index, refined in enumerate(before):
        torch.testing.assert_close(again(data[index], data.seeds(index)).maps, refined.maps)


def test_seeds_without_objects_are_refused_before_training(tmp_path: Path) -> None:
    data = Scenes()
    faint = lambda index: replace(data.seeds(index), maps=data.seeds(index).maps * 0)  # noqa: E731
    numbers = replace(SMALL, labels=ConfidentLabels(fg=0.30, bg=0.05))
    with pytest.raises(InputError, match=r"refine\.labels\.fg"):
        numbers.prepare(method_context(data, tmp_path, seeds=faint))
    assert not (tmp_path / "model.safetensors").exists()


def test_constant_seeds_are_refused(tmp_path: Path) -> None:
    data = Scenes()
    flat = lambda index: replace(data.seeds(index), maps=data.seeds(index).maps * 0 + 0.5)  # noqa: E731
    with pytest.raises(InputError, match="the thresholds of the confident labels from, got maps that have one value"):
        SMALL.prepare(method_context(data, tmp_path, seeds=flat))
    assert not (tmp_path / "model.safetensors").exists() and not (tmp_path / "labels").exists()


def test_thresholds_of_the_labels_are_chosen_once_from_all_seeds(tmp_path: Path) -> None:
    data = Scenes()
    SMALL.prepare(method_context(data, tmp_path / "auto", seeds=data.seeds))
    record = read_json(tmp_path / "auto" / "statistics.json")
    statistics = MapStatistics.from_json(record)
    assert (record["made_by"], statistics.images) == ("key", len(data))
    assert statistics.counts.sum() == sum(data.seeds(index).maps[0].numel() for index in range(len(data)))

    numbers = replace(SMALL, labels=SMALL.labels.settled(statistics))
    assert not numbers.labels.open
    numbers.prepare(method_context(data, tmp_path / "numbers", seeds=data.seeds))
    assert not (tmp_path / "numbers" / "statistics.json").exists()
    for name in data.names:
        one, other = (load_mask(tmp_path / run / "labels" / f"{name}.png") for run in ("auto", "numbers"))
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("value", [0.005, 1.0, -0.1, float("nan")])
def test_background_thresholds_outside_the_sweep_are_refused(value: float) -> None:
    with pytest.raises(InputError, match=rf"expected refine\.background to be auto or one of .* got {value}"):
        Irn(background=value)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (64, 64), (530, 21)])
def test_images_of_any_size_and_seeds_on_any_grid(size: tuple[int, int]) -> None:
    refine = IrnRefine(SMALL.network(Pyramid()).eval(), SMALL, 16)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    grid = ((size[0] - 1) // 4 + 1, (size[1] - 1) // 4 + 1)
    with torch.no_grad():
        for cells in (grid, ((size[0] - 1) // 16 + 1, (size[1] - 1) // 16 + 1), size):
            refined = refine(image, SeedMaps((1, 3), torch.rand(2, *cells), size, (0.1, 0.9)))
            assert refined.maps.shape == (2, *grid) and refined.maps.isfinite().all()
            assert refined.scores == (0.1, 0.9)
        nothing = refine(image, SeedMaps((), torch.zeros(0, *grid), size))
    assert nothing.maps.shape == (0, *grid)


def test_maps_within_bf16_boundaries_are_propagated_in_float32() -> None:
    torch.manual_seed(0)
    network = SMALL.network(Pyramid()).eval()
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    seeds = SeedMaps((1,), torch.rand(1, 16, 20), (64, 80))
    with torch.no_grad():
        exact, half = (IrnRefine(network, SMALL, 16, word)(image, seeds) for word in ("32-true", "bf16-mixed"))
    assert half.maps.dtype == torch.float32
    assert torch.allclose(half.maps, exact.maps, atol=0.05) and not torch.equal(half.maps, exact.maps)


def test_maps_fill_the_region_enclosed_by_boundaries() -> None:
    edge = torch.zeros(24, 24)
    edge[6:18, [6, 17]] = edge[[6, 17], 6:18] = 0.99
    seeds = torch.zeros(2, 24, 24)
    seeds[0, 10:12, 10:12] = 1
    seeds[1, 2, 2] = 0.1
    walked = propagate(seeds, edge, Irn(), 256)
    inside = torch.zeros(24, 24, dtype=torch.bool)
    inside[7:17, 7:17] = True
    away = torch.ones(24, 24, dtype=torch.bool)
    away[6:18, 6:18] = False
    assert walked.max() == 1
    assert walked[0][inside].min() > 0.9
    assert walked[0][away].max() < 0.05


def test_maps_are_cleared_on_boundaries_only_if_set() -> None:
    generator = torch.Generator().manual_seed(0)
    seeds, edge = torch.rand(2, 9, 8, generator=generator), torch.rand(9, 8, generator=generator)
    assert not Irn().clear_edges
    cleared = propagate(seeds, edge, Irn(clear_edges=True), 8)
    torch.testing.assert_close(cleared, propagate(seeds * (1 - edge), edge, Irn(), 8))
    assert not torch.allclose(cleared, propagate(seeds, edge, Irn(), 8), atol=1e-2)
    assert Irn(clear_edges=True).learning == Irn().learning


def test_seeds_are_raised_to_a_power_before_the_random_walk() -> None:
    generator = torch.Generator().manual_seed(0)
    seeds, edge = torch.rand(2, 9, 8, generator=generator), torch.rand(9, 8, generator=generator)
    expected = propagate(seeds**1.5, edge, Irn(), 8)
    torch.testing.assert_close(propagate(seeds, edge, Irn(power=1.5), 8), expected)
    assert not torch.allclose(propagate(seeds, edge, Irn(), 8), expected, atol=1e-2)
    assert Irn(power=1.5).learning == Irn().learning
    with pytest.raises(InputError, match=r"^Irn\.power: expected"):
        Irn(power=0.0)


def test_maps_of_zeros_stay_zeros() -> None:
    assert not propagate(torch.zeros(2, 5, 6), torch.rand(5, 6), Irn(), 256).any()


def test_training_crops_are_centred_on_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, asked = Scenes(), []

    def learn(context: object, network: object, examples: Callable[[], MaskedImages], *rest: object) -> None:
        asked.append(examples())

    monkeypatch.setattr("deft.refine.irn.learn", learn)
    Irn(labels=SMALL.labels).prepare(method_context(data, tmp_path, seeds=data.seeds, side=500))
    assert asked[0].transform == TrainCrop(513, scale=(0.5, 1.5), flip=True)
    assert asked[0].indices == (0, 1, 2, 3)


def test_steps_follow_the_area_and_training_does_not_depend_on_the_walk() -> None:
    assert [Irn().walk_steps(side) for side in (500, 250, 1000, 10)] == [256, 64, 1024, 1]
    assert replace(Irn(), steps=9, beta=3.0, radius=3, background=0.4).learning == Irn().learning
    assert replace(Irn(), train_radius=5).learning != Irn().learning
