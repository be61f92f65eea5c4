from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from deft.doctor import facts as module
from deft.doctor.facts import EXTRAS, Facts, examine
from deft.doctor.storage import Storage
from deft.engine.machine import Gpu, Memory
from small_machine import FACTS, GB, MACHINE


def test_extras_are_those_that_are_declared() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    declared = {
        name: {requirement.partition(">")[0].partition("[")[0] for requirement in requirements}
        for name, requirements in project["optional-dependencies"].items()
        if name not in ("dev", "docs")
    }
    assert {name: set(packages) for name, (packages, _) in EXTRAS.items()} == declared


def test_a_small_machine_is_no_trouble() -> None:
    assert FACTS.troubles == ()


@pytest.mark.parametrize(
    ("changed", "trouble"),
    [
        (replace(FACTS, storage=Storage(Path("runs"), "--out runs: no")), "--out runs: no"),
        (replace(FACTS, storage=replace(FACTS.storage, free=10**6)), "1 MB free, and a run writes 150 MB or more"),
        (replace(FACTS, weights=replace(FACTS.weights, trouble="--weights x: no")), "--weights x: no"),
        (replace(FACTS, temporary=""), "set TMPDIR"),
        (replace(FACTS, machine=replace(MACHINE, memory=Memory(GB // 2, GB // 4, True))), "0.2 GB available"),
        (
            replace(FACTS, machine=replace(MACHINE, gpu=Gpu("A", 1, 0, 0, "busy"))),
            "A cannot be used (busy); wait until it is free, or hide it",
        ),
    ],
)
def test_what_keeps_a_run_from_working_says_the_way_out(changed: Facts, trouble: str) -> None:
    assert len(changed.troubles) == 1
    assert trouble in changed.troubles[0]


@pytest.mark.parametrize("memory", [None, Memory(8 * GB, None)])
def test_memory_that_is_not_known_is_no_trouble(memory: Memory | None) -> None:
    assert replace(FACTS, machine=replace(MACHINE, memory=memory)).troubles == ()


def test_examining_this_machine_asks_nobody_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "look", lambda: MACHINE)
    monkeypatch.setattr(module, "BACKBONES", ("test_resnet",))
    monkeypatch.setattr("deft.backbone.reach.hub_answers", lambda: pytest.fail("asked"))
    found = examine(tmp_path / "runs" / "x", ask=False)
    assert found.machine is MACHINE and not found.troubles
    assert [one.backbone for one in found.needs] == ["test_resnet"]
    assert found.extras.keys() == EXTRAS.keys()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("home", ["", "/proc/nothing/there"])
def test_a_home_that_is_none(home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert module._home() == str(tmp_path)
    monkeypatch.setenv("HOME", home or "~")
    assert module._home() == ""
