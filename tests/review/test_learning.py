"""Learning while the page goes on: what it shows meanwhile and afterwards, and everything that can end a round."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft.artifacts import write_json
from deft.contracts import InputError
from deft.recipes import frozen
from deft.review import learning as module
from deft.review.learning import Learning, learns
from deft.review.serve import opened
from deft.review.session import Session
from deft.settings import plain
from fake_learner import PROGRAM, next_masks, order
from review_runs import Client, served
from short import tiny


@pytest.fixture
def learning(session: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[Learning]:
    monkeypatch.setattr(module, "_PROGRAM", PROGRAM)
    monkeypatch.setattr(module, "_GRACE", 0.0)
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    with closing(Learning(session)) as found:
        yield found


def until(found: Callable[[], Any], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return value


def ended(learning: Learning) -> dict[str, Any]:
    until(lambda: not learning.state()["learning"])
    return dict(learning.state()["result"])


def left(run: Path) -> list[Path]:
    return list((run / "review").glob(".part-*"))


def test_masks_stay_until_the_new_ones_are_there(learning: Learning, session: Session, run: Path) -> None:
    next_masks(run, img_00=3)
    before, own = session.mask(0), session.details(0)["own"]
    learning.begin()
    with pytest.raises(InputError, match="learning already"):
        learning.begin()
    until(lambda: not (run / "masks").exists())
    state = until(lambda: found if (found := learning.state())["stage"] else None)
    assert (state["learning"], state["stage"], state["presses"], state["round"]) == (True, "masks", 1, 0)
    assert np.array_equal(session.mask(0), before) and session.details(0)["own"] == own
    assert "pseudo" in session.details(1)["layers"]
    session.decide(1, 0, "accepted", session.details(1)["own"])
    order(run, "score")
    until(lambda: (session.mask(0) == 3).all())  # nobody waits for scores
    assert learning.state()["learning"] and session.source.kept is None and left(run)
    order(run, "learn")
    result = ended(learning)
    assert result.pop("seconds") >= 0
    assert result == {"learned": {"images": 2, "rejected": 0, "miou": 0.5, "scored": 3}}
    assert (session.mask(0) == 3).all() and session.details(0)["own"] != own
    assert session.round == learning.state()["round"] == 2
    assert json.loads((run.parent / "asked.json").read_text()) == {"run": str(run), "data": session.source.given}
    until(lambda: not left(run))


def test_new_masks_are_there_before_the_network_is(learning: Learning, session: Session, run: Path) -> None:
    next_masks(run, key="of other tags", img_00=3)
    held_out = next(item for item in session.source.items.values() if item.part == "val")
    predicted = session.source.mask("predictions", held_out)
    learning.begin()
    order(run, "segment")
    until(lambda: (session.mask(0) == 3).all())
    state = learning.state()
    assert (state["learning"], state["stage"], state["round"]) == (True, "segment", 1)
    assert not (run / "predictions").exists() and len(left(run)) == 2
    assert np.array_equal(session.source.mask("predictions", held_out), predicted)
    order(run, "die")
    assert "has ended" in ended(learning)["error"]
    assert (session.mask(0) == 3).all() and session.source.kept in left(run)
    shutil.rmtree(run.parent / "masks before")
    next_masks(run)
    learning.begin()
    order(run, "learn")
    assert "learned" in ended(learning)
    assert session.source.kept is None and session.round == 2
    until(lambda: not left(run))


def test_masks_of_before_are_not_announced_as_new(learning: Learning, session: Session, run: Path) -> None:
    next_masks(run)
    learning.begin()
    kept = session.source.kept
    order(run, "segment")
    until(lambda: learning.state()["stage"] == "segment")
    order(run, "learn")
    ended(learning)
    assert left(run) in ([], [kept])  # one snapshot, and none of the same masks
    assert session.round == 1


def test_a_mask_that_nobody_has_seen_is_not_accepted(learning: Learning, session: Session, run: Path) -> None:
    next_masks(run, img_00=3)
    own = session.details(0)["own"]
    drawn = session.mask(0)
    drawn[:4] = 2
    learning.begin()
    order(run, "learn")
    ended(learning)
    with pytest.raises(InputError, match="look at it again"):
        session.decide(0, 0, "accepted", own)
    session.draw(0, 0, drawn, "brush", own)  # whoever has drawn has seen what is left
    assert np.array_equal(session.mask(0), drawn)
    assert session.details(0)["older_maps"]


@pytest.mark.parametrize(("what", "said"), [("fail", "out of patience"), ("die", "has ended, with code 9")])
def test_a_round_that_fails_is_told_and_another_one_can_begin(
    what: str, said: str, learning: Learning, session: Session, run: Path
) -> None:
    next_masks(run, img_00=3)
    before = session.mask(0)
    learning.begin()
    order(run, what)
    assert said in ended(learning)["error"]
    assert np.array_equal(session.mask(0), before)
    if what == "fail":
        until(lambda: not left(run))
    else:  # the run is not whole, and the page stays with what it was
        assert session.source.kept in left(run)
        (run.parent / "masks before").rename(run / "masks")
    learning.begin()
    order(run, "learn")
    assert "learned" in ended(learning)
    assert (session.mask(0) == 3).all() and session.source.kept is None


def test_what_cannot_begin_is_told(learning: Learning, session: Session, run: Path) -> None:
    (run / "run.json").rename(run / "elsewhere.json")
    with pytest.raises(InputError, match=r"No such file or directory \(.*run\.json\)"):
        learning.begin()
    assert "No such file" in ended(learning)["error"]
    assert not left(run)


def test_its_process_ends_with_it(learning: Learning, run: Path) -> None:
    learning.begin()
    process = learning._process
    assert process is not None
    learning.close()
    assert process.poll() is not None
    assert not left(run)
    with pytest.raises(InputError, match="has ended"):
        learning.begin()


def test_a_step_is_saved_whether_or_not_a_process_can_begin(
    learning: Learning, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.sys, "executable", str(run / "no such program"))
    with served(run, learning) as asking:
        assert asking.post("/api/image/2/state", {"revision": 0, "state": "rejected"}).status == 200
        answer = asking.post("/api/learn", {})
        assert (answer.status, "no such program" in answer.json["error"]) == (400, True)
    assert "no such program" in ended(learning)["error"]


def test_runs_with_a_frozen_backbone_and_a_network_learn(session: Session, tmp_path: Path) -> None:
    assert not learns(session.source)

    def of(number: int, *settings: str, **more: Any) -> bool:
        data = {"given": "folder:photos", "images": 8, "held out": 4, "classes": ["cat", "cow", "dog"]}
        record = {"recipe": "frozen", "settings": plain(tiny(frozen(), *settings)), "data": data}
        write_json(tmp_path / str(number) / "run.json", record | more)
        return learns(replace(session.source, run=tmp_path / str(number)))

    assert of(1) and not of(2, "segment=none")
    strange = plain(tiny(frozen()))
    strange["seeds"]["class"] = "my_method.Mine"
    assert not of(3, settings=strange)


def test_the_page_asks_and_its_guard_stands_before_it(
    run: Path, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    monkeypatch.setattr(module, "_PROGRAM", PROGRAM)
    next_masks(run, img_00=3)
    with closing(Learning(opened(run))) as learning, served(run, learning) as asking:
        for headers in ({"Cookie": None}, {"Origin": "http://127.0.0.1:1"}, {"Origin": None}):
            assert asking.ask("POST", "/api/learn", {}, headers).status == 403  # type: ignore[arg-type]
        assert asking.ask("GET", "/api/learning", headers={"Cookie": None}).status == 403  # type: ignore[dict-item]
        assert asking.get("/api/run").json["learning"] == {"learning": False, "presses": 0, "round": 0, "result": {}}
        assert learning._process is None
        thumbnail = asking.get("/files/thumb/0.jpg?mask=1").headers["etag"]
        assert asking.post("/api/image/2/state", {"revision": 0, "state": "rejected"}).status == 200
        assert learning._process is not None
        began = asking.post("/api/learn", {})
        assert (began.status, began.json["learning"]) == (200, True)
        again = asking.post("/api/learn", {})
        assert (again.status, "already" in again.json["error"]) == (400, True)
        assert asking.get("/files/thumb/0.jpg?mask=1").headers["etag"] == thumbnail
        order(run, "learn")
        until(lambda: not asking.get("/api/learning").json["learning"])
        assert asking.get("/files/thumb/0.jpg?mask=1").headers["etag"] != thumbnail
        bad = asking.post("/api/image/0/state", {"revision": 0, "state": "accepted", "seen": "../run"})
        assert (bad.status, "SHA-256" in bad.json["error"]) == (400, True)
    assert client.get("/api/learning").json is None and client.get("/api/run").json["learning"] is None
    assert client.post("/api/learn", {}).status == 400
