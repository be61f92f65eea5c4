"""CVAT's XML: written, judged by datumaro, and exports of CVAT read."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from deft.cli.main import main
from deft.data.opening import open_data
from export_runs import CLASSES, assert_same, contents, exported, imported, own_masks


@pytest.mark.parametrize(
    ("options", "share"),
    [((), 0.005), (("--shapes", "masks"), 0), (("--tolerance", "0"), 0), (("--tolerance", "50"), 0.005)],
)
def test_out_and_in_is_the_identity_up_to_the_tolerance(options: tuple[str, ...], share: float, run: Path) -> None:
    assert_same(imported(run, exported(run, "cvat", *options), "cvat"), own_masks(run), share)


def test_shapes_by_hand(run: Path) -> None:
    root = ElementTree.parse(exported(run, "cvat", "--tolerance", "0") / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    assert [each.text for each in root.iterfind("meta/task/labels/label/name")] == [*CLASSES, "__ignore__"]
    image = next(each for each in root.iterfind("image") if each.get("name") == "a.jpg")
    assert (image.get("width"), image.get("height")) == ("60", "40")
    polygons = {(each.get("label"), each.get("points")) for each in image.iterfind("polygon")}
    assert ("tooth brush", "10.00,9.00;13.00,9.00;13.00,11.00;10.00,11.00") in polygons
    ring = image.find("mask")
    assert ring is not None
    assert [ring.get(name) for name in ("label", "left", "top", "width", "height")] == ["cat", "4", "3", "16", "15"]
    counts = [int(each) for each in str(ring.get("rle")).split(",")]
    assert counts[:4] == [0, 16 * 3 + 3, 9, 7]  # row by row, beginning with zeros
    assert sum(counts) == 16 * 15


def test_the_folder_is_a_dataset(run: Path) -> None:
    train = open_data(f"cvat:{exported(run, 'cvat', '--shapes', 'masks')}").train
    assert train.classes == CLASSES
    assert all((train[i].mask == own_masks(run)[name]).all() for i, name in enumerate(train.names))


def test_absolute_paths_and_another_order_are_read(run: Path) -> None:
    file = exported(run, "cvat", "--shapes", "masks") / "annotations.xml"
    tree = ElementTree.parse(file)
    images = tree.getroot().findall("image")
    for number, image in enumerate(images):
        tree.getroot().remove(image)
        image.set("id", str(900 - number))
        image.set("name", f"/srv/pictures/{image.get('name')}")
    tree.getroot().extend(reversed(images))
    tree.write(file)
    assert_same(imported(run, file, "cvat"), own_masks(run))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('<mask label="cat"', '<mask label="unicorn"', "'unicorn', in "),
        ('width="60" height="40"', 'width="60" height="41"', "60 x 40, got 60 x 41"),
        ("  </image>", '<box label="cat" xtl="1" ytl="1" xbr="2" ybr="2"></box></image>', "has no outline"),
        ("</annotations>", "", "annotations.xml"),
        ('rle="', 'rle="7, ', "mask of"),
        ("annotations>", "notes>", "expected <annotations>"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_imported(
    old: str, new: str, said: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = exported(run, "cvat", "--shapes", "masks") / "annotations.xml"
    file.write_text(file.read_text().replace(old, new))
    before = contents(run)
    assert main(["import", str(run), str(file), "--format", "cvat"]) == 2
    assert said in (told := capsys.readouterr().err)
    assert "Traceback" not in told
    assert contents(run) == before


def test_names_are_escaped(run: Path) -> None:
    from deft.export.cvat import CvatWriter
    from deft.export.picture import Picture, Place, Style

    writer = CvatWriter(Style(('a<b>&"c"',)))
    writer.add(Picture(Place('x"&<', ".png", "train"), np.ones((2, 2), np.uint8)))
    root = ElementTree.fromstring(writer.finish()["annotations.xml"])
    assert root.findtext("meta/task/labels/label/name") == 'a<b>&"c"'
    image = root.find("image")
    assert image is not None
    assert image.get("name") == 'x"&<.png'
    assert [each.get("label") for each in image] == ['a<b>&"c"']


def test_datumaro_draws_the_same_masks(run: Path) -> None:
    datumaro = pytest.importorskip("datumaro.components.dataset")
    found = {}
    out = exported(run, "cvat", "--shapes", "masks")
    for item in datumaro.Dataset.import_from(str(out), "cvat"):
        mask = np.zeros(item.media.size, np.uint8)
        for each in item.annotations:
            mask[each.image.astype(bool)] = 255 if each.label == 3 else each.label + 1
        found[item.id] = mask
    assert_same(found, own_masks(run))
    out = exported(run, "cvat", "--tolerance", "0")
    for item in datumaro.Dataset.import_from(str(out), "cvat"):
        for each in item.annotations:
            if hasattr(each, "points"):
                assert each.get_area() == pytest.approx(round(each.get_area()), abs=1e-6)
