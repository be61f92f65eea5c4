"""The names of formats, and the nearest of a misspelt one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from deft.artifacts import RunFolder, file_stem, save_mask
from deft.artifacts.review import Review
from deft.cli.main import main
from deft.contracts import InputError
from deft.data.opening import open_data
from deft.export.formats import FORMATS, format_named, reader_of
from export_runs import CLASSES, assert_same, exported, imported
from userfiles import save_noise


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("coco", "coco"),
        ("COCO", "coco"),
        ("label-studio", "labelstudio"),
        ("Label_Me", "labelme"),
        ("yolo-semantic", "yolo-semantic"),
    ],
)
def test_a_format_is_found_however_it_is_spelt(given: str, name: str) -> None:
    assert format_named(given) is FORMATS[name]


@pytest.mark.parametrize(
    ("given", "near"), [("cocoo", "coco"), ("labelstdio", "labelstudio"), ("yolov8", "yolo"), ("cvt", "cvat")]
)
def test_the_nearest_name_is_told(given: str, near: str) -> None:
    for act in (format_named, reader_of):
        with pytest.raises(InputError, match=rf"--format {given}: expected one of png, .*\(nearest: '{near}'\)"):
            act(given)


@pytest.mark.parametrize("verb", ["export", "import"])
def test_the_command_tells_it_before_it_opens_anything(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--out", str(tmp_path / "out")] if verb == "export" else [str(tmp_path)]
    assert main([verb, str(tmp_path / "no run"), *words, "--format", "cocco"]) == 2
    assert "(nearest: 'coco')" in capsys.readouterr().err


def test_every_format_but_one_is_read() -> None:
    assert [name for name, each in FORMATS.items() if each.reader is None] == ["datasets"]


NAMES = (
    *("a.jpg", "a.png", "images/in/images/b.png", "labels/c.png", "50% off.png", "c#1&2+3.png", "d 'e'.png"),
    *("x,y;z.png", "<f>.png", "{g}[h].png", "train/i.png", "val/i.png", "i.png", "Ünïcode 牛.png", "no.json.png"),
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A run on photographs with such names, and its masks."""
    root = tmp_path_factory.mktemp("odd")
    for name in NAMES:
        save_noise(root / "data" / "images" / name, (20, 24))
    table = [{"image": name, "labels": ["cat"]} for name in NAMES]
    (root / "data" / "labels.json").write_text(json.dumps(table))
    (root / "data" / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    given = f"folder:{root / 'data'}"
    train = open_data(given).train
    record = {
        "recipe": "cam",
        "settings": {},
        "data": {"given": given, "images": len(NAMES), "held out": 0, "classes": list(CLASSES)},
    }
    folder = RunFolder(root / "run", record)
    made, masks = folder.stage("masks", "key"), {}
    with made.making():
        for index, name in enumerate(train.names):
            masks[name] = np.zeros((20, 24), np.uint8)
            masks[name][index : index + 3, 2:9] = 1 + index % 3
            save_mask(made.folder / f"{file_stem(name)}.png", masks[name], made.key)
    folder.close()
    return root / "run", masks


@pytest.mark.parametrize("form", [name for name, each in FORMATS.items() if each.reader is not None])
def test_photographs_of_any_name_come_back(form: str, odd: tuple[Path, dict[str, np.ndarray]]) -> None:
    run, masks = odd
    shutil.rmtree(run / "review", ignore_errors=True)
    assert_same(imported(run, exported(run, form), form), masks)
    assert {each.state for each in Review(run, CLASSES).read().values()} == {"accepted"}
