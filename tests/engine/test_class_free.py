"""Class-free masks are read alike from every form of file, and what cannot be used is told once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.artifacts.contents import whole
from deft.contracts import InputError, Splits
from deft.data import open_data
from deft.data.layouts.run_lengths import counts_to_text, mask_to_counts
from deft.engine.class_free import (
    Partition,
    Segments,
    Stack,
    check_segments,
    partition,
    read_segments,
    segments_digest,
    source_of,
)

SIZE = (6, 8)
MASKS = np.zeros((2, *SIZE), dtype=bool)
MASKS[0, 1:4, 2:7] = True
MASKS[1, 4:, :3] = True


def rle(mask: np.ndarray, text: bool = False, **more: object) -> dict[str, object]:
    counts = mask_to_counts(mask)
    return {"segmentation": {"size": list(mask.shape), "counts": counts_to_text(counts) if text else counts}, **more}


def as_json(root: Path, name: str, masks: np.ndarray = MASKS) -> None:
    (root / f"{name}.json").write_text(json.dumps([rle(mask, area=int(mask.sum())) for mask in masks]))


def as_annotations(root: Path, name: str, masks: np.ndarray = MASKS) -> None:
    (root / f"{name}.json").write_text(json.dumps({"image": {}, "annotations": [rle(mask, True) for mask in masks]}))


def as_archive(root: Path, name: str, masks: np.ndarray = MASKS) -> None:
    np.savez_compressed(root / f"{name}.npz", masks=masks.astype(np.uint8) * 255)


def as_label_map(root: Path, name: str, masks: np.ndarray = MASKS) -> None:
    Image.fromarray((masks * np.array([300, 7])[:, None, None]).sum(0).astype(np.uint16)).save(root / f"{name}.png")


def as_palette(root: Path, name: str, masks: np.ndarray = MASKS) -> None:
    picture = Image.fromarray((masks * np.array([3, 1])[:, None, None]).sum(0).astype(np.uint8), "P")
    picture.putpalette([5] * 768)
    picture.save(root / f"{name}.png")


def as_folder(root: Path, name: str, masks: np.ndarray = MASKS) -> None:
    (root / name).mkdir(parents=True)
    for index, mask in enumerate(masks):
        Image.fromarray(mask.astype(np.uint8) * (255 if index else 1)).save(root / name / f"{index}.png")
    (root / name / "metadata.csv").write_text("id,area\n")


FORMS = (as_json, as_annotations, as_archive, as_label_map, as_palette, as_folder)


def drawn(segments: Segments) -> set[bytes]:
    """Each mask as its bytes."""
    count = len(segments.classes)
    found = []
    for index in range(count):
        onto = np.zeros((1, *SIZE))
        segments.paint(onto, np.ones((count, 1)), [index])
        found.append((onto[0] > 0).tobytes())
    return set(found)


@pytest.mark.parametrize("write", FORMS)
def test_every_form_gives_the_same_masks(write: Callable[[Path, str], None], tmp_path: Path) -> None:
    write(tmp_path, "one")
    segments, size = read_segments(tmp_path, "one", [SIZE])
    assert size == SIZE and segments.classes == ("", "")
    assert drawn(segments) == {mask.tobytes() for mask in MASKS}
    planes = np.random.default_rng(0).random((3, *SIZE))
    sums, area = segments.sums(planes)
    expected = {(mask.sum(), *planes[:, mask].sum(axis=1).round(6)) for mask in MASKS}
    assert {(count, *row.round(6)) for count, row in zip(area, sums, strict=True)} == expected


def test_a_mask_whose_values_are_all_low_is_told(tmp_path: Path) -> None:
    as_folder(tmp_path, "one")
    Image.fromarray(MASKS[1].astype(np.uint8) * 100).save(tmp_path / "one" / "1.png")
    segments, _ = read_segments(tmp_path, "one", [SIZE])
    with pytest.raises(InputError, match=r"1\.png: expected masks of one image, got values up to 100, none .* 127"):
        segments.sums(np.ones((1, *SIZE)))


def test_masks_may_be_of_the_photograph_or_of_the_image_as_read(tmp_path: Path) -> None:
    as_json(tmp_path, "one")
    assert read_segments(tmp_path, "one", [(3, 4), SIZE])[1] == SIZE
    with pytest.raises(InputError, match=r"one\.json: expected masks of 3 x 4 or 5 x 5 pixels.*, got 6 x 8"):
        read_segments(tmp_path, "one", [(3, 4), (5, 5)])


def test_an_image_may_have_no_masks(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text("[]")
    segments, size = read_segments(tmp_path, "one", [SIZE])
    assert segments.classes == () and size == SIZE
    assert segments.sums(np.ones((2, *SIZE)))[0].shape == (0, 2)


def test_masks_that_were_prompted_keep_their_class(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps([rle(MASKS[0], **{"class": "cow"}), rle(MASKS[1])]))
    assert read_segments(tmp_path, "one", [SIZE])[0].classes == ("cow", "")
    np.savez(tmp_path / "two.npz", masks=MASKS, classes=["", "dog"])
    assert read_segments(tmp_path, "two", [SIZE])[0].classes == ("", "dog")


def broken_counts(root: Path) -> None:
    entry = rle(MASKS[0])
    entry["segmentation"] = {"size": [6, 8], "counts": [1, 2]}
    (root / "one.json").write_text(json.dumps([entry]))


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda root: (root / "one.json").write_text("{"), "expected JSON"),
        (lambda root: (root / "one.json").write_text('{"annotations": 3}'), "no list of masks"),
        (lambda root: (root / "one.json").write_text("[1, 2]"), "no list of masks"),
        (lambda root: (root / "one.json").write_text('[{"segmentation": [[1, 2, 3, 4, 5, 6]]}]'), "run lengths"),
        (lambda root: (root / "one.json").write_text('[{"segmentation": {"size": [1e9, 2]}}]'), "run lengths"),
        (lambda root: (root / "one.json").write_text('[{"segmentation": {"size": [6, 8]}}]'), "counts"),
        (broken_counts, "add up to 3 pixels"),
        (lambda root: np.savez(root / "one.npz", other=MASKS), "masks"),
        (lambda root: np.savez(root / "one.npz", masks=MASKS[0]), r"not \(M, H, W\)"),
        (lambda root: np.savez(root / "one.npz", masks=MASKS * 1.5), "of type float64"),
        (lambda root: np.savez(root / "one.npz", masks=MASKS, classes=["cow"]), "1 classes for 2 masks"),
        (lambda root: np.savez(root / "one.npz", masks=MASKS, classes=[b"cow", b""]), r"classes of type \|S3"),
        (lambda root: (root / "one.json").write_text(json.dumps([rle(MASKS[0], **{"class": 0})])), "class 0, not a"),
        (lambda root: (root / "one.json").write_text(json.dumps([rle(MASKS[0], **{"class": True})])), "class True, "),
        (lambda root: (root / "one.npz").write_bytes(b"PK\x03\x04 cut"), "expected masks of one image"),
        (lambda root: (root / "one.png").write_bytes(b"no picture"), "expected a PNG"),
        (lambda root: Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(root / "one.png"), "in mode RGB"),
        (lambda root: (as_folder(root, "one"), Image.new("L", (3, 3)).save(root / "one" / "9.png")), "several sizes"),
    ],
)
def test_broken_files_are_told(write: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(InputError, match=rf"one.*{said}"):
        read_segments(tmp_path, "one", [SIZE])


@pytest.fixture(scope="module")
def splits(folder_data: Path) -> Splits:
    return open_data(f"folder:{folder_data}")


def test_all_files_are_checked_before_a_run(splits: Splits, tmp_path: Path) -> None:
    train = splits.train
    for name in train.names:
        as_json(tmp_path, name, np.ones((1, 64, 64), dtype=bool))
    check_segments(tmp_path, splits)
    untagged = train.names[int(np.flatnonzero(~train.labels.any(axis=1))[0])]
    (tmp_path / f"{untagged}.json").unlink()  # nothing votes there
    check_segments(tmp_path, splits)
    as_json(tmp_path, "img_00", np.ones((1, 32, 32), dtype=bool))
    check_segments(tmp_path, replace(splits, max_side=32))  # the size at which the image is read
    with pytest.raises(InputError, match=r"img_00\.json: expected masks of 64 x 64 pixels, .*, got 32 x 32"):
        check_segments(tmp_path, splits)
    with pytest.raises(InputError, match=r"img_00\.json: expected masks of 64 x 64 or 48 x 48 pixels"):
        check_segments(tmp_path, replace(splits, max_side=48))
    as_json(tmp_path, "img_00", np.ones((1, 64, 64), dtype=bool))
    as_json(tmp_path, "img_01", np.ones((1, 64, 32), dtype=bool))
    (tmp_path / "img_02.json").write_text(json.dumps([rle(np.ones((64, 64), dtype=bool), **{"class": "sheep"})]))
    (tmp_path / "img_03.json").unlink()
    with pytest.raises(InputError) as caught:
        check_segments(tmp_path, splits)
    first, second, third = str(caught.value).splitlines()
    assert "img_01.json: expected masks of 64 x 64 pixels" in first and "got 64 x 32" in first
    assert "prompted for the class 'sheep', which the data does not have; its classes are cat, cow, dog" in second
    assert "no masks of image 'img_03'" in third
    with pytest.raises(InputError, match=r"\.\.\. and 2 more"):
        check_segments(tmp_path, splits, max_faults=1)


def test_other_masks_have_another_digest(tmp_path: Path) -> None:
    as_json(tmp_path, "one")
    as_folder(tmp_path, "two")
    before = segments_digest(tmp_path, ("one", "two"), whole)
    assert before == segments_digest(tmp_path, ("one", "two", "none"), whole)
    assert before != segments_digest(tmp_path, ("one",), whole)
    Image.fromarray(MASKS[0]).save(tmp_path / "two" / "0.png")
    assert before != segments_digest(tmp_path, ("one", "two"), whole)
    assert source_of(tmp_path, "two") == tmp_path / "two" and source_of(tmp_path, "three") is None


def test_names_of_any_characters_have_a_file(tmp_path: Path) -> None:
    as_json(tmp_path, "a%3Fb")
    assert source_of(tmp_path, "a?b") == tmp_path / "a%3Fb.json"


def test_a_label_map_may_have_any_values() -> None:
    labels = np.array([[0, 9, 9], [200, 0, 70000]])
    found = partition(labels)
    assert isinstance(found, Partition) and len(found.classes) == 3
    assert sorted(found.sums(np.ones((1, 2, 3)))[1].tolist()) == [1, 1, 2]
    onto = np.full((1, 2, 3), -1.0)
    found.paint(onto, np.arange(3.0)[:, None], [0, 2])
    assert onto[0].tolist() == [[-1, 0, 0], [-1, -1, 2]]
    assert isinstance(Stack(SIZE, (), lambda index: MASKS[index]), Stack)
