"""Helpers and the process that holds a run, on one folder."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deft.artifacts import Stage, read_json, write_json
from deft.contracts import InputError
from deft.engine import claims
from deft.engine.claims import Claims
from deft.engine.worklist import WorkList
from deft.recipes import cam
from deft.runner.join import finished, join, open_run, under_way
from deft.runner.run import working
from deft.thresholds import Tuned, write_tuned
from fakes import begun
from short import tiny


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "POLL", 0.02)


@dataclass
class FakeShare:
    """Writes a line into a file for each image."""

    stage: Path
    part: str
    images: int
    made: list[int] = field(default_factory=list)

    def todo(self, begin: bool = True) -> WorkList:
        paths = [self.stage / self.part / f"{index}.txt" for index in range(self.images)]
        return WorkList(self.stage / f"claims-{self.part}", paths, begin=begin)

    def take_part(self, begin: bool = True) -> int:
        todo, before = self.todo(begin), len(self.made)
        with Claims(todo) as mine:
            while True:
                index = mine.take()
                if index is None:
                    if mine.over():
                        return len(self.made) - before
                    time.sleep(0.01)
                    continue
                time.sleep(0.002)
                todo.paths[index].parent.mkdir(exist_ok=True)
                todo.paths[index].write_text("made")
                mine.finish(index)
                self.made.append(index)


def shares(folder: Path) -> list[FakeShare]:
    return [FakeShare(folder, "train", 60), FakeShare(folder, "val", 20)]


def holding(run: Path, name: str = "seeds") -> Stage:
    """A stage that somebody has begun in a run folder."""
    run.mkdir(exist_ok=True)
    write_json(run / "run.json", {})
    return begun(run, name)


def end(run: Path, *stages: Stage) -> None:
    for stage in stages:
        write_json(stage.folder / "stage.json", {"key": stage.key, "state": "done"})
    write_json(run / "scores.json", {"made_of": sorted({stage.key for stage in stages})})


def test_a_helper_and_the_holder_make_each_file_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    stage = holding(run)
    own, others = shares(stage.folder), shares(stage.folder)
    prepared: list[Stage] = []
    started = threading.Event()

    def get_ready(stage: Stage) -> list[FakeShare]:
        prepared.append(stage)
        started.set()
        return others

    helper_made: list[int] = []
    helper = threading.Thread(
        target=lambda: helper_made.append(join(run, poll=0.01, opened=lambda folder, data: get_ready))
    )
    helper.start()
    time.sleep(0.1)
    assert not prepared, "nothing is prepared before the holder has"
    own[0].todo().open()
    assert started.wait(20)
    for share in own:
        share.take_part()
    for share in own:
        share.todo().clear()
    end(run, stage)
    helper.join(20)
    assert prepared == [stage]
    for mine, theirs in zip(own, others, strict=True):
        assert sorted(mine.made + theirs.made) == list(range(mine.images))
    assert others[0].made
    assert helper_made == [len(others[0].made) + len(others[1].made)]
    assert capsys.readouterr().out == f"seeds: {helper_made[0]} files made here\n"


def test_a_helper_goes_on_where_the_holder_was_killed_and_waits_for_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    stage = holding(run)
    own, others = shares(stage.folder), shares(stage.folder)
    own[0].todo().open()
    helper = threading.Thread(
        target=join, args=(run,), kwargs={"poll": 0.01, "opened": lambda folder, data: lambda stage: others}
    )
    helper.start()
    end_of_patience = time.monotonic() + 20
    while len(others[0].made) < 60 and time.monotonic() < end_of_patience:
        time.sleep(0.01)
    time.sleep(0.05)
    assert helper.is_alive()
    assert own[0].take_part() == 0  # the holder is back
    own[1].take_part()
    end(run, stage)
    helper.join(20)
    assert not helper.is_alive()
    assert sorted(own[1].made + others[1].made) == list(range(20))


def test_rounds_are_helped_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    second = holding(run, "masks")
    first = holding(run / "round-0")
    assert under_way(run) == []
    for stage in (first, second):
        shares(stage.folder)[0].todo().open()
    assert under_way(run) == [second, first]


def test_a_run_is_finished_when_its_scores_are_of_its_stages(tmp_path: Path) -> None:
    run = tmp_path / "run"
    stage = holding(run)
    assert not finished(run)
    end(run, stage)
    assert finished(run)
    assert join(run) == 0
    write_tuned(run, Tuned({"seeds": 0.4}, ("a", "b"), {"seeds": 0.01}))
    write_json(run / "scores.json", {"made_of": [stage.key, "a", "b"]})
    assert finished(run)
    write_json(stage.folder / "stage.json", {"key": stage.key, "state": "begun"})  # it is made again
    assert not finished(run)
    write_json(stage.folder / "stage.json", {"key": "other", "state": "done"})
    assert not finished(run)


def test_no_run_no_help(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="begin it first"):
        join(tmp_path)


def test_helping_a_real_run_makes_the_same_files(folder_data: Path, tmp_path: Path) -> None:
    run, given = tmp_path / "run", f"folder:{folder_data}"
    with working(tiny(cam(), "segment=none", "precision=32-true", steps=2), given, run):
        pass
    stage = Stage("seeds", run / "seeds", read_json(run / "seeds" / "stage.json")["key"])
    before = {path.name: path.read_bytes() for path in (run / "seeds" / "train").iterdir()}
    shutil.rmtree(run / "seeds" / "train")
    write_json(stage.folder / "stage.json", {"key": stage.key, "state": "begun"})
    elsewhere = tmp_path / "moved"
    shutil.copytree(folder_data, elsewhere)
    held_out = Stage("seeds/val", stage.folder / "val", read_json(stage.folder / "val" / "stage.json")["key"])
    opened = open_run(run, f"folder:{elsewhere}")
    (train,), (val,) = opened(stage), opened(held_out)
    assert train.take_part(begin=False) == 0
    assert under_way(run) == []
    train.todo().open()
    assert under_way(run) == [stage]
    assert train.take_part(begin=False) == 8
    assert {path.name: path.read_bytes() for path in (run / "seeds" / "train").iterdir()} == before
    train.todo().clear()
    write_json(stage.folder / "stage.json", {"key": stage.key, "state": "done"})
    write_json(held_out.folder / "stage.json", {"key": held_out.key, "state": "begun"})
    val.todo().open()
    assert under_way(run) == [held_out]
    assert val.take_part(begin=False) == 0
    assert not finished(run)

    with pytest.raises(InputError, match="expected the data of the run, with images 8, got"):
        open_run(run, "demo:train=6,val=2,size=96")
    record = read_json(run / "run.json")
    record["data"]["given"] = ""
    write_json(run / "run.json", record)
    with pytest.raises(InputError, match="--data"):
        open_run(run)
