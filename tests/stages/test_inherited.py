"""The review of an answer follows photographs and classes from those before it, and takes over what comes later."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft.artifacts import load_mask, write_json
from deft.artifacts.review import Decision, Review
from deft.contracts import InputError
from deft.stages.inherited import inherit

CLASSES = ("cat", "dog")
FIRST, LATER = "2031-01-01T10:00:00+00:00", "2031-01-01T11:00:00+00:00"
NAMES = ("a", "b", "c", "d")
HERE = {name: name * 40 for name in NAMES}
"""Digests of photographs; names are hex digits."""


def mask(value: int) -> np.ndarray:
    found = np.zeros((4, 5), np.uint8)
    found[1:3], found[0, 0] = value, 255
    return found


def made(run: Path, photographs: dict[str, str] = HERE, classes: tuple[str, ...] = CLASSES) -> Review:
    """An answer, made of photographs."""
    images = {name: [digest, []] for name, digest in photographs.items()}
    write_json(run / "images.json", {"train": {"classes": list(classes), "images": images}})
    return Review(run, classes)


def decide(review: Review, name: str, value: int, time: str = FIRST, **more: Any) -> None:
    review.write_all([Decision(name, "corrected", mask(value), time=time, **more)])


def begin(
    out: Path, *earlier: Review, classes: tuple[str, ...] = CLASSES, photographs: dict[str, str] = HERE
) -> Review:
    inherit(out, [review.folder.parent for review in earlier], classes, list(photographs), photographs)
    return made(out, photographs, classes)


@pytest.fixture
def first(tmp_path: Path) -> Review:
    review = made(tmp_path / "1")
    for value, name in enumerate("abc", 1):
        decide(review, name, value % 2 + 1)
    review.write("d", None, "rejected")
    return review


def test_an_answer_begins_with_the_review_as_it_is(first: Review, tmp_path: Path, capsys: Any) -> None:
    decide(first, "a", 1, LATER, tags=("dog",))
    first.move("a", 2, -1)  # undone steps come too
    here = begin(tmp_path / "2", first)
    assert {name: here.journal(name) for name in NAMES} == {name: first.journal(name) for name in NAMES}
    for name in NAMES:
        for step in here.journal(name).steps:
            assert not step.mask or (here.load(name, step) == first.load(name, step)).all()
    assert here.journal("a").can_redo and here.journal("a").now.image == "a" * 40
    assert capsys.readouterr().err == ""
    assert begin(tmp_path / "3").read() == {} and not (tmp_path / "3" / "review").exists()


def test_masks_tags_and_earlier_steps_follow_the_names_of_classes(tmp_path: Path) -> None:
    first = made(tmp_path / "1", classes=("dog", "zebra", "cat"))
    decide(first, "a", 2)  # zebra is gone: there is no way back to this step
    decide(first, "a", 3, tags=("cat", "dog"))
    decide(first, "a", 1)
    first.move("a", 3, -1)
    first.step(Decision("b", "unreviewed", mask(2), threshold=0.25, what="threshold"), 0)
    here = begin(tmp_path / "2", first, classes=("bird", "cat", "dog"))
    journal = here.journal("a")
    assert [step.state for step in journal.steps] == ["unreviewed", "corrected", "corrected"]
    assert (here.load("a", journal.now) == mask(2)).all() and journal.now.tags == ("cat", "dog")
    assert (here.load("a", journal.steps[2]) == mask(3)).all()
    assert {path.stem for path in (here.folder / "masks" / "a").iterdir()} == journal.masks
    assert (here.journal("b").now.state, here.journal("b").now.mask) == ("unreviewed", "")
    assert (first.load("a", first.journal("a").now) == mask(3)).all()


def test_a_class_that_a_decision_needs_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    first = made(tmp_path / "1", classes=("cat", "cow", "dog"))
    decide(first, "a", 1)
    decide(first, "b", 2)
    first.step(Decision("c", "unreviewed", tags=("cow",), what="tags"), 0)
    said = rf"got 2 reviewed images with 'cow', .*: {first.journal_file('b')}, {first.journal_file('c')}$"
    with pytest.raises(InputError, match=said):
        begin(tmp_path / "2", first)
    assert not (tmp_path / "2").exists() or not list((tmp_path / "2").iterdir())
    for path in (first.record, first.journal_file("c")):  # as the message says
        path.write_text(path.read_text().replace('"cow"', '"bird"'))
    here = begin(tmp_path / "renamed", first, classes=("bird", *CLASSES))
    assert (here.mask("b") == mask(1)).all() and here.journal("c").now.tags == ("bird",)
    for name in "bc":
        first.journal_file(name).unlink()
    assert set(begin(tmp_path / "2", first).read()) == {"a"}


@pytest.mark.parametrize(
    ("photographs", "expected", "said"),
    [
        (
            {"a": "a" * 40, "b": "b" * 40},
            {"a": "a", "b": "b"},
            "2 reviewed images are no longer in the data and are left out (c, d)",
        ),
        (
            {**HERE, "a": "e" * 40},
            {"b": "b", "c": "c", "d": "d"},
            "1 reviewed image is another photograph now and counts as unreviewed (a)",
        ),
        (
            {"new": "a" * 40, "b": "b" * 40, "c": "c" * 40, "d": "d" * 40},
            {"new": "a", "b": "b", "c": "c", "d": "d"},
            "1 reviewed image has another name now, which is followed (a)",
        ),
        (
            {**HERE, "a": "b" * 40, "b": "a" * 40},
            {"a": "b", "b": "a", "c": "c", "d": "d"},
            "2 reviewed images have other names now",
        ),
        ({**HERE, "b": "a" * 40}, {"a": "a", "c": "c", "d": "d"}, "1 reviewed image is another photograph now"),
        ({"new": "a" * 40, "other": "a" * 40}, {"new": "a"}, "3 reviewed images are no longer in the data"),
    ],
)
def test_decisions_follow_their_photographs(
    photographs: dict[str, str], expected: dict[str, str], said: str, first: Review, tmp_path: Path, capsys: Any
) -> None:
    """Gone, replaced, renamed, exchanged; a copy of another photograph; two copies under new names."""
    here = begin(tmp_path / "2", first, photographs=photographs)
    assert set(here.read()) == set(expected)
    for name, before in expected.items():
        assert here.journal(name).now == first.journal(before).now
    err = capsys.readouterr().err
    assert said in err and err.startswith(f"{first.folder}: ") and err.count("\n") == 1


def test_a_replaced_photograph_stays_unreviewed_in_later_answers(first: Review, tmp_path: Path, capsys: Any) -> None:
    other = {**HERE, "a": "e" * 40}
    second = begin(tmp_path / "2", first, photographs=other)
    decide(second, "b", 1, LATER)
    capsys.readouterr()
    third = begin(tmp_path / "3", first, second, photographs=other)
    assert set(third.read()) == {"b", "c", "d"} and third.journal("b").now == second.journal("b").now
    assert capsys.readouterr().err == ""
    assert set(begin(tmp_path / "4", first, second).read()) == {"a", "b", "c", "d"}  # the first photograph is back


def test_a_review_of_an_earlier_version_counts_by_the_photographs_of_its_answer(first: Review, tmp_path: Path) -> None:
    for name in NAMES:
        journal = first.journal(name).to_json()
        for step in journal["steps"]:
            step.pop("image", None)
        write_json(first.journal_file(name), journal)
    here = begin(tmp_path / "2", first, photographs={**HERE, "a": "e" * 40})
    assert set(here.read()) == {"b", "c", "d"} and here.journal("b").now.image == "b" * 40
    (first.folder.parent / "images.json").unlink()
    assert set(begin(tmp_path / "3", first, photographs={**HERE, "a": "e" * 40}).read()) == {"a", "b", "c", "d"}


def test_later_decisions_of_earlier_answers_are_steps_of_the_last_one(
    first: Review, tmp_path: Path, capsys: Any
) -> None:
    second = begin(tmp_path / "2", first)
    decide(second, "b", 2, LATER)
    decide(first, "a", 2, LATER)
    decide(first, "b", 1, LATER)  # no later than the one here
    decide(first, "c", 2, "2031-01-01T10:30:00+00:00")
    second.move("d", 1, -1)  # undone here: no step is later
    for said in (f"{second.folder}: 2 later decisions of earlier answers taken over (a, c)\n", ""):
        begin(tmp_path / "2", first)
        assert capsys.readouterr().err == said
    assert (second.mask("a") == mask(2)).all() and (second.mask("b") == mask(2)).all() and "d" not in second.read()
    assert second.journal("a").revision == 2 and (second.move("a", 2, -1).now == first.journal("a").steps[1])
    begin(tmp_path / "2", first)
    assert second.journal("a").revision == 3  # what was undone stays undone


def test_later_decisions_count_for_the_next_answer_too_and_follow_classes(
    first: Review, tmp_path: Path, capsys: Any
) -> None:
    second = begin(tmp_path / "2", first, classes=("bird", "cat", "dog"))
    decide(first, "a", 1, LATER)
    third = begin(tmp_path / "3", first, second, classes=("bird", "cat", "dog"))
    assert (third.mask("a") == mask(2)).all() and "1 later decision of earlier answers" in capsys.readouterr().err
    begin(tmp_path / "2", first, classes=("bird", "cat", "dog"))
    assert (second.mask("a") == mask(2)).all()


def test_an_older_review_that_cannot_be_read_stops_nothing(first: Review, tmp_path: Path, capsys: Any) -> None:
    second = begin(tmp_path / "2", first)
    first.journal_file("a").write_text("{}")
    third = begin(tmp_path / "3", first, second)
    assert set(third.read()) == set(NAMES)
    assert "a.json: expected the steps of an image" in (err := capsys.readouterr().err)
    assert err.rstrip().endswith("what was decided there since is left out")


def test_a_later_decision_of_no_use_is_told_and_left_out(tmp_path: Path, capsys: Any) -> None:
    first = made(tmp_path / "1", classes=("cat", "cow"))
    decide(first, "a", 1)
    second = begin(tmp_path / "2", first, classes=("cat", "dog"))
    decide(first, "a", 2, LATER)
    decide(first, "b", 1, LATER)
    capsys.readouterr()
    for out in ("2", "3"):
        here = begin(tmp_path / out, first, *([second] if out == "3" else []), classes=("cat", "dog"))
        assert (here.mask("a") == mask(1)).all() and (here.mask("b") == mask(1)).all()
        err = capsys.readouterr().err
        assert "1 reviewed image with 'cow'" in err and "a.json; this later decision is left out" in err


class KilledError(BaseException):
    """Ends a process between two of its writes."""


@pytest.mark.parametrize("classes", [CLASSES, ("bird", *CLASSES)])
def test_killed_between_any_two_files_it_begins_with_all_of_the_review_or_none(
    classes: tuple[str, ...], first: Review, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = begin(tmp_path / "whole", first, classes=classes)
    replace, rename = os.replace, Path.rename
    for count in range(20):
        left = iter(range(count))

        def counted(act: Any, left: Any = left) -> Any:
            def acting(*given: Any) -> Any:
                if next(left, None) is None:
                    raise KilledError
                return act(*given)

            return acting

        out = tmp_path / f"out-{count}"
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", counted(replace))
            patch.setattr(Path, "rename", counted(rename))
            try:
                inherit(out, [first.folder.parent], classes, NAMES, HERE)
                died = False
            except KilledError:
                died = True
        assert not (died and (out / "review").exists())
        here = begin(out, first, classes=classes)
        assert here.journals().keys() == whole.journals().keys()
        assert all(here.journal(name) == whole.journal(name) for name in NAMES)
        assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []
    assert not died
    assert (load_mask(next((out / "review" / "masks" / "a").iterdir())) == mask(len(classes))).all()
