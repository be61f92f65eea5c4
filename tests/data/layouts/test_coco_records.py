from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deft.data.faults import Faults
from deft.data.files import image_files
from deft.data.layouts.coco_records import Annotation, read_annotations, read_categories, read_images
from deft.data.layouts.outlines import Polygons
from userfiles import picture

FILE = Path("instances.json")
RING = [1, 1, 5, 1, 5, 3]


def test_categories_are_names_by_id_with_the_parents_apart() -> None:
    faults = Faults()
    entries: list[Any] = [
        {"id": 1.0, "name": " cat ", "supercategory": "animal"},
        {"id": "b", "name": 7},
        {"id": 3, "name": None, "supercategory": float("nan")},
        {"id": "1", "name": "cat", "supercategory": "cat"},
    ]
    assert read_categories(entries, FILE, faults) == ({"1": "cat", "b": "7", "3": None}, frozenset({"animal"}))
    assert [fault.warning for fault in faults.all] == [True] and "category 1 ('cat') is listed twice" in faults.all[
        0
    ].what


def test_images_are_files_by_id_in_the_order_of_ids(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(picture())
    faults = Faults()
    entries: list[Any] = [
        {"id": 10, "file_name": "b.png", "height": 4, "width": 6},
        {"id": "9", "coco_url": "http://images.example/train/a.png", "height": None, "width": 6},
    ]
    found = read_images(entries, image_files(tmp_path), FILE, faults)
    assert list(found.items()) == [("9", (0, None)), ("10", (1, (4, 6)))] and faults.all == []
    assert read_images([{"id": 1, "file_name": "c.png"}], image_files(tmp_path), FILE, faults) == {"1": (None, None)}
    assert "1 of the 1 images of instances.json are missing, e.g. 'c.png'" in str(faults.all[0])


def annotations(*entries: Any) -> tuple[list[Annotation], list[str]]:
    """Those of image 1, which is 6 x 4 pixels and may show category 5; the faults."""
    objects: dict[str, list[Annotation]] = {"1": []}
    faults = Faults()
    read_annotations(list(entries), {"5": "cat", "6": None}, {"1": (0, (4, 6))}, objects, FILE, faults)
    return objects["1"], [f"{'warning: ' if fault.warning else ''}{fault.what}" for fault in faults.all]


def test_annotations_are_added_to_their_image() -> None:
    found, faults = annotations(
        {"id": 1, "image_id": 1, "category_id": 5, "segmentation": [RING], "iscrowd": 0},
        {"id": "x", "image_id": "1", "category_id": "5.0", "bbox": [1, 1, 2, 2], "iscrowd": "yes"},
        {"image_id": 1.0, "category_id": 5.0},
    )
    assert faults == []
    assert [(one.label, one.category, one.crowd) for one in found] == [
        ("1", "5", False), ("x", "5", True), ("at position 2", "5", False),
    ]  # fmt: skip
    outline = found[0].outline
    assert isinstance(outline, Polygons) and outline.rings[0].tolist() == [[1, 1], [5, 1], [5, 3]]
    assert found[1].outline is None and found[2].outline is None


@pytest.mark.parametrize(
    ("entry", "fault", "kept"),
    [
        ({"segmentation": [[1, 2, 3]]}, "annotation 8: expected pairs of coordinates, got 3 numbers", 2),
        ({"iscrowd": "perhaps"}, "annotation 8: expected iscrowd to be 0 or 1, got 'perhaps'", 1),
        ({"category_id": 6}, "annotation 8 has the category 6, which is not listed or has no name", 1),
        ({"category_id": [5]}, "annotation 8 has the category [5], which is not listed or has no name", 1),
        (
            {"image_id": 2},
            "warning: 1 of 2 annotations are of images that are not listed, e.g. annotation 8 of image 2",
            1,
        ),
    ],
)
def test_what_cannot_be_read_is_one_fault_with_the_id(entry: dict[str, Any], fault: str, kept: int) -> None:
    good = {"id": 7, "image_id": 1, "category_id": 5}
    found, faults = annotations(good, {**good, "id": 8, **entry})
    assert faults == [fault] and len(found) == kept


def test_many_annotations_of_one_unknown_category_are_one_fault() -> None:
    _, faults = annotations(*({"id": number, "image_id": 1, "category_id": 99} for number in range(50)))
    assert faults == ["annotation 0 (and 49 more) has the category 99, which is not listed or has no name"]
