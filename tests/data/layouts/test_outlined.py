from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.contracts import Dataset, HidesTruth, InputError
from deft.data.faults import Faults
from deft.data.files import image_files
from deft.data.fingerprints import truth_fingerprint
from deft.data.layouts.outlined import OutlinedImages
from deft.data.layouts.outlines import Polygons, Runs
from deft.data.layouts.photographs import Photograph, Thing, outlined_images

pytest.importorskip("pycocotools")

WIDE, HIGH = (20, 30), (30, 20)
"""(H, W) as stored, and of the image turned upright."""


def dataset(
    root: Path, orientation: int, size: tuple[int, int] | None, stored: bool = False, outlined: bool = True
) -> OutlinedImages:
    """One photograph of 30 x 20 stored pixels whose left upper corner is red and outlined as a class."""
    pixels = np.zeros((*WIDE, 3), dtype=np.uint8)
    upright = np.zeros((*HIGH, 3), dtype=np.uint8)
    corner = upright if size == HIGH or (size is None and not stored and orientation > 4) else pixels
    corner[:8, :10] = (255, 0, 0)
    if corner is upright:  # orientation 6: stored pixels are turned clockwise to be shown
        pixels = np.rot90(upright, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(root / "a.png", exif=exif)
    ring = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 8.0], [0.0, 8.0]])
    thing = Thing("cat", Polygons((ring,)) if outlined else None)
    (root / "a.json").touch()
    images = image_files(root)
    return outlined_images(
        "x", images, [Photograph(0, [thing], size)], ("cat",), [root / "a.json"], Faults(), stored=stored
    )


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(("orientation", "size"), [(1, WIDE), (6, WIDE), (6, HIGH)])
def test_the_size_tells_which_version_of_a_photograph_was_outlined(
    orientation: int, size: tuple[int, int], stored: bool, tmp_path: Path
) -> None:
    data = dataset(tmp_path, orientation, size, stored)
    sample = data[0]
    assert sample.mask is not None and sample.mask.shape == sample.image.shape[:2] == size
    np.testing.assert_array_equal(sample.mask == 1, sample.image[..., 0] == 255)
    assert data.orientation_fault(0) is None


@pytest.mark.parametrize(("stored", "shape"), [(False, HIGH), (True, WIDE)])
def test_without_a_size_the_habit_of_the_tool_decides_and_is_named(
    stored: bool, shape: tuple[int, int], tmp_path: Path
) -> None:
    data = dataset(tmp_path, 6, None, stored)
    sample = data[0]
    assert sample.mask is not None and sample.image.shape[:2] == shape
    np.testing.assert_array_equal(sample.mask == 1, sample.image[..., 0] == 255)
    remark = data.orientation_fault(0)
    assert remark is not None and ("as stored" if stored else "upright") in remark[0]


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_a_turn_that_keeps_the_size_is_named(orientation: int, tmp_path: Path) -> None:
    assert dataset(tmp_path, orientation, WIDE, True).orientation_fault(0) is not None
    assert dataset(tmp_path, 1, WIDE, True).orientation_fault(0) is None


def test_images_of_another_size_are_refused_where_outlines_depend_on_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected 31 x 20 pixels as in the annotations, got 30 x 20"):
        dataset(tmp_path, 1, (20, 31))[0]
    boxes = dataset(tmp_path, 6, (20, 31), outlined=False)
    assert boxes[0].image.shape[:2] == HIGH and boxes[0].mask is None
    assert boxes.orientation_fault(0) is None


def test_masks_need_not_be_drawn(tmp_path: Path) -> None:
    data = dataset(tmp_path, 6, WIDE)
    assert isinstance(data, HidesTruth) and isinstance(data, Dataset)
    bare = data.without_truth()
    assert data[0].mask is not None and bare[0].mask is None
    np.testing.assert_array_equal(bare[0].image, data[0].image)
    assert bare.fingerprint() == data.fingerprint()


def test_the_fingerprint_follows_what_is_trained_on(tmp_path: Path) -> None:
    data = dataset(tmp_path, 1, WIDE)
    others = [replace(data, names=("b",)), replace(data, classes=("cow",)), replace(data, labels=~data.labels)]
    assert len({data.fingerprint(), *(other.fingerprint() for other in others)}) == 4
    before = data.fingerprint()
    (tmp_path / "a.json").write_text("{}")
    assert data.fingerprint() == before
    Image.fromarray(np.ones((*WIDE, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    assert data.fingerprint() != before


def test_outlines_are_only_in_the_fingerprint_of_the_truth(tmp_path: Path) -> None:
    data = dataset(tmp_path, 1, WIDE)
    (instance,) = data.instances[0]
    assert isinstance(instance.outline, Polygons)
    (ring,) = instance.outline.rings
    runs = Runs(np.array([0, 6], dtype=np.int64), (2, 3))
    outlines = [Polygons((ring + 1,)), Polygons((ring, ring)), Polygons((ring / 40,), relative=True), runs, None]
    others = [replace(data, instances=((instance._replace(outline=outline),),)) for outline in outlines]
    others += [replace(data, instances=((instance._replace(value=255),),)), replace(data, scored=~data.scored)]
    assert len({truth_fingerprint(one) for one in (data, *others)}) == len(others) + 1
    assert {one.fingerprint() for one in others} == {data.fingerprint()}
    again = replace(data, instances=((instance._replace(outline=Polygons((ring.copy(),))),),))
    assert truth_fingerprint(again) == truth_fingerprint(data)


def test_pixels_that_are_read_in_another_direction_teach_something_else(tmp_path: Path) -> None:
    as_stored, upright = (dataset(tmp_path, 6, size) for size in (WIDE, HIGH))
    Image.open(tmp_path / "a.png").load()
    assert as_stored[0].image.shape != upright[0].image.shape
    assert as_stored.fingerprint() != upright.fingerprint()
