from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.artifacts import InUseError, RunFolder, claim, write_json
from deft.cli.arguments import STUDIES_HELP
from deft.cli.main import main
from deft.contracts import InputError
from deft.recipes import RECIPES, irn, published
from deft.studies import STUDIES
from deft.studies.localisation import localisation
from deft.studies.masks import masks
from deft.studies.outcome import Outcome, Table
from deft.studies.paired import RECORD
from deft.studies.rows import Finding, Row, system_rows
from deft.studies.runner import StudyRunner

TINY = (
    "backbone=test_resnet",
    "weights=none",
    *(f"classifier.plan.{item}" for item in ("min_steps=6", "epochs=2", "batch=4", "workers=0")),
)
DEFT = ("classifier.head.swap_epoch=2",)
REFINE = (
    *(f"refine.plan.{item}" for item in ("min_steps=2", "epochs=1", "batch=4", "workers=0")),
    *(f"refine.labels.{item}" for item in ("fg=0.02", "bg=0.01", "crf.iterations=0")),
)


def make_runner(data: Path, out: Path, *systems: str) -> StudyRunner:
    settings = TINY + (REFINE if systems != ("cam",) else ()) + (DEFT if "irn_deft" in systems else ())
    return StudyRunner(f"folder:{data}", out, (0, 1), settings, systems, poll=0.05)


def rows(runner: StudyRunner) -> list[Row]:
    return runner.choose(system_rows())


def test_the_runner_chooses_the_rows_asked_for_or_the_default(folder_data: Path, tmp_path: Path) -> None:
    runner = replace(make_runner(folder_data, tmp_path), settings=("irn:seed_threshold=0.5",), systems=("irn", "cam"))
    assert [row.name for row in rows(runner)] == ["irn", "cam"]
    assert rows(runner)[0].pipeline == replace(irn(), seed_threshold=0.5)
    assert rows(replace(runner, published=True, settings=()))[0].pipeline == published(irn())
    runner = replace(runner, systems=(), settings=())
    assert [row.name for row in runner.choose(system_rows(), ("irn_deft", "irn"))] == ["irn_deft", "irn"]
    assert [row.name for row in rows(runner)] == list(RECIPES)


def test_other_settings_make_another_run_folder(folder_data: Path, tmp_path: Path) -> None:
    runner = make_runner(folder_data, tmp_path)
    plain = runner.folder("irn", irn(), 0)
    assert plain.parent == tmp_path / "runs" / "0"
    assert plain == runner.folder("irn", replace(irn(), seed=7), 0)
    assert len({plain, runner.folder("irn", published(irn()), 0), runner.folder("irn", irn(), 1)}) == 3


def compose(findings: list[Finding]) -> Outcome:
    cells = tuple((each.row.name, str(each.seed), str(each.value)) for each in findings)
    return Outcome("test", "Test", (Table("All", ("row", "seed", "value"), cells),))


def note(runner: StudyRunner, made: list[tuple[str, int]]) -> Callable[[Row, int], None]:
    """A ``work`` function that trains nothing and writes a record."""

    def work(row: Row, seed: int) -> None:
        made.append((row.name, seed))
        folder = RunFolder(runner.folder(row.name, row.pipeline, seed), {"row": row.name})
        write_json(folder.path / "note.json", {"made by": seed})
        folder.close()

    return work


@pytest.fixture(scope="module")
def done(folder_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study")
    localisation(make_runner(folder_data, out, "cam", "irn", "irn_deft"))
    return out


def state(out: Path) -> dict[str, tuple[int, int]]:
    files = [path for path in sorted((out / "runs").rglob("*")) if path.is_file() and path.suffix != ".lock"]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files if path.name != "lock"}


def test_rows_with_equal_classifiers_share_one(done: Path) -> None:
    for seed in (0, 1):
        models = sorted((done / "runs" / str(seed)).glob("*/classifier/model.safetensors"))
        assert [path.parts[-3].split("-")[0] for path in models] == ["cam", "irn", "irn_deft"]
        plain, refined, deft = models
        assert plain.read_bytes() == refined.read_bytes() != deft.read_bytes()
        # The recorded seconds are equal too.
        assert (plain.parent / "stage.json").read_text() == (refined.parent / "stage.json").read_text()


def test_the_page_has_all_rows_with_chosen_and_swept_thresholds_in_separate_columns(done: Path) -> None:
    text = (done / "localisation.md").read_text(encoding="utf-8")
    found = json.loads((done / "localisation.json").read_text())
    assert "| irn_deft | 2 |" in text
    assert "| irn_deft vs. irn | 2 |" in text
    assert "| runs | seeds train, auto | auto threshold | seeds train, swept | best threshold |" in text
    assert "seeds train, fixed" not in text  # no row has a number
    assert "- thresholds: chosen from the maps, unless set as numbers" in text
    assert "chosen on the same ground truth that scores it" in text
    assert "- seeds: 0, 1" in text
    assert "`classifier.plan.min_steps=6`" in text
    assert "![Bars of" in text
    assert sorted(path.name for path in done.glob("*.png")) == [
        "localisation-scores.png",
        "localisation-thresholds.png",
    ]
    scores = next((done / "runs" / "1").glob("irn_deft-*/scores.json"))
    number = json.loads(scores.read_text())["train"]["seeds"]["swept"]["miou"]
    assert found["found"]["irn_deft"]["seeds"]["1"]["seeds train, swept"] == number
    assert found["open"] == 0


def test_running_a_finished_study_again_changes_nothing(done: Path, folder_data: Path) -> None:
    before = state(done)
    localisation(make_runner(folder_data, done, "cam", "irn", "irn_deft"))
    assert state(done) == before


def test_another_study_reuses_existing_stages(done: Path, folder_data: Path) -> None:
    before = state(done)
    outcome = masks(replace(make_runner(folder_data, done, "irn"), seeds=(1,)))
    found = outcome.values["irn"]["seeds"]["1"]
    assert 0 <= found["masks train, auto"] <= found["masks train, swept"]
    assert found["masks train, fixed"] is None
    after = state(done)
    assert before.items() <= after.items()
    new = {path for path in after if path not in before}
    assert {inode for path, (inode, _) in after.items() if path in new and "/classifier/" in path} <= {
        inode for inode, _ in before.values()
    }


OWN = """
from dataclasses import dataclass, replace

from deft import recipes


@dataclass(frozen=True)
class Constant:
    background: float = 0.5

    def prepare(self, context):
        return lambda sample, seeds: replace(seeds, maps=seeds.maps * 0 + VALUE)


def recipe():
    return replace(recipes.cam(), refine=Constant())
"""


def test_a_users_file_is_a_row_and_is_made_again_when_it_changes(
    folder_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, runs = tmp_path / "own.py", tmp_path / "out" / "runs" / "0"
    shares = []
    for value in ("0.25", "0.75", "0.25"):  # code, which is no setting, in which alone the runs differ
        path.write_text(OWN.replace("VALUE", value))
        settings = (*TINY, "seed_threshold=0.5", f"{path}:refine.background=0.4")
        runner = StudyRunner(f"folder:{folder_data}", tmp_path / "out", (0,), settings, ("cam", str(path)), poll=0.05)
        rows = masks(runner).values
        assert [row["label"] for row in rows.values()] == ["cam", "own"]
        plain, own = (next(runs.glob(f"{name}-*/run.json")).parent for name in rows)
        # The classifier is one: its recorded seconds are equal too.
        assert len({(run / "classifier" / "stage.json").read_text() for run in (plain, own)}) == 1
        pixels = [np.array(Image.open(mask)).ravel() for mask in sorted((own / "masks").glob("*.png"))]
        shares.append((np.concatenate(pixels) > 0).mean())
    assert shares[0] == shares[2] == 0 < 0.5 < shares[1]
    assert len(list(runs.glob("own*/run.json"))) == 2
    assert "made by other code of the same file" in capsys.readouterr().err


def test_only_missing_records_are_made(folder_data: Path, tmp_path: Path) -> None:
    runner = make_runner(folder_data, tmp_path, "cam", "irn_deft")
    made: list[tuple[str, int]] = []
    runner.survey(rows(runner), note(runner, made), compose, "note.json")
    assert made == [("cam", 0), ("irn_deft", 0), ("cam", 1), ("irn_deft", 1)]
    deft = rows(runner)[1]
    (runner.folder(deft.name, deft.pipeline, 0) / "note.json").unlink()
    outcome = runner.survey(rows(runner), note(runner, made), compose, "note.json")
    assert made[4:] == [("irn_deft", 0)]
    assert outcome.open == 0
    assert "{'made by': 1}" in (tmp_path / "test.md").read_text()


def test_what_is_known_is_shown_without_making_a_run(folder_data: Path, tmp_path: Path) -> None:
    runner = replace(make_runner(folder_data, tmp_path, "cam", "irn_deft"), known_only=True)
    made: list[tuple[str, int]] = []
    first = rows(runner)[0]
    write_json(runner.folder(first.name, first.pipeline, 1) / "note.json", "there")
    outcome = runner.survey(rows(runner), note(runner, made), compose, "note.json")
    assert made == [] and outcome.open == 3
    assert "3 runs are still to be made" in (tmp_path / "test.md").read_text()
    assert "there" in (tmp_path / "test.md").read_text()


def test_a_failing_row_does_not_stop_the_others(folder_data: Path, tmp_path: Path) -> None:
    runner = make_runner(folder_data, tmp_path, "cam", "irn")
    made: list[tuple[str, int]] = []
    well = note(runner, made)

    def work(row: Row, seed: int) -> None:
        if row.name == "cam":
            raise InputError("no confident pixel")
        well(row, seed)

    outcome = runner.survey(rows(runner), work, compose, "note.json")
    assert made == [("irn", 0), ("irn", 1)]
    assert outcome.failures == ("cam, seed 0: no confident pixel", "cam, seed 1: no confident pixel")
    assert "**Failed:** cam, seed 0: no confident pixel" in (tmp_path / "test.md").read_text()


def test_runs_of_another_process_are_skipped_and_then_waited_for(folder_data: Path, tmp_path: Path) -> None:
    runner = make_runner(folder_data, tmp_path, "cam", "irn")
    first = rows(runner)[0]
    theirs = RunFolder(runner.folder(first.name, first.pipeline, 0), {"row": "cam"})
    order: list[tuple[str, int]] = []
    known: list[int] = []

    def finish() -> None:
        while len(order) < 3:
            time.sleep(0.02)
        time.sleep(0.2)
        write_json(theirs.path / "note.json", {"made by": "another"})
        theirs.close()

    def counting(findings: list[Finding]) -> Outcome:
        known.append(sum(each.value is not None for each in findings))
        return compose(findings)

    other = threading.Thread(target=finish)
    other.start()
    own = note(runner, [])

    def work(row: Row, seed: int) -> None:
        own(row, seed)
        order.append((row.name, seed))

    outcome = runner.survey(rows(runner), work, counting, "note.json")
    other.join()
    assert order == [("irn", 0), ("cam", 1), ("irn", 1)]
    assert outcome.open == 0
    assert known[-1] == 4
    assert "another" in (tmp_path / "test.md").read_text()


def test_a_classifier_that_another_process_trains_is_not_trained_twice(folder_data: Path, tmp_path: Path) -> None:
    runner = make_runner(folder_data, tmp_path, "cam", "irn")
    plain, refined = (replace(row, pipeline=replace(row.pipeline, refine=None, segment=None)) for row in rows(runner))
    with runner.run("cam", plain.pipeline, 0), pytest.raises(InUseError), runner.run("cam", plain.pipeline, 0):
        pass
    (lock,) = (tmp_path / "runs" / "0").glob("classifier-*.lock")
    stage = next((tmp_path / "runs" / "0").glob("cam-*/classifier/stage.json"))
    record = json.loads(stage.read_text())
    write_json(stage, {**record, "state": "begun"})
    with claim(lock):
        with pytest.raises(InUseError), runner.run("irn", refined.pipeline, 0):
            pass
        write_json(stage, record)  # a finished classifier can be reused although the other run is still locked
        with runner.run("irn", refined.pipeline, 0) as run:
            assert (run.out.path / "classifier" / "model.safetensors").stat().st_nlink == 2


def test_a_watched_run_trains_its_own_classifier(done: Path, folder_data: Path, tmp_path: Path) -> None:
    runner = make_runner(folder_data, done, "cam")
    pipeline = replace(rows(runner)[0].pipeline, refine=None, segment=None)
    steps: list[int] = []
    with runner.run("cam_watched", pipeline, 0, watch=lambda done, trainee: steps.append(done)) as run:
        watched = run.out.path / "classifier" / "model.safetensors"
        assert watched.stat().st_nlink == 1
        other = runner.folder("cam", pipeline, 0) / "classifier" / "model.safetensors"
        assert watched.read_bytes() == other.read_bytes()
    assert steps[0] == 0
    assert steps[-1] >= 6


def test_the_command_exits_with_2_when_a_run_failed(
    folder_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = StudyRunner.make

    def diverges(self: StudyRunner, row: Row, seed: int) -> None:
        if row.name == "irn":
            raise InputError("refine: the loss of step 3 is nan")
        make(self, row, seed)

    monkeypatch.setattr(StudyRunner, "make", diverges)
    settings = [word for item in TINY for word in ("--set", item)]
    words = ["study", "masks", "--data", f"folder:{folder_data}", "--out", str(tmp_path), "--seeds", "1"]
    assert main([*words, "--systems", "irn", "cam", *settings]) == 2
    captured = capsys.readouterr()
    text = (tmp_path / "masks.md").read_text()
    assert "| cam | 1 |" in text
    assert "deft: failed: irn, seed 0: refine: the loss of step 3 is nan" in captured.err
    assert "| irn | failed |" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["localization"], "did you mean 'localisation'"),
        (["masks", "--seeds", "0"], "--seeds of at least 1"),
        (["masks", "--systems", "irm"], "no system 'irm'"),
        (["masks", "--weights", "nowhere.pth"], "nowhere.pth"),
    ],
)
def test_bad_commands_are_refused_before_anything_is_made(
    words: list[str], message: str, folder_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", *words, "--data", f"folder:{folder_data}", "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_help_names_every_study() -> None:
    named = " ".join(STUDIES_HELP.split()).removesuffix(".").replace(" or ", ", ").split(", ")
    assert [name for name in named if name in STUDIES] == named


@pytest.mark.slow
def test_two_processes_share_the_work_and_a_killed_one_loses_nothing(folder_data: Path, tmp_path: Path) -> None:
    """One process is killed halfway; two others complete the study, and no run is made twice."""
    settings = [word for item in TINY for word in ("--set", item)]
    command = [sys.executable, "-m", "deft", "study", "localisation", "--data", f"folder:{folder_data}"]
    command += ["--out", str(tmp_path), "--seeds", "2", "--systems", "cam", "mixup", *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    for _ in range(1200):
        if any((tmp_path / "runs").glob("*/*/study.json")):
            break
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    done = {path.parent.name for path in (tmp_path / "runs" / "0").glob("*/study.json")}
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    told = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    made = [line for text in told for line in text.splitlines() if line.startswith("made ")]
    assert len(made) == len(set(made)) == 4 - len(done)
    assert "Not finished" not in (tmp_path / "localisation.md").read_text()
    for seed in ("0", "1"):
        assert len(list((tmp_path / "runs" / seed).glob("*/scores.json"))) == 2


@pytest.mark.parametrize("mine", ["masks.json", "masks.md", "masks.html"])
def test_a_page_of_somebody_else_is_not_written_over(
    mine: str, folder_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / mine).write_text('{"study": "of birds"}')
    assert main(["study", "masks", "--data", f"folder:{folder_data}", "--out", str(tmp_path)]) == 2
    assert "expected a new folder or the study's own, got a masks.json, .md or .html" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [mine]


def test_an_edited_record_is_one_message_and_a_bug_keeps_its_traceback(folder_data: Path, tmp_path: Path) -> None:
    runner = make_runner(folder_data, tmp_path / "out")
    row = rows(runner)[0]
    path = runner.folder(row.name, row.pipeline, 0) / RECORD
    path.parent.mkdir(parents=True)
    write_json(path, {"scores": "edited"})

    def failing(findings: list[Finding]) -> Outcome:
        return Outcome("x", "X", (), values=findings[0].value["classes"])

    found = [Finding(row, 0, {"scores": "edited"})]
    with pytest.raises(InputError, match=r"expected the record of a run of this study, got other JSON .*; remove"):
        runner.composed(found, failing, RECORD)
    write_json(path.parent / "made.json", {RECORD: hashlib.sha256(path.read_bytes()).hexdigest()})
    with pytest.raises(KeyError, match="classes"):
        runner.composed(found, failing, RECORD)
