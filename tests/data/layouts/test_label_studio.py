from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft.contracts import InputError
from deft.data import check, open_data
from deft.data.faults import Faults
from deft.data.layouts.run_lengths import mask_to_brush
from deft.data.opening import read_data
from userfiles import mask_of, save_noise, tags_of

pytest.importorskip("pycocotools")


def region(kind: str, value: dict[str, Any], label: Any = None, size: tuple[int, int] = (40, 60), **more: Any) -> Any:
    """One result, as Label Studio exports it."""
    own = {} if label is None else {kind: label if isinstance(label, list) else [label]}
    return {
        "id": "r1",
        "type": kind,
        "value": value | own,
        "origin": "manual",
        "to_name": "image",
        "from_name": "label",
        "image_rotation": 0,
        "original_width": size[1],
        "original_height": size[0],
    } | more


def choice(*names: str) -> Any:
    return {"id": "c", "type": "choices", "value": {"choices": list(names)}, "to_name": "image", "from_name": "kind"}


def task(number: int, image: str, *results: Any, **more: Any) -> dict[str, Any]:
    annotation = {"id": 100 + number, "was_cancelled": False, "ground_truth": False, "result": list(results)}
    return {"id": number, "data": {"image": image}, "annotations": [annotation], "predictions": []} | more


HALF = {"points": [[0, 0], [50, 0], [50, 100], [0, 100]], "closed": True}
BRUSH = np.zeros((40, 60), dtype=bool)
BRUSH[5:9, 20:33] = True
TASKS = [
    task(1, "/data/upload/3/1a2b3c4d-a.png", region("polygonlabels", HALF, "dog")),
    task(
        2,
        "/data/local-files/?d=photos/in/b%20b.png",
        region("brushlabels", {"format": "rle", "rle": mask_to_brush(BRUSH)}, "cat"),
        region("ellipselabels", {"x": 75, "y": 50, "radiusX": 10, "radiusY": 5, "rotation": 90}, "dog"),
        choice("cat"),
    ),
    task(3, "s3://bucket/photos/c.png", region("rectanglelabels", {"x": 1, "y": 1, "width": 9, "height": 9}, "cat")),
    task(4, "https://example.org/photos/d.png?key=5", choice("dog", "sunny")),
    task(5, "/data/upload/3/e.png"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "in/b b", "c", "1a2b3c4d-d", "e"):
        save_noise(tmp_path / "studio" / "images" / f"{name}.png")
    (tmp_path / "studio" / "images" / "1a2b3c4d-d.png").rename(tmp_path / "studio" / "images" / "d.png")
    return write(tmp_path / "studio", TASKS)


def write(root: Path, content: Any) -> Path:
    (root / "project-1-at-2024.json").write_text(json.dumps(content))
    return root


def faults(root: Path, warnings: bool = False) -> list[str]:
    return [str(fault) for fault in check(f"labelstudio:{root}") if fault.warning == warnings]


def test_regions_and_choices_are_labels_and_outlines(root: Path) -> None:
    assert faults(root) == []
    train = open_data(f"label-studio:{root}").train
    assert train.names == ("a", "in/b b", "c", "d", "e") and train.classes == ("cat", "dog", "sunny")
    assert list(tags_of(train).values()) == [["dog"], ["cat", "dog"], ["cat"], ["dog", "sunny"], []]
    assert train.scored.tolist() == [True, True, False, False, True]
    assert (mask_of(train, "a")[:, :30] == 2).all() and not mask_of(train, "a")[:, 31:].any()
    second = mask_of(train, "in/b b")
    np.testing.assert_array_equal(second == 1, BRUSH)
    rows, columns = np.nonzero(second == 2)
    assert (rows.min(), rows.max()) == (14, 25) and 42 <= columns.min() <= 43 and 46 <= columns.max() <= 47
    file = root / "project-1-at-2024.json"
    assert open_data(f"labelstudio:{file}?empty=drop").train.names == ("a", "in/b b", "c", "d")


def test_labels_of_a_region_may_be_a_result_of_their_own(root: Path) -> None:
    shape = region("polygon", HALF)
    labels = region("labels", {"labels": ["cow"]} | HALF)
    other = region("polygon", HALF, id="r2")
    write(root, [task(1, "a.png", shape, labels)])
    train = open_data(f"labelstudio:{root}").train
    assert train.classes == ("cow",) and (mask_of(train, "a")[:, :30] == 1).all()
    write(root, [task(1, "a.png", shape, labels, other)])
    assert len(faults(root)) == 1 and "task 1: a polygon has the label []" in faults(root)[0]


def test_choices_about_a_region_and_other_controls_are_no_labels(root: Path) -> None:
    about = {"type": "choices", "value": {"choices": ["occluded"]} | HALF, "id": "r1"}
    text = {"type": "textarea", "value": {"text": ["hello"]}, "id": "t"}
    path = {"type": "taxonomy", "value": {"taxonomy": [["animal", "cat"], ["animal", "dog", "poodle"]]}, "id": "x"}
    write(root, [task(1, "a.png", region("polygonlabels", HALF, "dog"), about, text, path, {"type": "relation"}, None)])
    assert open_data(f"labelstudio:{root}").train.classes == ("cat", "dog", "poodle")


def test_tasks_without_an_annotation_are_left_out(root: Path) -> None:
    skipped = task(2, "a.png", choice("cow"))
    skipped["annotations"][0]["was_cancelled"] = True
    write(root, [task(1, "e.png", choice("dog")), skipped, {"id": 3, "data": {"image": "c.png"}, "annotations": []}])
    assert tags_of(open_data(f"labelstudio:{root}").train) == {"e": ["dog"]}
    assert any("2 of 3 tasks have no annotation" in text for text in faults(root, warnings=True))


def test_of_several_annotations_the_truth_or_the_last_is_read(root: Path) -> None:
    several = task(1, "a.png", choice("dog"))
    several["annotations"].append({"id": 2, "result": [choice("cat")]})
    write(root, [several])
    assert open_data(f"labelstudio:{root}").train.classes == ("cat",)
    several["annotations"][0]["ground_truth"] = True
    write(root, [several])
    assert open_data(f"labelstudio:{root}").train.classes == ("dog",)
    assert any("1 of 1 tasks have several annotations" in text for text in faults(root, warnings=True))


def test_the_order_of_classes_and_the_images_to_hold_out_can_be_listed(root: Path) -> None:
    (root / "classes.txt").write_text("sunny\ndog\ncat\n")
    (root / "val.txt").write_text("c\n")
    splits = open_data(f"labelstudio:{root}")
    assert splits.val is not None and splits.val.names == ("c",) and splits.train.classes == ("sunny", "dog", "cat")


@pytest.mark.parametrize(("size", "expected"), [((40, 60), (40, 60)), ((60, 40), (60, 40))])
def test_the_size_tells_whether_a_photograph_was_turned(
    root: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    save_noise(root / "images" / "a.png", orientation=6)
    write(root, [task(1, "a.png", region("polygonlabels", HALF, "dog", size))])
    train = open_data(f"labelstudio:{root}").train
    assert mask_of(train, "a").shape == train[0].image.shape[:2] == expected


BAD: list[tuple[Any, str]] = [
    (region("polygonlabels", {"points": [[1, 2], [3]]}, "dog"), "polygonlabels of 'dog': expected coordinates"),
    (region("polygonlabels", {}, "dog"), "polygonlabels of 'dog': "),
    (region("polygonlabels", {"points": [[1, float("nan")], [2, 3], [4, 5]]}, "dog"), "not a finite number"),
    (region("polygonlabels", HALF), "a polygonlabels has the label []"),
    (region("polygonlabels", HALF, [None]), "a polygonlabels has the label [None]"),
    (region("brushlabels", {"format": "rle", "rle": [1, 2, 3]}, "dog"), "brushlabels of 'dog': expected a brush"),
    (region("brushlabels", {"format": "rle", "rle": "abc"}, "dog"), "brushlabels of 'dog': expected a brush"),
    (region("brushlabels", {"format": "rle", "rle": mask_to_brush(BRUSH)[:-3]}, "dog"), "cut short or damaged"),
    (region("brushlabels", {"format": "rle", "rle": mask_to_brush(BRUSH[1:])}, "dog"), "the brush has 2340 pixels"),
    (
        region("brushlabels", {"format": "rle", "rle": mask_to_brush(BRUSH)}, "dog", (10**6, 10**6)),
        "expected original_width and original_height",
    ),
    (region("ellipselabels", {"x": 1, "y": 2, "radiusX": "wide"}, "dog"), "expected x, y, radiusX and radiusY"),
]


@pytest.mark.parametrize(("wrong", "words"), BAD)
def test_a_region_that_cannot_be_read_is_one_fault(root: Path, wrong: Any, words: str) -> None:
    write(root, [task(1, "a.png", wrong), task(2, "e.png", choice("cat"))])
    assert len(faults(root)) == 1 and "task 1: " in faults(root)[0] and words in faults(root)[0], faults(root)


SPOILED: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: write(root, {"a": 1}), "expected a list of tasks with their data"),
    (lambda root: write(root, []), "expected a list of tasks with their data"),
    (lambda root: write(root, [{"image": "a.png", "id": 1, "choice": "cat"}]), "export the project again as JSON, not"),
    (lambda root: (root / "project-1-at-2024.json").write_text("["), "not valid JSON"),
    (lambda root: (root / "project-1-at-2024.json").unlink(), "expected one JSON file that Label Studio exported"),
    (lambda root: (root / "x.json").write_text("[]"), "found project-1-at-2024.json and x.json"),
    (lambda root: (root / "images" / "c.png").unlink(), "1 of the 5 images of project-1-at-2024.json are missing"),
    (lambda root: write(root, [task(1, "a.png", choice("cat")), task(2, "a.png")]), "task 2 has the image of another"),
    (lambda root: write(root, [task(1, "a.txt", choice("cat"), data={"text": "hello"})]), "task 1 has no image"),
]


@pytest.mark.parametrize(("spoil", "words"), SPOILED)
def test_faults_are_named_once(root: Path, spoil: Callable[[Path], object], words: str) -> None:
    spoil(root)
    assert len(faults(root)) == 1 and words in faults(root)[0], faults(root)
    with pytest.raises(InputError):
        open_data(f"labelstudio:{root}")


@pytest.mark.parametrize("side", [10**400, 10**30, 2**63, -1, 0, 1e308, "9" * 400, float("inf"), None])
@pytest.mark.parametrize("entry", ["original_width", "original_height"])
def test_sizes_of_any_kind_beside_an_ellipse_are_read_or_told(entry: str, side: object, tmp_path: Path) -> None:
    value = {"x": 75, "y": 50, "radiusX": 10, "radiusY": 5, "rotation": 90, "ellipselabels": ["dog"]}
    result = {"type": "ellipselabels", "value": value, "original_width": 9, "original_height": 7, entry: side}
    (tmp_path / "a.png").touch()
    task = {"id": 1, "data": {"image": "a.png"}, "annotations": [{"result": [result]}]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    splits = read_data(f"labelstudio:{tmp_path}", faults := Faults())
    assert splits is not None and not faults.errors and splits.train.classes == ("dog",)


def test_areas_to_ignore_have_a_label_of_their_own(root: Path) -> None:
    tasks = [task(1, "/data/upload/3/a.png", region("polygonlabels", HALF, "__ignore__"), choice("dog")), *TASKS[1:]]
    train = open_data(f"labelstudio:{write(root, tasks)}").train
    assert "__ignore__" not in train.classes
    assert tags_of(train)["a"] == ["dog"]
