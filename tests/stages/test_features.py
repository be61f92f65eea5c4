from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deft.artifacts import RunFolder
from deft.contracts import InputError, Splits
from deft.data import open_data
from deft.engine.share import Share
from deft.recipes import frozen
from deft.settings import assign
from deft.stages.context import Run
from deft.stages.features import find_all_features
from short import tiny

PIPELINE = tiny(frozen(), "precision=32-true")


def run_of(folder: Path, splits: Splits, *reuse: Path, pipeline: Any = PIPELINE) -> Run:
    return Run(pipeline, splits, RunFolder(folder, {}), reuse)


def described(run: Run) -> None:
    assert run.pipeline.frozen is not None
    find_all_features(run, run.pipeline.frozen)
    run.out.close()


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "features").glob("*.safetensors")}


def test_each_image_is_looked_at_once(make_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_folder(tmp_path / "data", count=6, side=64)
    made: list[int] = []
    make = Share.make
    monkeypatch.setattr(Share, "make", lambda self, indices, **more: made.append(len(indices)) or make(self, indices))
    described(run_of(tmp_path / "one", open_data(f"folder:{data}")))
    assert made == [4, 2] and len(names(tmp_path / "one")) == 6
    described(run_of(tmp_path / "one", open_data(f"folder:{data}")))
    assert made == [4, 2]

    # Other tags and an image less: what is left is taken over, and nothing is looked at.
    table = data / "labels.csv"
    table.write_text(table.read_text().replace("img_00,cat", "img_00,dog").replace("img_01,cow\n", ""))
    (data / "images" / "img_01.png").unlink()
    described(run_of(tmp_path / "two", open_data(f"folder:{data}"), tmp_path / "one"))
    assert sum(made[2:]) == 0 and len(names(tmp_path / "two")) == 5
    assert names(tmp_path / "two") < names(tmp_path / "one")
    for name in names(tmp_path / "two"):
        assert os.path.samefile(tmp_path / "one" / "features" / name, tmp_path / "two" / "features" / name)

    # Another look.
    other = assign(PIPELINE, ["frozen.stride=16"])
    described(run_of(tmp_path / "three", open_data(f"folder:{data}"), tmp_path / "one", pipeline=other))
    assert made[-2:] == [3, 2]


def test_too_little_space_is_said_before_anything_is_computed(folder_data: Path, tmp_path: Path) -> None:
    def begun(gigabytes: str) -> Run:
        pipeline = assign(PIPELINE, [f"frozen.gigabytes={gigabytes}"])
        return run_of(tmp_path / "run", open_data(f"folder:{folder_data}"), pipeline=pipeline)

    said = r"frozen\.gigabytes: expected features that fit into 0\.00001 GB, got 12 images that may take (0\.\d+) GB"
    run = begun("1e-5")
    with pytest.raises(InputError, match=said) as told:
        described(run)
    run.out.close()
    assert names(tmp_path / "run") == set()
    found = re.search(said, str(told.value))
    assert found is not None and float(found[1]) > 1e-5
    described(begun(found[1]))  # the number that the message names is enough
    assert len(names(tmp_path / "run")) == 12


def test_files_of_unfinished_and_of_damaged_stages_are_taken_over(
    make_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = f"folder:{make_folder(tmp_path / 'data', count=6, side=64)}"
    described(run_of(tmp_path / "one", open_data(data)))
    first, second, *others = sorted((tmp_path / "one" / "features").glob("*.safetensors"))
    (tmp_path / "two").mkdir()
    shutil.copytree(tmp_path / "one" / "features", tmp_path / "two" / "features")  # a stage that was stopped
    record = tmp_path / "two" / "features" / "stage.json"
    record.write_text(json.dumps({"key": json.loads(record.read_text())["key"], "state": "begun", "seconds": 1}))
    for path in others:
        (tmp_path / "two" / "features" / path.name).unlink()
    first.write_bytes(first.read_bytes()[:-1] + b"!")
    second.write_bytes(b"!")

    looked: list[int] = []
    make = Share.make
    monkeypatch.setattr(
        Share, "make", lambda self, indices, **more: looked.extend(indices) or make(self, indices, **more)
    )
    described(run_of(tmp_path / "three", open_data(data), tmp_path / "two", tmp_path / "one"))
    assert not looked and len(names(tmp_path / "three")) == 6
    for path, source in ((first, "two"), (second, "two"), *((path, "one") for path in others)):
        assert (tmp_path / "three" / "features" / path.name).samefile(tmp_path / source / "features" / path.name)

    # A damaged file is made again, and no other.
    described(run_of(tmp_path / "one", open_data(data)))
    assert len(looked) == 2 and first.read_bytes() == (tmp_path / "two" / "features" / first.name).read_bytes()


def test_a_disk_without_room_for_features_is_told_first(
    folder_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = lambda path: SimpleNamespace(free=1000)  # noqa: E731
    monkeypatch.setattr("deft.stages.features.shutil.disk_usage", full)
    with pytest.raises(InputError, match=r"run: features of the images may take .* the disk has 0 MB free"):
        described(run_of(tmp_path / "run", open_data(f"folder:{folder_data}")))
    assert names(tmp_path / "run") == set()
    monkeypatch.undo()
    described(run_of(tmp_path / "run", open_data(f"folder:{folder_data}")))
    monkeypatch.setattr("deft.stages.features.shutil.disk_usage", full)
    described(run_of(tmp_path / "other", open_data(f"folder:{folder_data}"), tmp_path / "run"))  # all are there
    assert len(names(tmp_path / "other")) == 12
