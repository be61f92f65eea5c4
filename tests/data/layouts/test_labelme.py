from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deft.data import check, open_data
from userfiles import mask_of, save_noise, tags_of

pytest.importorskip("pycocotools")


def shape(label: Any, points: Any, kind: str = "polygon", **more: Any) -> dict[str, Any]:
    """As LabelMe 5 writes it."""
    base = {"label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {}}
    return base | {"mask": None} | more


def annotate(
    file: Path, shapes: list[Any], image: str = "", size: tuple[int, int] | None = (40, 60), **more: Any
) -> Path:
    content: dict[str, Any] = {"version": "5.4.1", "flags": {}, "shapes": shapes}
    content |= {"imagePath": image or f"{file.stem}.png", "imageData": None}
    if size is not None:
        content |= {"imageHeight": size[0], "imageWidth": size[1]}
    file.write_text(json.dumps(content | more))
    return file


def png(mask: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


HALF = [[0, 0], [30, 0], [30, 40], [0, 40]]


@pytest.fixture
def labelme(tmp_path: Path) -> Path:
    root = tmp_path / "labelme"
    for name in ("a", "b", "c", "in/d"):
        save_noise(root / f"{name}.png")
    stamp = np.zeros((3, 4), dtype=np.uint8)
    stamp[0, 1:3] = stamp[2, 0] = 1
    annotate(root / "a.json", [shape("dog", HALF), shape("cat", [[45, 20], [45, 26]], "circle")])
    annotate(root / "b.json", [shape("cow", [[10, 20], [13, 22]], "mask", mask=png(stamp)), shape("__ignore__", HALF)])
    annotate(root / "c.json", [shape("cat", [[1, 1], [9, 9]], "rectangle"), shape("dog", [[3, 3]], "point")])
    annotate(root / "in" / "d.json", [shape("_background_", HALF)], "..\\in\\d.png")
    return root


def faults(root: Path, warnings: bool = False) -> list[str]:
    return [str(fault) for fault in check(f"labelme:{root}") if fault.warning == warnings]


def test_shapes_are_labels_and_outlines(labelme: Path) -> None:
    assert faults(labelme) == []
    train = open_data(f"labelme:{labelme}").train
    assert tags_of(train) == {"a": ["cat", "dog"], "b": ["cow"], "c": ["cat", "dog"], "in/d": []}
    assert dict(zip(train.names, train.scored.tolist(), strict=True)) == {
        "a": True,
        "b": True,
        "c": False,
        "in/d": True,
    }
    first, second = mask_of(train, "a"), mask_of(train, "b")
    assert train.classes == ("cat", "cow", "dog")
    assert (first[:, :30] == 3).all() and first[20, 45] == 1 and 90 < (first == 1).sum() < 130
    assert np.argwhere(second == 2).tolist() == [[20, 11], [20, 12], [22, 10]]
    assert (second[:, :10] == 255).all() and not second[:, 30:].any()
    assert not mask_of(train, "in/d").any()


def test_images_without_a_file_are_left_out(labelme: Path) -> None:
    (labelme / "a.json").unlink()
    (labelme / "settings.json").write_text('{"a": 1}')
    assert open_data(f"labelme:{labelme}").train.names == ("b", "c", "in/d")
    remarks = faults(labelme, warnings=True)
    assert any("1 of 4 images have no JSON file, e.g. 'a'" in text for text in remarks)
    assert any("1 JSON files have no shapes, e.g. 'settings.json'" in text for text in remarks)


def test_flags_of_an_image_are_labels(labelme: Path) -> None:
    annotate(labelme / "in" / "d.json", [], flags={"sunny": True, "cloudy": False, "__ignore__": True})
    train = open_data(f"labelme:{labelme}").train
    assert tags_of(train)["in/d"] == ["sunny"] and not train.scored[train.names.index("in/d")]


def test_lists_of_classes_and_of_images_to_hold_out_are_read(labelme: Path) -> None:
    (labelme / "labels.txt").write_text("__ignore__\n_background_\ndog\ncat\ncow\n")
    (labelme / "val.txt").write_text("a\nin/d\n")
    splits = open_data(f"labelme:{labelme}?empty=drop")
    assert splits.val is not None and splits.train.classes == ("dog", "cat", "cow")
    assert (splits.train.names, splits.val.names) == (("b", "c"), ("a",))
    (labelme / "labels.txt").write_text("dog\n")
    named = faults(labelme)
    assert len(named) == 2 and "class 'cat' occurs but is not listed" in named[0] and "class 'cow'" in named[1]


@pytest.mark.parametrize("said", ["/home/me/photos/a.png", "C:\\photos\\a.png", "gone.png", "../a.png", None])
def test_the_image_is_found_wherever_the_path_points(labelme: Path, said: str | None) -> None:
    annotate(labelme / "a.json", [shape("dog", HALF)], imagePath=said)
    assert tags_of(open_data(f"labelme:{labelme}").train)["a"] == ["dog"]


@pytest.mark.parametrize(("size", "expected"), [((40, 60), (40, 60)), ((60, 40), (60, 40)), (None, (60, 40))])
def test_the_size_tells_whether_a_photograph_was_turned(
    labelme: Path, size: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    save_noise(labelme / "a.png", orientation=6)
    annotate(labelme / "a.json", [shape("dog", HALF)], size=size)
    train = open_data(f"labelme:{labelme}").train
    mask = mask_of(train, "a")
    assert mask.shape == train[0].image.shape[:2] == expected and (mask[:40, :30] == 3).all()


BAD: list[tuple[Any, str]] = [
    (shape(None, HALF), "shape 0 has no label"),
    (shape(["a"], HALF), "shape 0 has no label"),
    (5, "shape 0 has no label"),
    (shape("dog", [[1, 2, 3]]), "shape 0 (dog): expected points of two coordinates"),
    (shape("dog", [[1, float("nan")], [2, 3], [4, 5]]), "shape 0 (dog): a coordinate is not a finite number"),
    (shape("dog", "x"), "shape 0 (dog): expected coordinates"),
    (shape("dog", None), "shape 0 (dog): "),
    (shape("dog", [[1, 2]], "circle"), "shape 0 (dog): expected two points of a circle, got 1"),
    (shape("dog", [[1, 2], [3, 4]], "mask", mask="@@"), "shape 0 (dog): its mask is not a PNG in base64"),
    (shape("dog", [[1, 2], [3, 4]], "mask", mask="AAAA"), "shape 0 (dog): image of 3 bytes"),
    (shape("dog", [[1, 2], [3, 4]], "mask"), "shape 0 (dog): image of 0 bytes"),
]


@pytest.mark.parametrize(("wrong", "words"), BAD)
def test_a_shape_that_cannot_be_read_is_one_fault(labelme: Path, wrong: Any, words: str) -> None:
    annotate(labelme / "a.json", [wrong])
    assert len(faults(labelme)) == 1 and f"a.json: {words}" in faults(labelme)[0]


@pytest.mark.parametrize("far", [1e9, -1e300, 10**30])
def test_coordinates_far_away_are_cut_off(labelme: Path, far: float) -> None:
    annotate(labelme / "a.json", [shape("dog", [[-far, -far], [far, -far], [far, far], [-far, far]])])
    assert (mask_of(open_data(f"labelme:{labelme}").train, "a") == 3).all()


SPOILED: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: (root / "a.json").write_text("{"), "a.json:1: not valid JSON"),
    (lambda root: (root / "a.png").unlink(), "1 of the 4 images of labelme are missing, e.g. 'a.png'"),
    (lambda root: annotate(root / "e.json", [], "a.png"), "a.json annotates the same image, 'a'"),
    (lambda root: [file.unlink() for file in root.rglob("*.json")], "expected JSON files of LabelMe"),
    (lambda root: annotate(root / "a.json", [], size=(41, 60)), "expected 60 x 41 pixels as in the annotations"),
]


@pytest.mark.parametrize(("spoil", "words"), SPOILED)
def test_faults_are_named_once(labelme: Path, spoil: Callable[[Path], object], words: str) -> None:
    spoil(labelme)
    assert len(faults(labelme)) == 1 and words in faults(labelme)[0], faults(labelme)
