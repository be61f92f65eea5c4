"""LabelMe's files: written, judged by labelme, and read."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.cli.main import main
from deft.data.opening import open_data
from export_runs import CLASSES, assert_same, contents, exported, imported, own_masks


@pytest.mark.parametrize(
    ("options", "share"),
    [((), 0.005), (("--shapes", "masks"), 0), (("--tolerance", "0"), 0), (("--no-images",), 0.005)],
)
def test_out_and_in_is_the_identity_up_to_the_tolerance(options: tuple[str, ...], share: float, run: Path) -> None:
    assert_same(imported(run, exported(run, "labelme", *options), "labelme"), own_masks(run), share)


def test_a_file_by_hand(run: Path) -> None:
    out = exported(run, "labelme", "--tolerance", "0")
    content = json.loads((out / "sub" / "b c.json").read_text())
    assert (content["imagePath"], content["imageData"]) == ("b c.png", None)
    assert (content["imageHeight"], content["imageWidth"]) == own_masks(run)["sub/b c"].shape
    ring = next(each for each in content["shapes"] if each["shape_type"] == "mask")
    assert (ring["label"], ring["points"]) == ("cat", [[4.0, 3.0], [19.0, 17.0]])  # first and last pixel
    with Image.open(io.BytesIO(base64.b64decode(ring["mask"]))) as image:
        assert (np.array(image) == (own_masks(run)["sub/b c"][3:18, 4:20] == 1)).all()
    island = [[10.0, 9.0], [13.0, 9.0], [13.0, 11.0], [10.0, 11.0]]
    assert island in [each["points"] for each in content["shapes"] if each["label"] == "tooth brush"]
    assert (out / "labels.txt").read_text().splitlines() == ["__ignore__", *CLASSES]


def test_the_folder_is_a_dataset(run: Path) -> None:
    train = open_data(f"labelme:{exported(run, 'labelme', '--shapes', 'masks')}").train
    assert train.classes == CLASSES
    assert all((train[i].mask == own_masks(run)[name]).all() for i, name in enumerate(train.names))


def test_one_file_is_imported_alone(run: Path) -> None:
    out = exported(run, "labelme", "--shapes", "masks")
    assert_same(imported(run, out / "turned.json", "labelme"), {"turned": own_masks(run)["turned"]})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shapes": [{"label": "cat", "shape_type": "rectangle", "points": [[1, 1], [5, 5]]}]}, "has no outline"),
        ({"shapes": [{"label": "unicorn", "points": [[1, 1], [5, 5], [1, 5]]}]}, "'unicorn', in 1 of the images"),
        ({"shapes": [{"label": "cat", "shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "!"}]}, "base64"),
        ({"shapes": [{"label": "cat", "points": [[1, "x"]]}]}, "a.json: shape 0 (cat)"),
        ({"imageWidth": 600}, "expected a mask of the size of the photograph, 60 x 40, got 600 x 40"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_imported(
    change: dict[str, object], said: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = exported(run, "labelme")
    file = out / "a.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    before = contents(run)
    assert main(["import", str(run), str(out), "--format", "labelme"]) == 2
    assert said in (told := capsys.readouterr().err)
    assert "Traceback" not in told
    assert contents(run) == before


@pytest.mark.parametrize(("options", "most"), [(("--shapes", "masks"), 0.0), (("--tolerance", "0"), 0.05)])
def test_labelme_opens_image_and_shapes(options: tuple[str, ...], most: float, run: Path) -> None:
    files = pytest.importorskip("labelme._label_file", exc_type=ImportError)
    drawn = pytest.importorskip("labelme.utils").shapes_to_label
    out = exported(run, "labelme", *options)
    values = {"__ignore__": 255} | {name: k for k, name in enumerate(CLASSES, 1)}
    for name, mask in own_masks(run).items():
        file = files.LabelFile(str(out / f"{name}.json"))
        with Image.open(io.BytesIO(file.image_data)) as image:
            assert image.size == mask.shape[::-1]
        found, _ = drawn(mask.shape, file.shapes, values)
        # Its polygons include the pixels under their border, so that they are larger by up to a pixel.
        assert (found != mask).mean() <= most
