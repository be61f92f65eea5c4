from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import deft
from deft.artifacts.contents import whole
from deft.contracts import Dataset, HidesTruth, InputError
from deft.data.fingerprints import truth_fingerprint
from deft.data.own import ImageDataset

LABELS = np.array([[True, False], [True, True], [False, False]])


def picture(index: int) -> np.ndarray:
    return np.full((8, 6, 3), 40 * index, dtype=np.uint8)


def made(**given: Any) -> ImageDataset:
    return ImageDataset(**{"classes": ("cat", "cow"), "labels": LABELS, "image": picture, "version": "1", **given})


def test_four_things_make_a_data_set() -> None:
    data = deft.ImageDataset(("cat", "cow"), LABELS, picture, version="1")
    assert isinstance(data, Dataset)
    assert isinstance(data, HidesTruth)
    assert (len(data), data.classes, data.contexts, data.context_labels, data.groups) == (
        3,
        ("cat", "cow"),
        (),
        None,
        {},
    )
    assert data.names == ("image_000000", "image_000001", "image_000002")
    assert not data.scored.any()
    sample = data[1]
    assert (sample.name, sample.mask, sample.context) == ("image_000001", None, None)
    assert (sample.image == 40).all()
    assert (sample.labels == LABELS[1]).all()
    sample.labels[:] = False
    assert (data.labels == LABELS).all()


def test_masks_are_for_scores_and_can_be_left_alone() -> None:
    asked = []

    def mask(index: int) -> np.ndarray | None:
        asked.append(index)
        return None if index == 2 else np.full((8, 6), index, dtype=np.uint8)

    data = made(mask=mask)
    assert data.scored.all()
    assert (data[1].mask == 1).all()
    assert data[2].mask is None
    assert made(mask=mask, scored=[True, True, False]).scored.tolist() == [True, True, False]
    hidden = data.without_truth()
    assert hidden[1].mask is None
    assert asked == [1, 2]
    assert (hidden.fingerprint(), hidden.names) == (data.fingerprint(), data.names)


def test_pictures_of_pillow_are_taken() -> None:
    assert (made(image=lambda index: Image.new("RGB", (6, 8), (1, 2, 3)))[0].image == [1, 2, 3]).all()
    with pytest.raises(InputError, match=r"image_000000: expected an RGB image, .* got uint8 \(8, 6\);"):
        made(image=lambda index: Image.new("L", (6, 8)))[0]


def test_the_fingerprint_follows_files_labels_and_version(tmp_path: Path) -> None:
    file = tmp_path / "photos" / "a.png"
    file.parent.mkdir()
    file.write_bytes(b"one")
    one = made(files=[file], version="")
    before = one.fingerprint()
    assert made(files=[file], version="").fingerprint() == before
    assert made(files=[file], version="2").fingerprint() != before
    assert made(files=[file], version="", labels=~LABELS).fingerprint() != before
    assert made(files=[file], version="", names=("a", "b", "c")).fingerprint() != before
    folder = made(files=[file.parent], version="")
    known = folder.fingerprint()
    os.utime(file, ns=(1, 1))
    elsewhere = Path(shutil.copytree(file.parent, tmp_path / "copy"))
    linked = tmp_path / "link"
    linked.symlink_to(file.parent)
    assert one.fingerprint() == before == made(files=[elsewhere / "a.png"], version="").fingerprint()
    for other in (file.parent, elsewhere, linked, f"{file.parent}/"):
        assert made(files=[other], version="").fingerprint() == known
    file.write_bytes(b"own")
    assert one.fingerprint() != before
    assert folder.fingerprint() != known
    known = folder.fingerprint()
    (file.parent / "b.png").write_bytes(b"two")
    assert folder.fingerprint() != known


def test_masks_are_in_no_fingerprint_but_that_of_scores(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png", "masks/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    data = made(files=[tmp_path], mask_files=[tmp_path / "masks"], version="")
    before, truth = data.fingerprint(), truth_fingerprint(data)
    (tmp_path / "masks" / "a.png").write_bytes(b"mended")
    (tmp_path / "masks" / "b.png").write_bytes(b"new")
    assert data.fingerprint() == before and truth_fingerprint(data) != truth
    (tmp_path / "a.png").write_bytes(b"another")
    assert data.fingerprint() != before
    with pytest.raises(InputError, match=r"gone of its files does not exist"):
        made(files=[tmp_path], mask_files=[tmp_path / "gone"])


def test_files_that_are_one_for_each_image_are_told_apart(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.png" for name in "abc"]
    for file in files:
        file.write_bytes(file.name.encode())
    data = made(files=files, version="1")
    before = data.image_digests(whole)
    files[1].write_bytes(b"changed")
    after = data.image_digests(whole)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]
    assert len(made(files=files[:2], version="1").image_digests(whole)) == 1
    files[2].unlink()
    with pytest.raises(InputError, match=r"c\.png: cannot be opened"):
        data.fingerprint()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"version": ""}, "files=[...]"),
        ({"files": ["/no/such/file"]}, "/no/such/file of its files does not exist"),
        ({"labels": LABELS.astype(int)}, "labels: expected a bool array (3, 2), got int64 (3, 2)"),
        ({"labels": LABELS[:, :1]}, "labels: expected a bool array (3, 2), got bool (3, 1)"),
        ({"classes": ("cat", "Cat")}, "differ only in case"),
        ({"classes": ("background", "cat")}, "background is always mask value 0"),
        ({"classes": ("cat", 3)}, "classes: expected a tuple of names"),
        ({"names": ("a", "b")}, "expected 3 names, one per image, got 2"),
        ({"names": ("a", "b", "a")}, "names: expected each name once, got 'a' twice"),
        ({"scored": [True]}, "scored: expected a bool array (3,), got bool (1,)"),
        ({"contexts": ("sea",), "context_labels": LABELS}, "context_labels: expected a bool array (3, 1)"),
        ({"groups": {"odd": [True]}}, "groups['odd']: expected a bool array (3,)"),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        made(**given)
    assert words in str(caught.value)
    assert str(caught.value).startswith("ImageDataset")


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((6, 8), np.uint8), "the mask is 8 x 6 pixels, its image 6 x 8; draw the mask"),
        (np.full((8, 6), 3, np.uint8), "expected values 0 to 2 and 255, got 3"),
        (np.zeros((8, 6), np.int64), "expected a mask, uint8 (H, W), got int64 (8, 6)"),
        ([[0]], "expected a mask, uint8 (H, W), got list"),
    ],
)
def test_a_mask_that_does_not_fit_is_told(mask: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        made(mask=lambda index: mask)[1]
    assert f"image_000001: {words}" in str(caught.value)
