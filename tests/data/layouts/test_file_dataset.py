from __future__ import annotations

import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.contracts import Dataset, InputError
from deft.data import open_data
from deft.data.fingerprints import truth_fingerprint
from deft.data.layouts.file_dataset import FileDataset, mask_fault


def opened(root: Path) -> FileDataset:
    train = open_data(f"voc:{root}").train
    assert isinstance(train, FileDataset)
    return train


def test_it_is_a_data_set_that_travels_to_other_processes(voc_data: Path) -> None:
    train = opened(voc_data)
    assert isinstance(train, Dataset)
    copy = pickle.loads(pickle.dumps(train))
    assert copy.fingerprint() == train.fingerprint() and copy.names == train.names
    np.testing.assert_array_equal(copy[3].image, train[3].image)
    assert len([sample.name for sample in train]) == len(train) == 8


def test_a_sample_cannot_change_the_labels_of_the_set(voc_data: Path) -> None:
    train = opened(voc_data)
    train[0].labels[:] = True
    assert train.labels[0].tolist() == [True, False, False]


def test_the_fingerprint_changes_with_everything_that_counts(own_voc: Path) -> None:
    train = opened(own_voc)
    assert opened(own_voc).fingerprint() == train.fingerprint()
    kept, seen = train.fingerprint(), {train.fingerprint()}
    flipped = train.labels.copy()
    flipped[0, 1] = True
    for changed in (
        replace(train, labels=flipped),
        replace(train, classes=("cat", "cow", "wolf")),
        replace(train, names=(*train.names[:-1], "other")),
        replace(train, names=train.names[::-1], images=train.images[::-1]),
        replace(train, images=(train.images[1], train.images[0], *train.images[2:])),
    ):
        seen.add(changed.fingerprint())
    content = bytearray(train.images[0].read_bytes())
    content[len(content) // 2] ^= 1
    status = train.images[0].stat()
    train.images[0].write_bytes(content)
    os.utime(train.images[0], ns=(status.st_atime_ns, status.st_mtime_ns))
    seen.add(train.fingerprint())
    assert len(seen) == 7
    for other in (
        replace(train, scored=~train.scored),
        replace(train, masks=(None, *train.masks[1:])),
        replace(train, context_labels=None),
        replace(train, context_masks=()),
        replace(train, groups={"odd": train.scored}),
    ):
        assert other.fingerprint() == train.fingerprint() != kept
    train.images[1].unlink()
    with pytest.raises(InputError, match=r"img_01\.jpg: cannot be opened"):
        train.fingerprint()


def test_the_fingerprint_does_not_change_with_place_time_or_spelling(
    own_voc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, truth = opened(own_voc).fingerprint(), truth_fingerprint(opened(own_voc))
    for path in own_voc.rglob("*.*"):
        os.utime(path, ns=(1, 1))
    copied = Path(shutil.copytree(own_voc, own_voc.with_name("copy"), copy_function=shutil.copyfile))
    linked = own_voc.with_name("link")
    linked.symlink_to(own_voc)
    monkeypatch.chdir(own_voc.parent)
    for root in (own_voc, copied, linked, Path(own_voc.name), f"{own_voc}/", own_voc / ".." / own_voc.name):
        train = open_data(f"voc:{root}").train
        assert train.fingerprint() == before and truth_fingerprint(train) == truth, root


@pytest.mark.parametrize("part", ["SegmentationClass", "SegmentationContext"])
def test_masks_are_only_in_the_fingerprint_of_the_truth(part: str, own_voc: Path) -> None:
    train = opened(own_voc)
    before, known = train.fingerprint(), {truth_fingerprint(train)}
    mask = own_voc / part / f"{train.names[1]}.png"
    content = mask.read_bytes()
    for change in (lambda: mask.write_bytes(content + b"1"), lambda: mask.write_bytes(b"torn"), mask.unlink):
        change()
        known.add(truth_fingerprint(train))
        assert train.fingerprint() == before
    assert len(known) == 4


def test_a_mask_that_does_not_fit_is_refused_when_read(own_voc: Path) -> None:
    train = opened(own_voc)
    Image.fromarray(np.zeros((16, 8), np.uint8)).save(own_voc / "SegmentationClass" / "img_00.png")
    Image.fromarray(np.full((16, 16), 4, np.uint8)).save(own_voc / "SegmentationClass" / "img_01.png")
    Image.fromarray(np.full((16, 16), 3, np.uint8)).save(own_voc / "SegmentationContext" / "img_02.png")
    for index, word in enumerate(("8 x 16 pixels, its image 16 x 16", "0 to 3 and 255, got 4", "0 to 2 and 255")):
        with pytest.raises(InputError, match=f"img_0{index}.png: .*{word}"):
            train[index]


def test_mask_values_are_compared_with_the_classes() -> None:
    values = np.array([[0, 1, 254], [255, 2, 3]], dtype=np.uint8)
    assert mask_fault(values, 254) == ""
    assert mask_fault(values, 3) == "expected values 0 to 3 and 255, got 254"
    assert mask_fault(values, 1) == "expected values 0 to 1 and 255, got 2, 3, 254"


def test_parts_of_different_length_are_refused(voc_data: Path) -> None:
    train = opened(voc_data)
    with pytest.raises(ValueError, match="masks"):
        replace(train, masks=train.masks[1:])
    with pytest.raises(ValueError, match="labels"):
        replace(train, classes=("cat",))
