from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.artifacts import load_mask, read_json
from deft.backbone import Backbone, build_backbone
from deft.contracts import InputError, SeedMaps
from deft.data.examples import MaskedImages
from deft.data.transforms import TrainCrop
from deft.engine.optimise import Sgd
from deft.engine.plan import Plan
from deft.refine.crf import DenseCrf
from deft.refine.psa import AffinityLabels, Psa, PsaRefine, alpha_of, share_of_classes, with_background
from deft.seedmaps import to_mask
from deft.thresholds import MapStatistics, choose, choose_confident
from fakes import Scenes, method_context, scene
from references import dense_walk


def backbone() -> Backbone:
    torch.manual_seed(0)
    return build_backbone("test_resnet", "none", 16).eval()


NO_CRF = DenseCrf(iterations=0)
SMALL = Psa(plan=Plan(epochs=1, min_steps=3, batch=2, optimiser=Sgd(lr=0.01), workers=0), steps=16)
NUMBERS = replace(SMALL, labels=AffinityLabels(4.0, 32.0), alpha=16.0, background=0.5)
"""The authors' alphas."""
FLAT = MapStatistics.of(SeedMaps((6,), torch.full((1, 4, 4), 0.5), (16, 16)), np.zeros((16, 16, 3), dtype=np.uint8))


def test_labels_combine_both_backgrounds() -> None:
    """Two classes; (1 - m)^4 and (1 - m)^32 cross m at about 0.28 and 0.08."""
    cat = torch.tensor([0.9, 0.3, 0.2, 0.1, 0.05, 0.0, 0.5])
    dog = torch.tensor([0.1, 0.1, 0.1, 0.0, 0.04, 0.0, 0.6])
    low = ["cat", "cat", "bg", "bg", "bg", "bg", "dog"]
    high = ["cat", "cat", "cat", "cat", "bg", "bg", "dog"]
    expected = [255 if one == "bg" else {"cat": 3, "dog": 8}[one] for one in low]
    expected = [0 if other == "bg" else value for value, other in zip(expected, high, strict=True)]
    assert expected == [3, 3, 255, 255, 0, 0, 8]
    seeds = SeedMaps((2, 7), torch.stack([cat, dog])[:, None], (1, 25))
    mask = AffinityLabels(4.0, 32.0, NO_CRF)(np.zeros((1, 25, 3), dtype=np.uint8), seeds)
    assert mask[0, ::4].tolist() == expected


def test_alphas_further_apart_leave_more_pixels_unlabelled() -> None:
    image = np.random.default_rng(0).integers(0, 256, (33, 41, 3), dtype=np.uint8)
    seeds = SeedMaps((1,), torch.rand(1, 9, 11) ** 2, (33, 41))
    both = [AffinityLabels(low, high, NO_CRF)(image, seeds) for low, high in [(4, 32), (2, 64)]]
    assert set(np.unique(both[0])) == {0, 2, 255}
    for value in (0, 2):
        assert not ((both[1] == value) & (both[0] != value)).any()
    assert (both[1] == 255).sum() > (both[0] == 255).sum()
    nothing = AffinityLabels(4.0, 32.0)(image, SeedMaps((), torch.zeros(0, 9, 11), (33, 41)))
    assert not nothing.any() and nothing.shape == (33, 41)


def test_class_and_background_are_equal_at_the_threshold_of_an_alpha() -> None:
    assert alpha_of(0.5) == 1
    assert alpha_of(0.275508) == pytest.approx(4, abs=1e-4)
    assert alpha_of(0.122833) == pytest.approx(16, abs=1e-3)
    alphas = [alpha_of(step / 100) for step in range(100)]
    assert alphas[0] == alphas[1] > 0  # at 0 no alpha is high enough
    assert all(one > other > 0 for one, other in pairwise(alphas[1:]))


@pytest.mark.parametrize("step", [1, 5, 13, 28, 50, 77, 99])
def test_pixels_above_the_threshold_exceed_their_background(step: int) -> None:
    """For all values of stored maps; at the threshold itself the two are equal except for rounding."""
    values = torch.arange(256, dtype=torch.float64) / 255
    values = values[(values - step / 100).abs() > 1e-9]
    maps = torch.stack([values * 0.9, values])[:, None]
    found = with_background(maps, alpha_of(step / 100)).argmax(dim=0)[0]
    assert torch.equal(found == 2, values > step / 100)
    assert torch.equal(found == 0, values < step / 100)


def of_scenes() -> MapStatistics:
    data, total = Scenes(), MapStatistics.empty()
    for index in range(len(data)):
        seeds = data.seeds(index)
        faint = torch.rand(seeds.maps.shape, generator=torch.Generator().manual_seed(index)) * 0.2
        total = total + MapStatistics.of(replace(seeds, maps=seeds.maps * 0.75 + faint), data[index].image)
    return total


def test_auto_must_be_settled_before_an_image_is_labelled_or_refined() -> None:
    image, seeds = np.zeros((8, 8, 3), dtype=np.uint8), SeedMaps((1,), torch.rand(1, 2, 2), (8, 8))
    for labels in (AffinityLabels(), AffinityLabels(alpha_low=4.0), AffinityLabels(alpha_high=32.0)):
        assert labels.open
        with pytest.raises(ValueError, match=r"got auto; call settled\(\)"):
            labels(image, seeds)
    assert not AffinityLabels(4.0, 32.0).open
    with pytest.raises(ValueError, match="expected a threshold as a number, got auto"):
        PsaRefine(SMALL.network(backbone()).eval(), SMALL, 4)(image, seeds)


def test_settled_alphas_are_those_of_the_chosen_thresholds() -> None:
    sure, background = choose_confident(of_scenes())
    settled = AffinityLabels(crf=NO_CRF).settled(of_scenes())
    assert settled == AffinityLabels(alpha_of(sure), alpha_of(background), NO_CRF)
    assert 0 < settled.alpha_low < settled.alpha_high
    assert not settled.open and settled.settled(FLAT) is settled
    for labels in (AffinityLabels(), AffinityLabels(alpha_low=4.0), AffinityLabels(alpha_high=32.0)):
        with pytest.raises(InputError, match="the thresholds of the confident labels from, got maps that have one"):
            labels.settled(FLAT)


@pytest.mark.parametrize("given", [0.001, 0.5, 4.0, 32.0, 1000.0])
def test_a_given_alpha_is_kept_and_the_chosen_one_is_moved(given: float) -> None:
    sure, background = choose_confident(of_scenes())
    low, high = AffinityLabels(alpha_low=given), AffinityLabels(alpha_high=given)
    assert low.settled(of_scenes()) == AffinityLabels(given, max(given, alpha_of(background)))
    assert high.settled(of_scenes()) == AffinityLabels(min(given, alpha_of(sure)), given)


@pytest.mark.parametrize("size", [(64, 72), (61, 83)])
def test_equals_the_dense_walk_and_its_argmax(size: tuple[int, int]) -> None:
    height, width = size
    near = replace(NUMBERS, radius=2)  # on so small a grid a wider walk by an untrained network ends in one mean
    refine = PsaRefine(near.network(backbone()).eval(), near, 4)
    image, inside = scene(height, width, 0)
    rng = torch.Generator().manual_seed(0)
    grid = ((height - 1) // 4 + 1, (width - 1) // 4 + 1)
    hint = torch.from_numpy(inside[::4, ::4]).float()
    maps = torch.stack([hint * 0.9, torch.rand(grid, generator=rng) ** 4 * 0.1])
    found = refine(image, SeedMaps((1, 4), maps, size))
    assert found.maps.shape == (2, *grid) and found.classes == (1, 4)
    assert found.maps.min() >= 0 and found.maps.max() <= 1

    pixels = np.empty((2, height, width), dtype=np.float32)  # read off the seeds pixel by pixel
    for y in range(height):
        for x in range(width):
            top, left = min(y / 4, grid[0] - 1), min(x / 4, grid[1] - 1)
            a, b = int(top), int(left)
            c, d = min(a + 1, grid[0] - 1), min(b + 1, grid[1] - 1)
            for k in range(2):
                upper = float(maps[k, a, b]) * (1 - left + b) + float(maps[k, a, d]) * (left - b)
                lower = float(maps[k, c, b]) * (1 - left + b) + float(maps[k, c, d]) * (left - b)
                pixels[k, y, x] = upper * (1 - top + a) + lower * (top - a)
    planes = np.concatenate([(1 - pixels.max(0, keepdims=True)) ** 16, pixels])
    cells = [
        [planes[:, y : y + 8, x : x + 8].mean(axis=(1, 2)) for x in range(0, width, 8)] for y in range(0, height, 8)
    ]
    scores = torch.from_numpy(np.array(cells)).permute(2, 0, 1)
    with torch.no_grad():
        features = refine.network(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])[0]

    def affinity(y: int, x: int, down: int, right: int) -> float:
        return float(torch.exp(-(features[:, y, x] - features[:, y + down, x + right]).abs().mean()))

    walked = dense_walk(scores, affinity, radius=2, beta=8.0, squarings=2).float()
    fine = torch.nn.functional.interpolate(walked[None], scale_factor=8.0, mode="bilinear")[0][:, :height:4, :width:4]
    torch.testing.assert_close(found.maps, fine[1:] / (fine[:1] + fine[1:]), rtol=1e-4, atol=1e-5)
    values = np.array([0, 2, 5])[fine.argmax(0).numpy()]
    assert len(np.unique(values)) > 1
    np.testing.assert_array_equal(to_mask(found.maps, found.classes, 0.5), values)


def test_bf16_affinities_are_propagated_in_float32() -> None:
    network, size = SMALL.network(backbone()).eval(), (64, 72)
    seeds = SeedMaps((1,), torch.rand(1, 16, 18), size)
    exact, half = (
        PsaRefine(network, NUMBERS, 4, word)(scene(*size, 0)[0], seeds).maps for word in ("32-true", "bf16-mixed")
    )
    assert half.dtype == torch.float32
    assert torch.allclose(half, exact, atol=0.05) and not torch.equal(half, exact)


def test_shares_are_0_without_scores_and_a_threshold_of_half_is_the_argmax() -> None:
    assert not share_of_classes(torch.zeros(3, 2, 2)).any()
    scores = torch.rand(4, 30, 30)
    np.testing.assert_array_equal(to_mask(share_of_classes(scores), (0, 1, 2), 0.5), scores.argmax(0).numpy())
    assert with_background(torch.ones(1, 2, 2), 16).tolist() == [[[0, 0], [0, 0]], [[1, 1], [1, 1]]]


def test_trains_once_and_refines_every_image(tmp_path: Path) -> None:
    data, own = Scenes(), backbone()
    before = {name: value.clone() for name, value in own.state_dict().items()}
    refine = SMALL.prepare(method_context(data, tmp_path, seeds=data.seeds, backbone=own))
    assert (tmp_path / "model.safetensors").exists()
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    for index in range(len(data)):
        labels = load_mask(tmp_path / "labels" / "folder" / f"scene {index}.png")
        assert labels.shape == data[index].image.shape[:2]
        assert set(np.unique(labels)) <= {0, 1, 255}
        assert (labels[data.scenes[index][1]] == 1).mean() > 0.8
    first = [refine(data[index], data.seeds(index)) for index in range(len(data))]
    written = (tmp_path / "model.safetensors").stat().st_mtime_ns
    again = SMALL.prepare(method_context(data, tmp_path, seeds=data.seeds, backbone=backbone()))
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == written
    for index, refined in enumerate(first):
        height, width = data[index].image.shape[:2]
        assert refined.maps.shape == (1, (height - 1) // 4 + 1, (width - 1) // 4 + 1)
        torch.testing.assert_close(again(data[index], data.seeds(index)).maps, refined.maps)


def test_seeds_without_objects_are_refused_before_training(tmp_path: Path) -> None:
    data = Scenes()
    faint = lambda index: replace(data.seeds(index), maps=data.seeds(index).maps * 0)  # noqa: E731
    with pytest.raises(InputError, match=r"refine\.labels\.alpha_low"):
        NUMBERS.prepare(method_context(data, tmp_path, seeds=faint, backbone=backbone()))
    with pytest.raises(InputError, match="the thresholds of the confident labels from, got maps that have one value"):
        SMALL.prepare(method_context(data, tmp_path, seeds=faint, backbone=backbone()))
    assert not (tmp_path / "model.safetensors").exists()


def test_alphas_are_chosen_once_from_all_seeds(tmp_path: Path) -> None:
    data = Scenes()
    refine = SMALL.prepare(method_context(data, tmp_path / "auto", seeds=data.seeds, backbone=backbone()))
    record = read_json(tmp_path / "auto" / "statistics.json")
    statistics = MapStatistics.from_json(record)
    assert (record["made_by"], statistics.images) == ("key", len(data))
    choice = choose(statistics)
    assert choice is not None
    numbers = replace(SMALL, labels=SMALL.labels.settled(statistics), alpha=alpha_of(choice.threshold))
    other = numbers.prepare(method_context(data, tmp_path / "numbers", seeds=data.seeds, backbone=backbone()))
    assert not (tmp_path / "numbers" / "statistics.json").exists()
    for index, name in enumerate(data.names):
        labels = [load_mask(tmp_path / run / "labels" / f"{name}.png") for run in ("auto", "numbers")]
        np.testing.assert_array_equal(*labels)
        one, same = (walk(data[index], data.seeds(index)).maps for walk in (refine, other))
        torch.testing.assert_close(one, same)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (64, 64), (330, 21)])
def test_images_of_any_size(size: tuple[int, int]) -> None:
    refine = PsaRefine(SMALL.network(backbone()).eval(), NUMBERS, 4)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    grid = ((size[0] - 1) // 4 + 1, (size[1] - 1) // 4 + 1)
    refined = refine(image, SeedMaps((1, 3), torch.rand(2, *grid), size, (0.1, 0.9)))
    assert refined.maps.shape == (2, *grid) and refined.maps.isfinite().all() and refined.scores == (0.1, 0.9)
    nothing = refine(image, SeedMaps((), torch.zeros(0, *grid), size))
    assert nothing.maps.shape == (0, *grid)


def test_the_network_has_the_classifiers_backbone_at_another_stride() -> None:
    own = backbone()
    network = SMALL.network(own)
    assert network.backbone.stride == 8 and own.stride == 16
    state = own.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.backbone.state_dict().items())
    with pytest.raises(InputError, match="stride"):
        replace(SMALL, stride=8).network(build_backbone("test_vit", "none", 16))


def test_training_crops_are_those_of_the_authors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, asked = Scenes(), []

    def learn(context: object, network: object, examples: Callable[[], MaskedImages], *rest: object) -> None:
        asked.append(examples())

    monkeypatch.setattr("deft.refine.psa.learn", learn)
    NUMBERS.prepare(method_context(data, tmp_path, seeds=data.seeds, backbone=backbone(), side=500))
    assert asked[0].transform == TrainCrop(448, scale=(1.0, 1.0), flip=True, jitter=0.3)
    assert asked[0].indices == (0, 1, 2, 3)


def test_steps_follow_the_area_and_training_does_not_depend_on_the_walk() -> None:
    assert [Psa().walk_steps(side) for side in (500, 250, 1000, 10)] == [256, 64, 1024, 1]
    assert replace(Psa(), steps=9, beta=3.0, alpha=8.0, background=0.4).learning == Psa().learning
    for change in (replace(Psa(), radius=4), replace(Psa(), stride=16), replace(Psa(), labels=AffinityLabels(6))):
        assert change.learning != Psa().learning


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: AffinityLabels(32, 4), "alpha_low"),
        (lambda: AffinityLabels(alpha_low=0.0), "alpha_low"),
        (lambda: AffinityLabels(alpha_high=-1.0), "alpha_high"),
        (lambda: Psa(alpha=0.0), r"refine\.alpha"),
        (lambda: Psa(background=1.0), r"expected refine\.background to be auto or one of"),
        (lambda: Psa(radius=1), "radius"),
        (lambda: Psa(jitter=2), "jitter"),
    ],
)
def test_settings_outside_their_ranges_are_refused(wrong: Callable[[], object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        wrong()
