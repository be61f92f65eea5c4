from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from deft.artifacts import (
    RunFolder,
    atomic_write,
    read_json,
    read_run,
    write_json,
)
from deft.artifacts.folder import discard, is_as_made
from deft.contracts import InputError
from deft.engine.features import Frozen
from deft.predict.masks import network_file
from deft.runner.rewrite import rewrite_report
from deft.runner.tune import tune


def test_a_run_that_just_begins_elsewhere_is_no_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / ".part-123").write_text("{")
    RunFolder(tmp_path, {"a": 1}).close()
    assert read_json(tmp_path / "run.json") == {"a": 1}
    assert (tmp_path / ".part-123").read_text() == "{"


def test_other_settings_are_refused_with_what_differs(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run", {"settings": {"lr": 0.3}}).close()
    RunFolder(tmp_path / "run", {"settings": {"lr": 0.1, "seed": 0}}).close()  # nothing was made: the folder is free
    atomic_write(tmp_path / "run" / "seeds" / "train" / "a.npz", b"work")
    with pytest.raises(InputError, match=r"settings.lr: 0.1 in the folder, 0.2 now"):
        RunFolder(tmp_path / "run", {"settings": {"lr": 0.2, "seed": 0}})
    RunFolder(tmp_path / "run", {"settings": {"lr": 0.1, "seed": 0}}).close()


def test_an_empty_round_does_not_occupy_the_run_it_is_in(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run", {"settings": {"lr": 0.3}}).close()
    RunFolder(tmp_path / "run" / "round-0", {"settings": {"lr": 0.3}}).close()
    RunFolder(tmp_path / "run", {"settings": {"lr": 0.1}}).close()
    atomic_write(tmp_path / "run" / "round-0" / "seeds" / "train" / "a.npz", b"work")
    with pytest.raises(InputError, match=r"settings.lr: 0.1 in the folder, 0.2 now"):
        RunFolder(tmp_path / "run", {"settings": {"lr": 0.2}})


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("mine")
    with pytest.raises(InputError, match="empty folder or an earlier run"):
        RunFolder(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_small_disk_is_told_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make room"):
        RunFolder(tmp_path / "run", {}, needed_bytes=2**62)


def test_a_helper_locks_and_writes_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", {"a": 1})
    before = sorted(tmp_path.rglob("*"))
    RunFolder(tmp_path / "run", {"a": 2}, own=False).close()
    RunFolder(tmp_path / "elsewhere", {}, own=False).close()
    assert sorted(tmp_path.rglob("*")) == before
    run.close()


def test_the_record_of_a_run_is_read_where_there_is_one(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run", {"recipe": "cam"}).close()
    assert read_run(tmp_path / "run") == {"recipe": "cam"}
    with pytest.raises(InputError, match=r"found no run\.json in it; give the folder deft run wrote"):
        read_run(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    "record", [{"name": "other tool"}, {"settings": 3, "recipe": "a", "data": {}}, ["a"], {"recipe": "a", "data": {}}]
)
def test_a_run_of_another_tool_is_no_run_of_ours(record: object, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(record))
    (tmp_path / "masks").mkdir()
    with pytest.raises(InputError, match=r"did not write|other JSON"):
        RunFolder(tmp_path, {"recipe": "cam", "settings": {}, "data": {}})
    assert json.loads((tmp_path / "run.json").read_text()) == record
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks", "run.json"]


@pytest.mark.parametrize("name", ["lock", "lock.held", "masks", "seeds/train", "run.json"])
def test_links_in_a_run_folder_are_never_followed(name: str, tmp_path: Path) -> None:
    RunFolder(tmp_path / "run", {}).close()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "a").write_text("{}")
    (tmp_path / "run" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "run" / name).unlink(missing_ok=True)
    (tmp_path / "run" / name).symlink_to(theirs / "a" if "o" in name or "." in name else theirs)
    with pytest.raises(InputError, match=f"run/{name}: .* got a link to "):
        RunFolder(tmp_path / "run", {})
    assert {path.name: path.read_text() for path in theirs.iterdir()} == {"a": "{}"}


def test_places_and_held_out_images_do_not_bind_and_are_written_again(tmp_path: Path) -> None:
    data = {"given": "folder:a", "images": 3, "held out": 1, "fingerprint": "f", "fingerprint of held out": "g"}
    RunFolder(tmp_path / "run", {"data": data, "versions": {"torch": "1"}}).close()
    atomic_write(tmp_path / "run" / "seeds" / "train" / "a.npz", b"work")
    other = {**data, "given": "folder:b", "held out": 2, "fingerprint of held out": "h"}
    RunFolder(tmp_path / "run", {"data": other, "versions": {"torch": "2"}}).close()
    assert read_json(tmp_path / "run" / "run.json") == {"data": other, "versions": {"torch": "1"}}
    for name, value in (("images", 4), ("fingerprint", "x")):
        with pytest.raises(InputError, match=f"data.{name}: "):
            RunFolder(tmp_path / "run", {"data": {**other, name: value}})
    with pytest.raises(InputError, match="with other settings:\n  other images\nname another"):
        RunFolder(tmp_path / "run", {"data": {**other, "fingerprint": "x"}}, told={"data.fingerprint": "other images"})


def test_how_much_space_features_may_take_does_not_bind_and_is_written_again(tmp_path: Path) -> None:
    def opened(gigabytes: float, radius: int = 5) -> None:
        settings = {"frozen": Frozen(gigabytes=gigabytes, radius=radius)}
        RunFolder(tmp_path / "run", {"settings": settings}).close()

    opened(1)
    atomic_write(tmp_path / "run" / "features" / "a.safetensors", b"work")
    opened(2)
    assert read_json(tmp_path / "run" / "run.json")["settings"]["frozen"]["gigabytes"] == 2
    with pytest.raises(InputError, match=r"settings\.frozen\.radius: 5 in the folder, 7 now"):
        opened(2, radius=7)


def test_a_file_is_as_made_while_it_has_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text("{}")
    assert not is_as_made(path)  # nothing was kept of it
    (tmp_path / "made.json").write_text(json.dumps({"study.json": hashlib.sha256(b"{}").hexdigest()}))
    assert is_as_made(path)
    path.write_text("[]")
    assert not is_as_made(path)
    (tmp_path / "made.json").write_text("[")
    assert not is_as_made(path)


def test_a_folder_of_runs_names_the_newest(tmp_path: Path) -> None:
    """``deft quick`` writes runs/quick/1, runs/quick/2 and so on: the folder above is an easy slip."""
    with pytest.raises(InputError, match=r"found no run\.json in it; give the folder deft run wrote"):
        read_run(tmp_path)
    with pytest.raises(InputError, match="give the folder deft run wrote"):
        read_run(tmp_path / "nowhere")
    for number, when in (("1", 1000), ("10", 3000), ("2", 2000)):
        write_json(tmp_path / number / "run.json", {})
        os.utime(tmp_path / number / "run.json", (when, when))
    (tmp_path / "notes.txt").write_text("mine")
    said = re.escape(f"it holds runs, of which {tmp_path / '10'} is the newest: give one of them")
    with pytest.raises(InputError, match=said):
        read_run(tmp_path)
    for call in (lambda: rewrite_report(tmp_path), lambda: tune(tmp_path), lambda: network_file(tmp_path)):
        with pytest.raises(InputError, match=said):
            call()


def test_a_folder_in_which_nothing_was_made_is_discarded(tmp_path: Path) -> None:
    run = tmp_path / "run"
    begun = RunFolder(run, {"a": 1})
    for name in ("features/stage.json", "corrected/masks/a.png", "review/review.json", "contents.json", ".part-1/a"):
        atomic_write(run / name, b"{}")
    discard(run)
    assert (run / "features").exists()  # it is held
    begun.close()
    discard(run)
    assert not run.exists()
    discard(run)
    run.mkdir()
    discard(run)
    assert not run.exists()


@pytest.mark.parametrize("name", ["features/a.safetensors", "notes.txt", "seeds/val/a.npz"])
def test_a_folder_with_work_or_other_files_is_not_discarded(name: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for run in (tmp_path / "run", tmp_path / "other"):
        if run.name == "run":
            RunFolder(run, {"a": 1}).close()
        atomic_write(run / name, b"work")
        before = sorted(run.rglob("*"))
        discard(run)
        assert sorted(run.rglob("*")) == before
