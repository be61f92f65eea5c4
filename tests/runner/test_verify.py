from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deft.artifacts import RunFolder, atomic_write, save_mask, write_json
from deft.artifacts.review import Review
from deft.cli.main import main
from deft.contracts import InputError
from deft.runner.verify import refuse_damaged, stages, verify

DATA = {"given": "demo:", "images": 1, "held out": 0, "classes": ["cow"]}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run folder with a trained stage, a stage of files and an earlier round."""
    folder = RunFolder(tmp_path / "run", {"recipe": "cam", "settings": {}, "data": DATA})
    for inner in (folder, RunFolder(folder.path / "round-0", {"recipe": "cam", "settings": {}, "data": DATA})):
        with inner.stage("classifier", "key of classifier").making():
            atomic_write(inner.path / "classifier" / "model.safetensors", b"weights")
        with inner.stage("masks", "key of masks").making():
            for name in ("a", "b"):
                save_mask(inner.path / "masks" / "sub" / f"{name}.png", np.zeros((2, 2), np.uint8), "key of masks")
    for name in ("scores.json", "report.html"):
        atomic_write(folder.path / name, b"{}")
    folder.seal()
    folder.close()
    return folder.path


def test_a_finished_run_is_whole(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = verify(run)
    assert (found.wrong, found.unknown) == ((), ())
    assert main(["verify", str(run)]) == 0
    assert capsys.readouterr().out == f"{found.files} files compared, no faults\n"
    refuse_damaged(run)


def linked(path: Path) -> None:
    shutil.copy(path, path.parent.parent / "copy")
    path.unlink()
    path.symlink_to(path.parent.parent / "copy")


CHANGES: dict[str, Callable[[Path], object]] = {
    "flipped": lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "linked": linked,
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}
FILES = ["classifier/model.safetensors", "masks/sub/a.png", "round-0/masks/sub/b.png", "scores.json", "report.html"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_named(name: str, change: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    CHANGES[change](run / name)
    assert main(["verify", str(run)]) == 2
    said = capsys.readouterr().out
    assert f"{run / name}: " in said and "Traceback" not in said
    if "/" in name:
        with pytest.raises(InputError, match=f"{name}: .*\n.*makes again what is damaged"):
            refuse_damaged(run)


@pytest.mark.parametrize("name", ["notes.txt", "classifier/x.png", "masks/sub/c.png", "drawings/a.png", "extra.json"])
def test_a_foreign_file_is_named(name: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text("mine")
    assert main(["verify", str(run)]) == 2
    assert "foreign" in (said := capsys.readouterr().out) and name.split("/")[0] in said
    refuse_damaged(run)


def test_a_review_disturbs_neither_verifying_nor_the_folder_of_the_run(run: Path) -> None:
    before = verify(run)
    Review(run, ["cat"]).write("sub/a", np.ones((2, 2), np.uint8), "accepted")
    assert verify(run) == before
    refuse_damaged(run)
    Review(run / "round-0", ["cat"]).write("sub/a", np.ones((2, 2), np.uint8), "accepted")  # no round has a review
    assert [damage.path for damage in verify(run).wrong] == [run / "round-0" / "review"]


def test_what_a_later_command_made_of_a_stage_is_not_foreign(run: Path) -> None:
    save_mask(run / "masks" / "c.png", np.zeros((2, 2), np.uint8), "key of masks")
    write_json(run / "masks" / "statistics.json", {"made_by": "key of masks"})
    assert verify(run).wrong == ()
    save_mask(run / "masks" / "d.png", np.zeros((2, 2), np.uint8), "another key")
    assert [damage.path.name for damage in verify(run).wrong] == ["d.png"]


def test_an_edited_record_of_a_stage_is_found(run: Path) -> None:
    path = run / "masks" / "stage.json"
    path.write_text(path.read_text().replace("key of masks", "other key"))
    assert [damage.path for damage in verify(run).wrong] == [path]


def test_a_stage_that_is_not_finished_is_named(run: Path) -> None:
    with pytest.raises(RuntimeError), RunFolder(run, {}, own=False).stage("seeds", "key").making():
        raise RuntimeError
    assert [str(damage) for damage in verify(run).wrong] == [
        f"{run / 'seeds'}: not finished; repeat the command that made the run"
    ]


def test_a_run_of_an_earlier_version_has_nothing_to_compare(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "made.json").unlink()
    for stage in [*stages(run), *stages(run / "round-0")]:
        record = json.loads((stage.folder / "stage.json").read_text())
        del record["files"]
        write_json(stage.folder / "stage.json", record)
        (stage.folder / "more.txt").touch()
    assert main(["verify", str(run)]) == 0
    assert "without hashes, as in earlier versions: classifier, masks, round-0/classifier" in capsys.readouterr().out
    refuse_damaged(run)


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1}', '{"key": 3}'])
def test_records_that_are_none_are_told(text: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("masks/stage.json", "made.json"):
        before = (run / name).read_text()
        (run / name).write_text(text)
        assert main(["verify", str(run)]) == 2
        assert "Traceback" not in capsys.readouterr().err
        (run / name).write_text(before)


def test_no_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path)]) == 2
    assert "found no run.json" in capsys.readouterr().err
