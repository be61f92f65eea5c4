"""A dataset of a user's file, through every verb that takes data, without a Python session."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deft.artifacts import read_json, write_json
from deft.cli.main import main

FILE = """from deft import ImageDataset, Splits, open_data


def part(data, side):
    return ImageDataset(
        data.classes, data.labels, lambda i: data[i].image, mask=lambda i: data[i].mask, version=str(side)
    )


def drawn(count: int = 8, side: int = 64) -> Splits:
    demo = open_data(f"demo:train={count},val=2,size={side}")
    return Splits(part(demo.train, side), part(demo.val, side))
"""
SETTINGS = ["backbone=test_resnet", "weights=none", "segment=none", "seeds.scales=(1.0,)"]
SETTINGS += [f"classifier.plan.{item}" for item in ("min_steps=2", "epochs=1", "batch=4", "workers=0")]
TINY = [word for item in SETTINGS for word in ("--set", item)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "my_data.py"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def done(file: Path) -> Path:
    out = file.parent / "run"
    assert main(["run", "cam", "--data", f"{file}:drawn?count=6", "--out", str(out), *TINY]) == 0
    return out


def test_the_record_names_it_with_the_digest_of_its_code(done: Path, file: Path) -> None:
    data = read_json(done / "run.json")["data"]
    assert data["given"] == f"{file}:drawn?count=6"
    assert len(data["code"]) == 12
    assert (data["images"], data["held out"]) == (6, 2)
    assert len(list((done / "masks").glob("image_*.png"))) == 6


def test_it_is_reported_and_tuned_when_named(done: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = f"{file}:drawn?count=6"
    (done / "report.html").unlink()
    assert main(["report", str(done), "--data", data]) == 0
    assert (done / "report.html").exists()
    assert main(["tune", str(done), "--most", "5", "--data", data]) == 0
    assert "chosen on 5 masks" in capsys.readouterr().out
    for verb in ("report", "tune"):
        assert main([verb, str(done), "--data", data.replace("count=6", "count=8")]) == 2
        assert "expected the data of the run, with images 6, got 8" in capsys.readouterr().err


def test_a_run_folder_alone_runs_no_file_that_it_names(
    done: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = shutil.copytree(done, tmp_path / "given")
    evil, left = tmp_path / "evil.py", tmp_path / "left"
    evil.write_text(f"open({str(left)!r}, 'w').close()\n{FILE}")
    record = read_json(given / "run.json")
    record["data"]["given"] = f"{evil}:drawn?count=6"
    write_json(given / "run.json", record)
    for words in (["report", str(given)], ["tune", str(given)]):
        assert main(words) == 2
        assert f"if you trust that file, name it with --data {evil}:drawn?count=6" in capsys.readouterr().err
    assert main(["report", str(given), "--data", f"{evil}:drawn?count=6"]) == 2
    assert "expected the Python file that the run was made with, got a changed one" in capsys.readouterr().err
    assert not left.exists()


def test_other_code_needs_another_folder(done: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "cam", "--data", f"{file}:drawn?count=6", "--out", str(done), *TINY]
    assert main(words) == 0
    file.write_text(FILE + "# changed\n")
    try:
        assert main(words) == 2
        assert "  data.code: " in capsys.readouterr().err
    finally:
        file.write_text(FILE)
    assert main(["run", "cam", "--data", f"{file}:drawn?count=6,side=96", "--out", str(done), *TINY]) == 2
    assert "  data.fingerprint: " in capsys.readouterr().err


def test_a_study_is_made_on_it(file: Path, tmp_path: Path) -> None:
    words = ["study", "localisation", "--systems", "cam", "--seeds", "1", "--data", f"{file}:drawn?count=6"]
    assert main([*words, "--out", str(tmp_path), *TINY]) == 0
    assert f"`{file}:drawn?count=6`" in (tmp_path / "localisation.md").read_text()


def test_readers_in_other_processes_read_it(file: Path, tmp_path: Path) -> None:
    settings = [word.replace("workers=0", "workers=2") for word in TINY]
    assert main(["run", "cam", "--data", f"{file}:drawn", "--out", str(tmp_path / "run"), *settings]) == 0
    assert len(list((tmp_path / "run" / "masks").glob("image_*.png"))) == 8
