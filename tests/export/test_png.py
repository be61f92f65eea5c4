"""VOC's folders and CVAT's masks: the same pixels out and in, and in Pillow, datumaro and our own reader."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.artifacts import palette
from deft.cli.main import main
from deft.data.faults import Faults
from deft.data.files import expected_images
from deft.data.opening import open_data
from deft.export.picture import Picture, Place, Style
from deft.export.png import VocWriter, read_png_masks
from export_runs import CLASSES, assert_same, contents, exported, imported, own_masks

LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndog:10,20,30::\ncat:200,100,0::\n__ignore__:1,1,1::\n"


@pytest.mark.parametrize("form", ["png", "voc", "cvat-mask"])
def test_out_and_in_is_the_identity(form: str, run: Path) -> None:
    assert_same(imported(run, exported(run, form), form), own_masks(run))


def test_pillow_opens_the_masks_with_their_colours(run: Path) -> None:
    out = exported(run, "voc")
    for name, mask in own_masks(run).items():
        with Image.open(out / "SegmentationClass" / f"{name}.png") as image:
            assert image.mode == "P"
            assert (np.array(image) == mask).all()
            assert (np.array(image.convert("RGB")) == palette()[mask]).all()
        photograph = next((out / "JPEGImages").glob(f"{name}.*"))
        with Image.open(photograph) as image:
            assert image.size == mask.shape[::-1]
            assert image.getexif().get(0x0112, 1) == 1


def test_the_folders_are_a_dataset(run: Path) -> None:
    out = exported(run, "voc")
    train = open_data(f"voc:{out}").train
    assert train.classes == CLASSES
    for index, name in enumerate(train.names):
        sample = train[index]
        assert (sample.mask == own_masks(run)[name]).all()
        assert [train.classes[k] for k in np.flatnonzero(sample.labels)] == ["cat", "dog"]


def test_lists_name_each_image_once(run: Path) -> None:
    names = {"a", "sub/b c", "turned", "upside"}
    voc, cvat = (exported(run, form) / "ImageSets" / "Segmentation" for form in ("voc", "cvat-mask"))
    assert {path.name: set(path.read_text().splitlines()) for path in voc.iterdir()} == {"train.txt": names}
    assert {path.name: set(path.read_text().splitlines()) for path in cvat.iterdir()} == {"default.txt": names}
    written = (voc.parents[1] / "labelmap.txt").read_text().splitlines()
    assert written == [
        "# label:color_rgb:parts:actions",
        "background:0,0,0::",
        "cat:128,0,0::",
        "tooth brush:0,128,0::",
        "dog:128,128,0::",
        "__ignore__:224,224,192::",
    ]


def test_masks_coloured_by_a_list_in_another_order_are_read(run: Path, tmp_path: Path) -> None:
    mask = own_masks(run)["a"]
    mask[mask == 2] = 0
    colours = np.zeros((256, 3), np.uint8)
    colours[1], colours[3], colours[255] = (200, 100, 0), (10, 20, 30), (1, 1, 1)
    (tmp_path / "from" / "SegmentationClass").mkdir(parents=True)
    (tmp_path / "from" / "labelmap.txt").write_text(LABELMAP)
    Image.fromarray(colours[mask]).save(tmp_path / "from" / "SegmentationClass" / "a.png")
    assert_same(imported(run, tmp_path / "from", "cvat-mask"), {"a": mask})


def test_numbers_mean_what_classes_txt_says(run: Path, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "classes.txt").write_text("dog\ncat\n")
    mask = np.zeros((40, 60), np.uint8)
    mask[:5], mask[5:9], mask[9] = 1, 2, 255
    Image.fromarray(mask).save(tmp_path / "from" / "a.png")
    found = imported(run, tmp_path / "from", "png")["a"]
    assert [int(value) for value in found[[0, 6, 9, 20], 0]] == [3, 1, 255, 0]


@pytest.mark.parametrize("name", ["a:b", "1,2,3", "#hash", "a:1,2,3:b", "x:", "Ünïcode 牛"])
def test_names_with_the_marks_of_the_list_are_read_back(name: str, tmp_path: Path) -> None:
    writer = VocWriter(Style((name, "other")))
    mask = np.array([[0, 1], [2, 255]], np.uint8)
    content = dict(writer.add(Picture(Place("a", ".png", "train"), mask))) | dict(writer.finish())
    for file, data in content.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(data)
    faults = Faults()
    found = read_png_masks(tmp_path, expected_images(tmp_path, ["a"], ["a"], [".png"]), (name, "other"), faults)
    assert faults.all == []
    assert found[0].values is not None
    values, names = found[0].values()
    assert [names[int(value)] for value in values.ravel()] == ["background", name, "other", "__ignore__"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda at: Image.new("RGB", (60, 40)).save(at / "a.png"), "labelmap.txt"),
        (lambda at: Image.new("L", (60, 40), 9).save(at / "a.png"), "expected values from 0 to 3, or 255, got 9"),
        (lambda at: Image.new("L", (60, 41)).save(at / "a.png"), "60 x 40, got 60 x 41"),
        (lambda at: (at / "a.png").write_bytes(b"no PNG"), "a.png"),
        (lambda at: Image.new("L", (60, 40)).save(at / "other.png"), "none of the 1 masks is named after an image"),
        (lambda at: None, "found none"),
        (lambda at: (at / "labelmap.txt").write_text("cat:1,2\n"), "labelmap.txt:1: expected name:red,green,blue"),
        (
            lambda at: (
                (at / "labelmap.txt").write_text("cat:1,2,3::\n"),
                Image.new("RGB", (60, 40)).save(at / "a.png"),
            ),
            "the colour 0,0,0 is not in labelmap.txt",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_imported(
    spoil: object, said: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "from"
    folder.mkdir()
    spoil(folder)  # type: ignore[operator]
    before = contents(run)
    assert main(["import", str(run), str(folder), "--format", "png"]) == 2
    assert said in (told := capsys.readouterr().err)
    assert "Traceback" not in told
    assert contents(run) == before


def test_datumaro_reads_the_masks_for_cvat(run: Path) -> None:
    dataset = pytest.importorskip("datumaro.components.dataset").Dataset
    out = exported(run, "cvat-mask")
    shutil.rmtree(out / "JPEGImages")
    found = {}
    for item in dataset.import_from(str(out), "voc_segmentation"):
        mask = np.zeros(item.annotations[0].image.shape, np.uint8)
        for each in item.annotations:
            mask[each.image.astype(bool)] = 255 if each.label == 4 else each.label
        found[item.id] = mask
    assert_same(found, own_masks(run))
