from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deft.contracts import InputError
from deft.engine import worklist
from deft.engine.worklist import WorkList


def listed(stage: Path, images: int) -> WorkList:
    (stage / "train").mkdir(parents=True, exist_ok=True)
    return WorkList(stage / "claims-train", [stage / "train" / f"{index}.txt" for index in range(images)], "key")


def test_buckets_depend_on_file_names_alone(tmp_path: Path) -> None:
    here, there = listed(tmp_path / "a" / "seeds", 100), listed(tmp_path / "mounted" / "elsewhere" / "seeds", 100)
    assert here.buckets == 13
    for index in range(100):
        digest = hashlib.sha256(f"train/{index}.txt".encode()).hexdigest()
        assert here.bucket(index) == there.bucket(index) == int(digest[:16], 16) % 13
    assert {WorkList(tmp_path, [Path("x")] * images).buckets for images in (0, 1, 8)} == {1}
    assert WorkList(tmp_path, [Path("x")] * 10_000_000).buckets == worklist.MOST_BUCKETS


def test_missing_are_the_images_without_an_output_file(tmp_path: Path) -> None:
    todo = listed(tmp_path / "seeds", 6)
    for index in (0, 4):
        todo.paths[index].write_text("")
    assert todo.missing() == [1, 2, 3, 5]
    elsewhere = WorkList(todo.folder, [tmp_path / "nowhere" / "0.txt", todo.paths[0]])
    assert elsewhere.missing() == [0]


def test_a_helper_begins_no_list(tmp_path: Path) -> None:
    todo = listed(tmp_path / "seeds", 6)
    helper = WorkList(todo.folder, todo.paths, "key", begin=False)
    assert not helper.open() and not todo.folder.exists()
    assert todo.open() and helper.open()
    todo.clear()
    assert not todo.is_open() and not todo.folder.exists()


def test_a_list_of_other_images_is_refused(tmp_path: Path) -> None:
    todo = listed(tmp_path / "seeds", 30)
    assert not todo.is_open()
    todo.open()
    assert todo.is_open()
    for other in (WorkList(todo.folder, todo.paths[1:], "key"), WorkList(todo.folder, todo.paths, "another")):
        with pytest.raises(InputError, match="open the same data"):
            other.is_open()
