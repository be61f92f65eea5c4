from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from deft.artifacts import (
    CONTENTS,
    HELD_OUT_SEEDS,
    MADE,
    RunFolder,
    Stage,
    atomic_write,
    made_files,
    read_json,
    stage_records,
)
from deft.contracts import InputError


def test_a_stage_keeps_what_was_made_and_forgets_what_was_made_of_something_else(tmp_path: Path) -> None:
    stage = Stage("seeds", tmp_path / "seeds", "one")
    with pytest.raises(RuntimeError), stage.making():
        (stage.folder / "a.npz").write_text("half")
        raise RuntimeError
    assert not stage.done
    with stage.making() as notes:
        assert (stage.folder / "a.npz").exists()
        notes["images"] = 3
    assert stage.done
    assert stage.record["images"] == 3
    other = Stage("seeds", tmp_path / "seeds", "two")
    assert not other.done
    with other.making():
        assert not (other.folder / "a.npz").exists()


def test_a_stage_is_taken_over_only_under_its_key(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = Stage("seeds", tmp_path / "theirs" / "seeds", "one")
    with done.making():
        (done.folder / "a.npz").write_text("x")
    assert not Stage("seeds", tmp_path / "mine" / "seeds", "two").adopt((tmp_path / "theirs",))
    mine = Stage("seeds", tmp_path / "mine" / "seeds", "one")
    assert mine.adopt((tmp_path / "nowhere", tmp_path / "theirs"))
    assert mine.done
    assert (mine.folder / "a.npz").read_text() == "x"


def test_what_is_taken_over_is_stored_once_and_changed_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = Stage("seeds", tmp_path / "theirs" / "seeds", "one")
    with done.making():
        (done.folder / "a.npz").write_text("x")
        (done.folder / ".part-1").write_text("half")
    mine = Stage("seeds", tmp_path / "mine" / "seeds", "one")
    assert mine.adopt((tmp_path / "theirs",))
    assert sorted(path.name for path in mine.folder.iterdir()) == ["a.npz", "stage.json"]
    assert (mine.folder / "a.npz").samefile(done.folder / "a.npz")
    atomic_write(mine.folder / "a.npz", b"y")
    assert (done.folder / "a.npz").read_text() == "x"


def test_a_disk_without_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError("no links here")

    (tmp_path / "mine").mkdir()
    done = Stage("seeds", tmp_path / "theirs" / "seeds", "one")
    with done.making():
        (done.folder / "a.npz").write_text("x")
    monkeypatch.setattr("deft.artifacts.stage.os.link", refuse)
    mine = Stage("seeds", tmp_path / "mine" / "seeds", "one")
    assert mine.adopt((tmp_path / "theirs",))
    assert (mine.folder / "a.npz").read_text() == "x"
    assert not (mine.folder / "a.npz").samefile(done.folder / "a.npz")


def test_old_leftovers_of_kills_are_removed_and_new_ones_are_not(tmp_path: Path) -> None:
    stage = Stage("seeds", tmp_path / "seeds", "key")
    with stage.making():
        for name in ("old", "new"):
            (stage.folder / f".part-{name}").mkdir()
            (stage.folder / f".part-{name}-file").write_text("half")
        for path in stage.folder.glob(".part-old*"):
            os.utime(path, (0, 0))
    with stage.making():
        assert sorted(path.name for path in stage.folder.glob(".part-*")) == [".part-new", ".part-new-file"]


def finished(folder: Path, files: dict[str, str]) -> Stage:
    """A finished stage with these files."""
    stage = Stage(folder.name, folder, "key")
    with stage.making():
        for name, content in files.items():
            atomic_write(folder / name, content.encode())
    return stage


def test_a_damaged_file_of_a_stage_is_made_again_and_the_others_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = finished(tmp_path / "seeds", {"train/a.npz": "a", "train/b.npz": "b"})
    stage.verify()
    assert stage.done and not capsys.readouterr().err
    (stage.folder / "train" / "a.npz").write_text("garbage")
    stage.verify()
    assert not stage.done
    assert capsys.readouterr().err == (
        f"{stage.folder}/train/a.npz: damaged or replaced: its content is not what was made; the stage seeds is made "
        "again\n"
    )
    with stage.making():
        assert [path.name for path in (stage.folder / "train").iterdir()] == ["b.npz"]
        atomic_write(stage.folder / "train" / "a.npz", b"a")
    assert stage.done and not stage.damages()


@pytest.mark.parametrize("name", ["model.safetensors", "history.json"])
def test_a_damaged_training_is_made_again_whole(name: str, tmp_path: Path) -> None:
    stage = finished(tmp_path / "classifier", {"model.safetensors": "weights", "history.json": "{}"})
    (stage.folder / name).write_text("garbage")
    stage.verify()
    assert not stage.done and [path.name for path in stage.folder.iterdir()] == ["stage.json"]


def test_a_stage_without_hashes_is_accepted(tmp_path: Path) -> None:
    stage = finished(tmp_path / "seeds", {"a.npz": "a"})
    record = read_json(stage.folder / "stage.json")
    del record["files"]
    atomic_write(stage.folder / "stage.json", json.dumps(record).encode())
    (stage.folder / "a.npz").write_text("b")
    stage.verify()
    assert stage.done and stage.damages() == []


def test_a_damaged_stage_is_not_taken_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = finished(tmp_path / "theirs" / "seeds", {"a.npz": "a"})
    (theirs.folder / "a.npz").unlink()
    (tmp_path / "mine").mkdir()
    assert not Stage("seeds", tmp_path / "mine" / "seeds", "key").adopt((tmp_path / "theirs",))
    assert "a.npz: missing; the stage seeds is not taken over from" in capsys.readouterr().err


def test_files_that_no_stage_made_are_not_removed(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "drawn.png").write_text("mine")
    words = r"masks: expected a folder that deft made, .*; move it away"
    with pytest.raises(InputError, match=words), Stage("masks", tmp_path / "masks", "key").making():
        pass
    assert (tmp_path / "masks" / "drawn.png").read_text() == "mine"


def test_a_stage_in_the_folder_of_another_stands_for_itself(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", {"a": 1})
    outer, inner = folder.stage("seeds", "one"), folder.stage(HELD_OUT_SEEDS, "two")
    with outer.making():
        atomic_write(outer.folder / "train" / "a.npz", b"a")
    with inner.making():
        atomic_write(inner.folder / "b.npz", b"b")
    assert made_files(outer.folder) == ["train/a.npz"] and made_files(inner.folder) == ["b.npz"]
    assert stage_records(folder.path) == [outer.folder / "stage.json", inner.folder / "stage.json"]
    inner.folder.joinpath("b.npz").write_bytes(b"x")
    assert outer.damages() == [] and len(inner.damages()) == 1
    atomic_write(folder.path / CONTENTS, b"{}")
    folder.seal()
    assert read_json(folder.path / MADE).keys() == {"run.json", "seeds/stage.json", "seeds/val/stage.json"}
    with folder.stage("seeds", "three").making():
        pass
    assert not inner.folder.exists()  # what it was made of is gone
    folder.close()


@pytest.mark.parametrize("inside", ["", "train/"])
@pytest.mark.parametrize(
    "name", ["../../photo.jpg", "{}/photo.jpg", "x/../../../photo.jpg", "..", ".", "", "a\0", "x\\..\\y", "C:x"]
)
def test_names_outside_in_an_edited_record_are_told_and_nothing_is_removed(
    name: str, inside: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"photo")
    stage = finished(tmp_path / "run" / "seeds", {f"{inside}a.npz": "a"})
    record = read_json(stage.folder / "stage.json")
    record["files"][name.format(tmp_path)] = "0" * 64
    atomic_write(stage.folder / "stage.json", json.dumps(record).encode())
    assert [damage.path for damage in stage.damages()] == [stage.folder]
    stage.verify()
    assert "which is no file in it; the stage seeds is made again" in capsys.readouterr().err
    assert photo.read_bytes() == b"photo" and (stage.folder / f"{inside}a.npz").read_text() == "a"
    assert not stage.done


def test_a_folder_that_is_a_link_is_not_followed_to_remove_what_is_damaged(tmp_path: Path) -> None:
    stage = finished(tmp_path / "run" / "seeds", {"train/a.npz": "a"})
    shutil.rmtree(stage.folder / "train")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.npz").write_text("the user's")
    (stage.folder / "train").symlink_to(tmp_path / "photos")
    stage.verify()
    assert (tmp_path / "photos" / "a.npz").read_text() == "the user's"


@pytest.mark.parametrize("seconds", ["long", None, [1], float("nan"), -1, 1e300])
def test_seconds_that_are_none_count_as_none(seconds: object, tmp_path: Path) -> None:
    stage = finished(tmp_path / "seeds", {"a.npz": "a"})
    atomic_write(
        stage.folder / "stage.json", json.dumps({**read_json(stage.folder / "stage.json"), "seconds": seconds}).encode()
    )
    with stage.making():
        pass
    assert 0 <= stage.record["seconds"] < 60
