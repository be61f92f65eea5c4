from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deft.contracts import InputError, Splits
from deft.data import check, open_data
from deft.data.own import ImageDataset
from deft.data.sound import check_splits


def data(classes: tuple[str, ...] = ("cat", "cow")) -> ImageDataset:
    image = np.full((8, 8, 3), 100, dtype=np.uint8)
    return ImageDataset(classes, np.eye(3, 2, dtype=bool), lambda index: image, version="1")


class Changed:
    """A dataset of which some samples are changed."""

    def __init__(self, inner: ImageDataset, changes: dict[int, dict[str, Any]], **members: Any) -> None:
        self.inner, self.changes = inner, changes
        for name, value in members.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Any:
        change = self.changes.get(index, {})
        return change["instead"] if "instead" in change else replace(self.inner[index], **change)


@pytest.mark.parametrize("spec", ["demo:train=2,val=2,size=64"])
def test_our_own_kinds_are_sound(spec: str) -> None:
    check_splits(open_data(spec))
    assert [fault for fault in check(open_data(spec)) if not fault.warning] == []


def test_splits_are_splits_of_the_same_classes() -> None:
    check_splits(Splits(data(), data()))
    with pytest.raises(InputError, match=r"expected KIND:PATH or deft.Splits, got ImageDataset; write deft.Splits"):
        check_splits(data())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected both splits to have the same classes in the same order"):
        check_splits(Splits(data(), data(("cow", "cat"))))
    with pytest.raises(InputError, match=r"data, val: expected a dataset, but int has no classes"):
        check_splits(Splits(data(), 3))  # type: ignore[arg-type]


def test_a_run_refuses_what_is_no_data_set() -> None:
    with pytest.raises(InputError, match=r"data, train: names: expected a tuple of names"):
        check(Splits(Changed(data(), {}, names=["a", "b", "c"]), None), full=False)
    with pytest.raises(InputError, match=r"data, train: labels: expected a bool array \(3, 2\), got list"):
        check(Splits(Changed(data(), {}, labels=[[True, False]] * 3), None), full=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"instead": (np.zeros((8, 8, 3)), 1)}, "expected a deft.Sample, got tuple; return deft.Sample"),
        ({"image": np.zeros((3, 8, 8), np.uint8)}, "expected an RGB image, uint8 (H, W, 3), got uint8 (3, 8, 8)"),
        ({"image": np.zeros((8, 8, 3))}, "got float64 (8, 8, 3)"),
        ({"image": "a.png"}, "expected an image as a NumPy array, got str"),
        ({"name": "other"}, "its sample is named 'other'"),
        ({"labels": np.ones(2, bool)}, "its sample has other labels"),
        ({"labels": np.array([1, 0])}, "its sample has other labels"),
        ({"mask": np.full((8, 8), 7, np.uint8)}, "expected values 0 to 2 and 255, got 7"),
        ({"context": np.zeros((8, 7), np.uint8)}, "the mask is 7 x 8 pixels"),
    ],
)
def test_every_sample_is_looked_at_in_full_and_the_first_always(change: dict[str, Any], words: str) -> None:
    last = Splits(Changed(data(), {2: change}), None)
    assert [fault for fault in check(last, full=False) if not fault.warning] == []
    (fault,) = [fault for fault in check(last) if not fault.warning]
    assert fault.file == "image_000002"
    assert words in str(fault)
    (fault,) = [fault for fault in check(Splits(Changed(data(), {0: change}), None), full=False) if not fault.warning]
    assert fault.file == "image_000000"


def test_what_cannot_be_read_is_a_fault() -> None:
    def image(index: int) -> np.ndarray:
        raise InputError(f"picture {index} is torn" if index else "image_000000: picture 0 is torn")

    torn = ImageDataset(("cat",), np.ones((2, 1), dtype=bool), image, version="1")
    assert [str(fault) for fault in check(Splits(torn, None))] == [
        f"image_{index:06d}: picture {index} is torn; correct or remove it" for index in (0, 1)
    ]
