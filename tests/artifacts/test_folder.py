from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from deft.artifacts import (
    CONTENTS,
    HELD_OUT_SEEDS,
    MADE,
    InUseError,
    RunFolder,
    Stage,
    atomic_write,
    claim,
    made_files,
    read_json,
    read_run,
    stage_records,
)
from deft.artifacts.folder import is_as_made
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
    monkeypatch.setattr("deft.artifacts.folder.os.link", refuse)
    mine = Stage("seeds", tmp_path / "mine" / "seeds", "one")
    assert mine.adopt((tmp_path / "theirs",))
    assert (mine.folder / "a.npz").read_text() == "x"
    assert not (mine.folder / "a.npz").samefile(done.folder / "a.npz")


def test_a_claim_is_held_by_one(tmp_path: Path) -> None:
    with claim(tmp_path / "a.lock"), pytest.raises(InUseError, match="in use by process"), claim(tmp_path / "a.lock"):
        pass
    with claim(tmp_path / "a.lock"):
        pass


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


def test_a_second_process_is_refused_and_the_first_unharmed(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run", {"a": 1})
    code = "from deft.artifacts import RunFolder\nfrom pathlib import Path\n"
    code += f"RunFolder(Path({str(tmp_path / 'run')!r}), {{'a': 1}})"
    second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert second.returncode != 0
    assert f"in use by process {os.getpid()}" in second.stderr
    first.close()
    third = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert third.returncode == 0, third.stderr


def test_a_helper_locks_and_writes_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", {"a": 1})
    before = sorted(tmp_path.rglob("*"))
    RunFolder(tmp_path / "run", {"a": 2}, own=False).close()
    RunFolder(tmp_path / "elsewhere", {}, own=False).close()
    assert sorted(tmp_path.rglob("*")) == before
    run.close()


def test_a_forked_reader_does_not_hold_the_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", {})
    told, tell = os.pipe()
    begun, begin = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begin, b".")
        os.read(told, 1)
        os._exit(0)
    try:
        os.read(begun, 1)
        with pytest.raises(InUseError, match=f"in use by process {os.getpid()} "):
            RunFolder(tmp_path / "run", {})
        run.close()
        second = RunFolder(tmp_path / "run", {})
        with pytest.raises(InUseError, match=f"in use by process {os.getpid()} "):
            RunFolder(tmp_path / "run", {})
        second.close()
    finally:
        os.write(tell, b".")
        os.waitpid(child, 0)


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


HOLD = """
import errno, os, sys, time
from pathlib import Path
from deft.artifacts import RunFolder
if sys.argv[2] == "soft":
    import fcntl
    def refuse(*given):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.flock = refuse
run = RunFolder(Path(sys.argv[1]), {})
if sys.argv[2] == "forked" and os.fork() == 0:
    time.sleep(60)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def holder(folder: Path, way: str) -> subprocess.Popen[str]:
    """A process that holds a run folder, in a session of its own with what it forks."""
    command = [sys.executable, "-c", HOLD, str(folder), way]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == f"{process.pid}\n"
    return process


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage that has no locks, for this process."""

    def refuse(*given: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)


@pytest.mark.parametrize("way", ["alone", "forked"])
def test_a_killed_process_holds_nothing_nor_does_what_it_forked(tmp_path: Path, way: str) -> None:
    process = holder(tmp_path / "run", way)
    try:
        with pytest.raises(InUseError, match=f"in use by process {process.pid} on "):
            RunFolder(tmp_path / "run", {})
        process.kill()
        process.wait()
        RunFolder(tmp_path / "run", {}).close()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it forked
        process.communicate()


def test_a_lock_says_who_holds_it(tmp_path: Path) -> None:
    with claim(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}"


@pytest.mark.usefixtures("no_locks")
def test_storage_without_locks_gets_a_file_that_a_killed_process_leaves_for_the_next(tmp_path: Path) -> None:
    process = holder(tmp_path / "run", "soft")
    try:
        with pytest.raises(InUseError, match=f"in use by process {process.pid} on .*lock.held$"):
            RunFolder(tmp_path / "run", {})
    finally:
        process.kill()
        process.communicate()
    assert (tmp_path / "run" / "lock.held").exists()
    run = RunFolder(tmp_path / "run", {"a": 1})  # the killed run made nothing, so that the folder is free
    with pytest.raises(InUseError, match=f"in use by process {os.getpid()} on "):
        RunFolder(tmp_path / "run", {"a": 1})
    run.close()
    assert not (tmp_path / "run" / "lock.held").exists()


@pytest.mark.usefixtures("no_locks")
def test_a_file_that_a_process_of_another_machine_left_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock.held").write_text("12\nelsewhere\n")
    with pytest.raises(InUseError, match=r"in use by process 12 on elsewhere; .* remove .*lock\.held"):
        RunFolder(tmp_path, {})
    (tmp_path / "lock.held").unlink()
    RunFolder(tmp_path, {}).close()


def test_a_fault_of_the_disk_is_not_taken_for_a_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("fcntl.flock", broken)
    with pytest.raises(OSError, match="Input/output"), claim(tmp_path / "lock"):
        pass


def test_the_record_of_a_run_is_read_where_there_is_one(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run", {"recipe": "cam"}).close()
    assert read_run(tmp_path / "run") == {"recipe": "cam"}
    with pytest.raises(InputError, match=r"found no run\.json in it; give the folder deft run wrote"):
        read_run(tmp_path / "elsewhere")


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


@pytest.mark.parametrize("content", ["my notes", "processes 1 and 2", "x" * 5000])
def test_a_lock_that_is_somebodys_file_is_not_emptied(content: str, tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(content)
    with pytest.raises(InputError, match="expected a lock of deft, got a file with other content"):
        RunFolder(tmp_path, {})
    assert (tmp_path / "lock").read_text() == content


def test_a_pipe_is_no_lock(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(InputError, match="got a named pipe"):
        RunFolder(tmp_path, {})


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("name", ["lock", "lock.held"])
@pytest.mark.parametrize(("odd", "told"), [(os.mkfifo, "got a named pipe"), (os.mkdir, "got a folder")])
def test_what_stands_where_a_lock_belongs_is_told_without_waiting(
    name: str, odd: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    odd(tmp_path / name)
    with pytest.raises(InputError, match=told), claim(tmp_path / "lock"):
        pass


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
