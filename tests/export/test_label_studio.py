"""Label Studio's tasks: written, judged by its converter, and exports of it read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from deft.cli.main import main
from export_runs import CLASSES, assert_same, contents, exported, imported, own_masks

VALUES = {"__ignore__": 255} | {name: k for k, name in enumerate(CLASSES, 1)}


def tasks_of(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "tasks.json").read_text())
    return found


def annotated(task: dict[str, Any], key: int, prefix: str = "") -> dict[str, Any]:
    """A task as Label Studio exports it when somebody has submitted its prediction."""
    results = task["predictions"][0]["result"]
    image = task["data"]["image"].replace("/data/local-files/?d=images/", prefix)
    note = {"id": key, "completed_by": 1, "was_cancelled": False, "ground_truth": False, "result": results}
    return {"id": key, "data": {"image": image}, "annotations": [note], "predictions": [key]}


@pytest.mark.parametrize(
    ("options", "share"),
    [
        ((), 0),
        (("--shapes", "masks"), 0),
        (("--shapes", "polygons"), 0.005),
        (("--shapes", "polygons", "--tolerance", "0"), 0),
    ],
)
def test_out_and_in_is_the_identity_up_to_the_tolerance(options: tuple[str, ...], share: float, run: Path) -> None:
    assert_same(imported(run, exported(run, "labelstudio", *options), "labelstudio"), own_masks(run), share)


@pytest.mark.parametrize("prefix", ["/data/upload/3/0a1b2c3d-", "https://host/pictures/", "s3://bucket/", "C:\\p\\"])
def test_annotations_with_other_paths_are_read(prefix: str, run: Path, tmp_path: Path) -> None:
    tasks = tasks_of(exported(run, "labelstudio"))
    tasks = [annotated(task, key, prefix) for key, task in enumerate(tasks, 50)][::-1]
    tasks = [task for task in tasks if "sub" not in task["data"]["image"]]
    (tmp_path / "project.json").write_text(json.dumps(tasks))
    expected = {name: mask for name, mask in own_masks(run).items() if name != "sub/b c"}
    found = imported(run, tmp_path / "project.json", "labelstudio")
    assert found.keys() >= {"a", "upside"}
    assert_same(found, {name: expected[name] for name in found})


def test_where_somebody_has_annotated_predictions_alone_are_not_taken(run: Path, tmp_path: Path) -> None:
    tasks = tasks_of(exported(run, "labelstudio"))
    (tmp_path / "project.json").write_text(json.dumps([annotated(tasks[0], 1), *tasks[1:]]))
    assert imported(run, tmp_path / "project.json", "labelstudio").keys() == {"a"}


def test_a_task_by_hand(run: Path) -> None:
    out = exported(run, "labelstudio", "--shapes", "polygons", "--tolerance", "0")
    task = tasks_of(out)[0]
    assert task["data"] == {"image": "/data/local-files/?d=images/a.jpg"}
    results = task["predictions"][0]["result"]
    assert {(each["original_width"], each["original_height"], each["image_rotation"]) for each in results} == {
        (60, 40, 0)
    }
    assert {each["type"] for each in results} == {"polygonlabels", "brushlabels"}
    island = {
        "points": [
            [pytest.approx(100 * x / 60), pytest.approx(100 * y / 40)]
            for x, y in ((10, 9), (13, 9), (13, 11), (10, 11))
        ],
        "closed": True,
        "polygonlabels": ["tooth brush"],
    }
    assert island in [each["value"] for each in results]
    config = ElementTree.parse(out / "config.xml").getroot()
    for name in ("brush", "polygon"):
        control = next(each for each in config if each.get("name") == name)
        assert control.get("toName") == "image"
        assert [label.get("value") for label in control] == [*CLASSES, "__ignore__"]
        assert name in {each["from_name"] for each in results}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"type": "rectanglelabels", "value": {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["cat"]}},
            "has no outline",
        ),
        ({"value": {"rle": [0, 0, 0], "brushlabels": ["cat"]}}, "brush"),
        ({"value": {"rle": [0] * 60, "brushlabels": ["unicorn"]}}, "task "),
        ({"original_width": 61}, "task "),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_imported(
    change: dict[str, Any], said: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = exported(run, "labelstudio")
    tasks = tasks_of(out)
    tasks[0]["predictions"][0]["result"][0] |= change
    (out / "tasks.json").write_text(json.dumps(tasks))
    before = contents(run)
    assert main(["import", str(run), str(out), "--format", "labelstudio"]) == 2
    assert said in (told := capsys.readouterr().err)
    assert "Traceback" not in told
    assert contents(run) == before


def test_its_decoder_and_converter_draw_the_same_masks(run: Path, tmp_path: Path) -> None:
    decoded = pytest.importorskip("label_studio_sdk.converter.brush").decode_rle
    converter = pytest.importorskip("label_studio_sdk.converter", exc_type=ImportError).Converter
    out = exported(run, "labelstudio")
    own = own_masks(run)
    (tmp_path / "tasks").mkdir()
    tasks = [annotated(task, key) for key, task in enumerate(tasks_of(out), 1)]
    for task in tasks:
        name = task["data"]["image"].rpartition(".")[0].replace("%20", " ")
        found = np.zeros_like(own[name])
        for result in task["annotations"][0]["result"]:
            pixels = np.reshape(decoded(result["value"]["rle"]), (*found.shape, 4))
            assert (pixels == pixels[..., :1]).all()
            found[pixels[..., 3] > 127] = VALUES[result["value"]["brushlabels"][0]]
        assert (found == own[name]).all()
    (tmp_path / "tasks" / "all.json").write_text(json.dumps(tasks))
    (tmp_path / "converted").mkdir()
    made = converter((out / "config.xml").read_text(), str(out), download_resources=False)
    made.convert(str(tmp_path / "tasks"), str(tmp_path / "converted"), "BRUSH_TO_NUMPY", is_dir=True)
    arrays = {path.name: np.load(path) for path in (tmp_path / "converted").glob("task-1-*.npy")}
    assert len(arrays) == 4
    for name, value in VALUES.items():
        array = next(found for file, found in arrays.items() if f"-{name}-" in file)
        assert ((array > 0) == (own["a"] == value)).all()
