from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft.data import copies as module
from deft.data.copies import copies, same_files
from deft.data.layouts.file_dataset import FileDataset


def dataset(files: list[Path], labels: list[int]) -> FileDataset:
    count = len(files)
    return FileDataset(
        classes=("cow", "dog"),
        names=tuple(file.stem for file in files),
        images=tuple(files),
        labels=np.array([[label == 0, label == 1] for label in labels]),
        masks=(None,) * count,
        scored=np.zeros(count, dtype=np.bool_),
    )


def write(root: Path, **contents: bytes) -> list[Path]:
    for name, content in contents.items():
        (root / f"{name}.jpg").write_bytes(content)
    return [root / f"{name}.jpg" for name in contents]


def test_equal_files_are_found_by_contents_and_different_ones_of_equal_size_and_ends_are_not(tmp_path: Path) -> None:
    big = b"x" * 20_000
    other = big[:10_000] + b"y" + big[10_001:]
    train = write(tmp_path, a=big, b=other, c=b"one", d=b"two", e=b"", f=b"")
    val = [*write(tmp_path, g=big, h=b"two"), tmp_path / "missing.jpg"]
    assert sorted(same_files([train, val])) == [[(0, 0), (1, 0)], [(0, 3), (1, 1)]]


def test_files_of_different_sizes_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write(tmp_path, a=b"1", b=b"22", c=b"333")

    def opened(path: Path) -> bytes:
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(module, "_ends", opened)
    assert same_files([files]) == []


def test_copies_within_and_across_splits_are_told_once_each(tmp_path: Path) -> None:
    train = dataset(write(tmp_path, a=b"11", b=b"11", c=b"33", d=b"44", e=b"44"), [0, 1, 0, 1, 1])
    val = dataset(write(tmp_path, x=b"33", y=b"55"), [0, 1])
    within, across = [what for what, _ in copies(train, val)]
    assert within == (
        "2 images are the same file as another, such as 'a' and 'b' "
        "(with different labels in 1 case, such as 'a' and 'b')"
    )
    assert across == "1 held-out image is the same file as a training image, such as 'c' and 'x'"
    assert copies(val, None) == []
