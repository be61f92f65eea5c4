"""The steps of an image: undoing moves a position, a new step leaves out what was undone, and JSON is checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deft.artifacts.journal import MOST_STEPS, Journal, Reviewed, journal_of

DIGEST = "0123456789abcdef" * 4
SOUND = {
    "name": "a/b",
    "revision": 4,
    "at": 1,
    "steps": [
        {"state": "unreviewed"},
        {
            "state": "corrected",
            "mask": DIGEST,
            "replaces": DIGEST,
            "tags": ["cat"],
            "what": "brush",
            "time": "now",
            "image": "1f",
        },
        {"state": "unreviewed", "mask": DIGEST, "threshold": 0.25, "tags": []},
    ],
}


def step(number: int) -> Reviewed:
    return Reviewed("corrected", f"{number:064x}", what="brush")


def test_a_new_journal_is_of_an_image_that_nobody_has_looked_at() -> None:
    journal = Journal("a")
    assert (journal.now, journal.revision) == (Reviewed("unreviewed"), 0)
    assert not journal.can_undo
    assert not journal.can_redo
    assert journal.moved(-1) is journal
    assert journal.moved(1) is journal


def test_undoing_and_redoing_go_through_the_states() -> None:
    journal = Journal("a").followed(step(1)).followed(step(2)).followed(step(3))
    assert (journal.revision, journal.now) == (3, step(3))
    back = journal.moved(-1).moved(-1)
    assert (back.now, back.revision, back.can_undo, back.can_redo) == (step(1), 5, True, True)
    assert back.moved(1).now == step(2)
    other = back.followed(step(4))
    assert (other.steps, other.can_redo) == ((Reviewed("unreviewed"), step(1), step(4)), False)
    assert other.masks == {step(1).mask, step(4).mask}


def test_the_oldest_steps_are_left_out() -> None:
    journal = Journal("a")
    for number in range(MOST_STEPS + 3):
        journal = journal.followed(step(number))
    assert journal.steps == tuple(step(number) for number in range(2, MOST_STEPS + 3))
    assert (journal.at, journal.revision) == (MOST_STEPS, MOST_STEPS + 3)
    for _ in range(MOST_STEPS):
        journal = journal.moved(-1)
    assert (journal.now, journal.can_undo) == (step(2), False)


def test_photographs_are_kept_of_steps_that_somebody_has_made() -> None:
    early, late = (Reviewed("rejected", time=f"2031-01-0{day}", image=image) for day, image in ((1, ""), (2, "b")))
    journal = Journal("a").followed(early).followed(late).moved(-1)
    assert journal.latest == "2031-01-02" and Journal("a").latest == ""
    assert [one.image for one in journal.seen("a").steps] == ["", "a", "b"]
    assert journal.seen("") == journal and journal.seen("a").seen("c") == journal.seen("a")


def test_json_is_a_round_trip() -> None:
    journal = journal_of(SOUND)
    assert journal is not None
    assert journal.now == Reviewed("corrected", DIGEST, DIGEST, ("cat",), None, "brush", "now", "1f")
    assert journal.steps[2] == Reviewed("unreviewed", DIGEST, tags=(), threshold=0.25)
    assert json.loads(json.dumps(journal.to_json())) == SOUND
    assert journal_of(journal.to_json()) == journal


def changed(**entries: Any) -> Any:
    return SOUND | entries


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        changed(name=3),
        changed(name="\ud83d"),
        changed(at=3),
        changed(at=-1),
        changed(at=True),
        changed(at=1.0),
        changed(revision=-1),
        changed(revision=2**60),
        changed(revision="4"),
        changed(steps={}),
        changed(steps=[]),
        changed(steps=[None, None]),
        *(
            changed(steps=[{"state": "unreviewed"}, entry])
            for entry in (
                {"state": "perhaps"},
                {"state": "accepted"},
                {"state": "accepted", "mask": "0" * 63},
                {"state": "accepted", "mask": "../" + "0" * 61},
                {"state": "accepted", "mask": DIGEST.upper()},
                {"state": "rejected", "tags": "cat"},
                {"state": "rejected", "tags": [1]},
                {"state": "rejected", "threshold": 1},
                {"state": "rejected", "threshold": float("nan")},
                {"state": "rejected", "threshold": True},
                {"state": "rejected", "what": 1},
                {"state": "rejected", "replaces": None},
            )
        ),
    ],
)
def test_what_is_no_journal_is_none(value: Any) -> None:
    assert journal_of(value) is None
