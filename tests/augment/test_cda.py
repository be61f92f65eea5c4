from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deft.augment.cda import Bank, Cda, Instance, faded, find_instance, resized, tight, turned
from deft.contracts import Dataset, InputError, Sample, SampleAugmentation
from deft.data import open_data

STILL = Cda(rotate=0.0, largest=1.0)
"""Pastes objects as they are."""


@pytest.fixture(scope="module")
def data(folder_data: Path) -> Dataset:
    return open_data(f"folder:{folder_data}").train


def blob(index: int, side: int = 64) -> NDArray[np.uint8]:
    """A mask of one class, by turns, with a ragged object; every fourth holds two classes."""
    rng = np.random.default_rng(index)
    mask = np.zeros((side, side), dtype=np.uint8)
    top, left = rng.integers(4, 20, size=2)
    mask[top : top + 30, left : left + 24][rng.random((30, 24)) < 0.8] = index % 3 + 1
    if index % 4 == 3:
        mask[-2:, -2:] = (index + 1) % 3 + 1
    return mask


def gray(labels: list[bool], side: int = 64) -> Sample:
    return Sample("gray", np.full((side, side, 3), 128, dtype=np.uint8), np.array(labels))


def slow_instance(mask: NDArray[np.uint8], low: float, high: float) -> tuple[int, tuple[int, int, int, int]] | None:
    """Pixel by pixel."""
    places: dict[int, list[tuple[int, int]]] = {}
    for y, row in enumerate(mask.tolist()):
        for x, value in enumerate(row):
            if value not in (0, 255):
                places.setdefault(value, []).append((y, x))
    if len(places) != 1:
        return None
    ((value, found),) = places.items()
    if not low <= len(found) / mask.size <= high:
        return None
    ys, xs = [y for y, _ in found], [x for _, x in found]
    return value - 1, (min(ys), min(xs), max(ys) + 1, max(xs) + 1)


def test_instances_are_those_of_the_slow_reference() -> None:
    rng = np.random.default_rng(0)
    masks = [blob(index) for index in range(12)]
    masks += [np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8), np.full((8, 8), 2, np.uint8)]
    masks += [rng.choice([0, 255, 3], size=(9, 7), p=[0.7, 0.1, 0.2]).astype(np.uint8) for _ in range(20)]
    found = [find_instance(mask, (0.1, 0.7)) for mask in masks]
    assert found == [slow_instance(mask, 0.1, 0.7) for mask in masks]
    assert 3 < sum(one is not None for one in found) < len(found)


def test_the_bank_holds_the_masks_with_one_class(data: Dataset) -> None:
    bank = STILL.prepare(data, blob)
    wanted = {k: tuple(i for i in range(len(data)) if i % 4 != 3 and i % 3 == k) for k in range(3)}
    assert {k: tuple(one.index for one in found) for k, found in bank.instances.items()} == wanted
    assert bank.counts == {name: len(wanted[k]) for k, name in enumerate(data.classes)}


def test_a_paste_is_that_of_the_slow_reference(data: Dataset) -> None:
    """Unturned and unresized, the result is one instance copied pixel by pixel to one place."""
    bank = STILL.prepare(data, blob)
    sample = data[0]
    result = bank(sample, np.random.default_rng(1))
    (k,) = np.flatnonzero(result.labels & ~sample.labels).tolist()
    changed = np.argwhere((result.image != sample.image).any(axis=2))
    matches = 0
    for instance in bank.instances[k]:
        top, left, bottom, right = instance.box
        source, mask = data[instance.index].image, blob(instance.index)
        for y in range(64 - (bottom - top) + 1):
            for x in range(64 - (right - left) + 1):
                if not (abs(changed.min(axis=0) - (y, x)) <= 3).all():
                    continue
                reference = sample.image.copy()
                for row in range(top, bottom):
                    for column in range(left, right):
                        if mask[row, column] == k + 1:
                            reference[y + row - top, x + column - left] = source[row, column]
                matches += np.array_equal(reference, result.image)
    assert matches == 1


def test_what_is_pasted_is_absent_added_to_the_tags_and_within_its_share_of_the_sides(data: Dataset) -> None:
    settings = Cda(largest=0.4)
    bank = settings.prepare(data, blob)
    classes = set()
    for seed in range(30):
        sample = gray([True, False, False])
        before = (sample.image.copy(), sample.labels.copy())
        result = bank(sample, np.random.default_rng(seed))
        again = bank(sample, np.random.default_rng(seed))
        assert np.array_equal(result.image, again.image)
        assert np.array_equal(sample.image, before[0])
        assert np.array_equal(sample.labels, before[1])
        added = np.flatnonzero(result.labels & ~sample.labels)
        assert result.labels[0]
        assert len(added) == 1
        classes |= set(added.tolist())
        rows, columns = np.nonzero((result.image != 128).any(axis=2))
        assert 0 < rows.max() - rows.min() + 1 <= 0.4 * 64
        assert columns.max() - columns.min() + 1 <= 0.4 * 64
        assert result.mask is None
    assert classes == {1, 2}


def test_pixels_beyond_the_object_do_not_change() -> None:
    """Solid red in a black picture, turned, shrunk and faded: no black fringe, and gray where alpha is nothing."""
    image = np.zeros((60, 60, 3), dtype=np.uint8)
    image[10:50, 20:45, 0] = 200
    mask = np.where(image[..., 0] > 0, 1, 0).astype(np.uint8)

    class One:
        classes, names = ("red", "blue"), ("one",)

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Sample:
            return Sample("one", image, np.array([True, False]))

    settings = Cda(largest=0.5, blur=1.0)
    bank = settings.prepare(One(), lambda index: mask)  # type: ignore[arg-type]
    for seed in range(10):
        result = bank(gray([False, False], side=50), np.random.default_rng(seed)).image.astype(int)
        touched = (result != 128).any(axis=2)
        assert 20 < touched.sum() < 25 * 25
        mixed = (result[..., 0] - 128) / (200 - 128)  # the share of red: green and blue must fall by as much
        assert abs(result[..., 1] - 128 * (1 - mixed)).max() <= 4
        assert (result[touched][:, 0] >= 128).all()


def test_where_nothing_can_be_pasted_the_image_stays(data: Dataset) -> None:
    bank = STILL.prepare(data, blob)
    full = gray([True, True, True])
    assert bank(full, np.random.default_rng(0)) is full
    poor = Bank(STILL, data, blob, {0: (Instance(0, (4, 4, 30, 30)),), 1: (), 2: ()})
    seen = gray([True, False, False])
    assert poor(seen, np.random.default_rng(0)) is seen
    assert poor(gray([False, True, False]), np.random.default_rng(0)).labels.tolist() == [True, True, False]


def test_an_empty_bank_says_what_to_do(data: Dataset) -> None:
    with pytest.raises(InputError, match=r"nothing to paste.*round-0.*classifier\.augment\.share"):
        Cda().prepare(data, lambda index: np.zeros((64, 64), dtype=np.uint8))


def test_turning_by_a_right_angle_is_exact_and_any_angle_keeps_the_area() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 31, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    cutting = Image.fromarray(pixels)
    assert np.array_equal(np.asarray(turned(cutting, 90)), np.rot90(pixels))
    assert np.array_equal(np.asarray(turned(cutting, -90)), np.rot90(pixels, -1))
    slanted = tight(turned(cutting, 30))
    assert slanted.width > cutting.width
    area = np.asarray(slanted.getchannel("A"), dtype=float).sum() / 255
    assert area == pytest.approx(20 * 31, rel=0.03)


def test_sizes() -> None:
    cutting = Image.new("RGBA", (40, 20))
    assert resized(cutting, 1.0, (100, 100), 0.7).size == (40, 20)
    assert resized(cutting, 1.2, (100, 100), 0.7).size == (48, 24)
    assert resized(cutting, 1.0, (100, 50), 0.7).size == (35, 17)
    assert resized(cutting, 1.0, (10, 1000), 0.5).size == (10, 5)


def test_the_limit_is_on_the_canvas_of_the_turned_object() -> None:
    rows, columns = np.mgrid[:200, :200] - 99.5
    disc = np.full((200, 200, 4), 255, dtype=np.uint8)
    disc[..., 3] = np.where(rows**2 + columns**2 <= 100**2, 255, 0)
    for angle, wide in ((0.0, 200), (45.0, 148)):
        pasted = tight(resized(turned(Image.fromarray(disc), angle), 1.0, (300, 300), 0.7))
        assert pasted.width == pytest.approx(wide, abs=2) and pasted.height == pytest.approx(wide, abs=2)


def test_an_edge_fades_inwards() -> None:
    cutting = Image.fromarray(np.full((30, 30, 4), 255, dtype=np.uint8))
    alpha = np.asarray(faded(cutting, 2.0).getchannel("A"))
    assert alpha[15, 15] == 255
    assert alpha[15, 0] < 100
    assert (np.diff(alpha[15, :15].astype(int)) >= 0).all()
    assert np.array_equal(np.asarray(faded(cutting, 0.0)), np.asarray(cutting))


def test_each_round_knows_the_one_before() -> None:
    assert isinstance(Cda(), SampleAugmentation)
    assert Cda(rounds=2).earlier == Cda()
    assert Cda().earlier is None


@pytest.mark.parametrize(
    "wrong", [{"rounds": 0}, {"share": (0.7, 0.1)}, {"largest": 0.0}, {"scale": (0.0, 1.0)}, {"blur": -1.0}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"^Cda\.{next(iter(wrong))}: expected "):
        replace(Cda(), **wrong)  # type: ignore[arg-type]
