from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deft.data import check, open_data
from userfiles import mask_of, save_noise, tags_of

pytest.importorskip("pycocotools")

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><id>1</id><name>animals</name><labels>
<label><name>dog</name><color>#ff0000</color><type>any</type><attributes></attributes></label>
<label><name>cat</name><attributes><attribute><name>size</name></attribute></attributes></label>
<label><name>horse</name><type>skeleton</type></label>
<label><name>horse-head</name><type>points</type><parent>horse</parent></label>
</labels></task></meta>
"""
POLYGON = '<polygon label="dog" occluded="0" points="0.00,0.00;30.00,0.00;30.00,40.00;0.00,40.00" z_order="0"/>'
IMAGES = f"""<image id="0" name="a.png" subset="Train" width="60" height="40">{POLYGON}
<ellipse label="cat" cx="45.0" cy="20.0" rx="6.0" ry="3.0" rotation="90"><attribute name="size">1</attribute></ellipse>
</image>
<image id="1" name="in/b.png" subset="Validation" width="60" height="40">
<mask label="cat" rle="1, 2, 5, 1, 3" left="10" top="20" width="4" height="3"/></image>
<image id="2" name="c.png" width="60" height="40">
<box label="cat" xtl="1" ytl="1" xbr="9" ybr="9"/><tag label="dog"/></image>
<image id="3" name="d.png" width="60" height="40">
<skeleton label="horse"><points label="horse-head" points="1,2"/></skeleton></image>
<image id="4" name="e.png" width="60" height="40"></image>
"""


@pytest.fixture
def cvat(tmp_path: Path) -> Path:
    for name in ("a", "in/b", "c", "d", "e"):
        save_noise(tmp_path / "cvat" / "images" / f"{name}.png")
    return write(tmp_path / "cvat", IMAGES)


def write(root: Path, images: str, head: str = HEAD) -> Path:
    (root / "annotations.xml").write_text(f"{head}{images}</annotations>", encoding="utf-8")
    return root


def faults(root: Path, warnings: bool = False) -> list[str]:
    return [str(fault) for fault in check(f"cvat:{root}") if fault.warning == warnings]


def test_shapes_are_labels_and_outlines(cvat: Path) -> None:
    assert faults(cvat) == []
    splits = open_data(f"cvat:{cvat}")
    train, val = splits.train, splits.val
    assert val is not None and train.classes == val.classes == ("dog", "cat", "horse")
    assert tags_of(train) == {"a": ["dog", "cat"], "c": ["dog", "cat"], "d": ["horse"], "e": []}
    assert train.scored.tolist() == [True, False, False, True] and val.scored.all()
    first = mask_of(train, "a")
    assert (first[:, :30] == 1).all()
    rows, columns = np.nonzero(first == 2)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (14, 25, 42, 47)  # turned by 90 degrees
    assert np.argwhere(mask_of(val, "in/b") == 2).tolist() == [[20, 11], [20, 12], [22, 10]]
    assert open_data(f"cvat:{cvat}?empty=drop").train.names == ("a", "c", "d")
    assert open_data(f"cvat:{cvat / 'annotations.xml'}").train.names == train.names


def test_images_to_hold_out_can_be_listed(cvat: Path) -> None:
    (cvat / "val.txt").write_text("e\n")
    val = open_data(f"cvat:{cvat}").val
    assert val is not None and val.names == ("in/b", "e")


def test_images_that_are_not_in_the_export_are_left_out(cvat: Path) -> None:
    save_noise(cvat / "images" / "f.png")
    assert any("1 of 6 images are not in the export, e.g. 'f'" in text for text in faults(cvat, warnings=True))


@pytest.mark.parametrize(("size", "expected"), [((40, 60), (40, 60)), ((60, 40), (60, 40))])
def test_the_size_tells_whether_a_photograph_was_turned(
    cvat: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    save_noise(cvat / "images" / "a.png", orientation=6)
    write(cvat, f'<image id="0" name="a.png" width="{size[1]}" height="{size[0]}">{POLYGON}</image>')
    train = open_data(f"cvat:{cvat}").train
    assert mask_of(train, "a").shape == train[0].image.shape[:2] == expected


def one(shape: str) -> Callable[[Path], object]:
    return lambda root: write(root, f'<image id="0" name="a.png" width="60" height="40">\n{shape}</image>')


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (one('<polygon label="dog" points="1,2;3"/>'), "xml:10: polygon of 'dog': expected coordinates"),
        (one('<polygon label="dog" points="1,2;nan,3;4,5"/>'), "polygon of 'dog': a coordinate is not a finite number"),
        (
            one('<polygon label="dog" points="1,2;1e999,3;4,5"/>'),
            "polygon of 'dog': a coordinate is not a finite number",
        ),
        (one('<polygon points="1,2;3,4;5,6"/>'), "xml:10: a polygon has no label"),
        (one('<polygon label="cow" points="1,2;3,4;5,6"/>'), "class 'cow' occurs but is not listed"),
        (one('<ellipse label="dog" cx="1" cy="2" rx="3"/>'), "ellipse of 'dog': expected a number as ry, got None"),
        (
            one('<mask label="dog" rle="1,2" left="0" top="0" width="4" height="3"/>'),
            "add up to 3 pixels, but it is 4 x 3",
        ),
        (one('<mask label="dog" rle="-1,13" left="0" top="0" width="4" height="3"/>'), "counts of 0 and more"),
        (one('<mask label="dog" rle="12" left="0" top="0" width="0" height="3"/>'), "a width and height of 1 and more"),
        (one('<mask label="dog" rle="x" left="0" top="0" width="4" height="3"/>'), "expected counts that are numbers"),
        (lambda root: write(root, '<track id="0" label="dog"><box frame="0"/></track>'), "1 tracks of CVAT for video"),
        (lambda root: (root / "annotations.xml").write_text("<html/>"), "for each image, got <html>"),
        (lambda root: (root / "annotations.xml").unlink(), "expected an export of CVAT for images, found none"),
        (lambda root: write(root, IMAGES, HEAD.replace("<annot", "<!DOCTYPE x []><annot", 1)), "a document type"),
        (lambda root: (root / "images" / "a.png").unlink(), "1 of the 5 images of annotations.xml are missing"),
        (lambda root: write(root, IMAGES + IMAGES.split("\n<image")[0]), "two images are 'a'"),
    ],
)
def test_faults_are_named_once(cvat: Path, spoil: Callable[[Path], object], words: str) -> None:
    spoil(cvat)
    assert len(faults(cvat)) == 1 and words in faults(cvat)[0], faults(cvat)


def test_areas_to_ignore_have_a_label_of_their_own(cvat: Path) -> None:
    head = HEAD.replace("</labels>", "<label><name>__ignore__</name></label></labels>")
    images = IMAGES.replace('label="dog" occluded', 'label="__ignore__" occluded')
    train = open_data(f"cvat:{write(cvat, images, head)}").train
    assert train.classes == ("dog", "cat", "horse")
    assert (mask_of(train, "a")[:, :30] == 255).all()
