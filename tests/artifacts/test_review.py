"""The review of a run: written whole or not at all, by several processes, and refused if it is another's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deft.artifacts.files as files
from deft.artifacts import load_mask
from deft.artifacts.journal import MOST_STEPS
from deft.artifacts.review import UNREVIEWED, Decision, Review, Reviewed, StaleError, is_review
from deft.contracts import InputError

CLASSES = ("cat", "dog")


def mask(value: int = 1) -> np.ndarray:
    found = np.zeros((4, 5), dtype=np.uint8)
    found[1:3, 2:4], found[0, 0] = value, 255
    return found


def file_of(review: Review, name: str) -> Path:
    """The file of the mask that holds."""
    return review.mask_file(name, review.journal(name).now.mask)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    assert review.read() == {}
    review.write("a/b", mask(), "corrected", ["cat"], "0" * 64)
    review.write("c", mask(2), "accepted")
    review.write("d", None, "rejected")
    found = Review(tmp_path, CLASSES).read()
    assert {name: each.state for name, each in found.items()} == {"a/b": "corrected", "c": "accepted", "d": "rejected"}
    assert found["a/b"].tags == ("cat",)
    assert found["a/b"].replaces == "0" * 64
    assert found["a/b"].mask == sha256(file_of(review, "a/b").read_bytes()).hexdigest()
    assert found["c"].tags is None
    assert (review.mask("a/b") == mask()).all()
    (path,) = (tmp_path / "review" / "masks" / "c").iterdir()
    assert (load_mask(path) == mask(2)).all()
    assert review.mask("d") is None
    assert review.mask("never") is None
    content = json.loads((tmp_path / "review" / "review.json").read_text())
    assert content == {"version": 2, "classes": ["cat", "dog"]}
    steps = json.loads((tmp_path / "review" / "images" / "a%2Fb.json").read_text())
    assert (steps["name"], steps["revision"], steps["at"]) == ("a/b", 1, 1)
    assert [step["state"] for step in steps["steps"]] == ["unreviewed", "corrected"]


def test_a_later_decision_replaces_an_earlier_one(tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    for state, value in (("corrected", 1), ("accepted", 2), ("corrected", 1)):
        review.write("a", mask(value), state)
        assert review.read()["a"].state == state
        assert (review.mask("a") == mask(value)).all()
    review.write("a", None, "rejected")
    assert review.mask("a") is None
    review.write("a", mask(2), "accepted")
    assert (review.mask("a") == mask(2)).all()


class KilledError(BaseException):
    """Ends a process between two of its writes."""


def killed_at(call: int, patch: pytest.MonkeyPatch) -> None:
    """Let the process die at the given call of those that change files, before or after it."""
    calls = 0

    def counted(act: Any) -> Any:
        def acting(*given: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call:
                raise KilledError
            made = act(*given, **named)
            calls += 1
            if calls == call:
                raise KilledError
            return made

        return acting

    patch.setattr(files.os, "replace", counted(os.replace))
    patch.setattr(files.os, "unlink", counted(os.unlink))
    patch.setattr(files.os, "fsync", counted(os.fsync))


@pytest.mark.parametrize("before", [(), ("accepted",), ("accepted", "rejected"), ("corrected",) * 3])
@pytest.mark.parametrize("call", range(1, 14))
def test_a_kill_between_any_two_writes_leaves_the_step_before_or_the_whole_step(
    before: tuple[str, ...], call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deft.artifacts.journal.MOST_STEPS", 2)  # so that a mask is removed, too
    review = Review(tmp_path, CLASSES)
    for value, state in enumerate(before):
        review.write("a", None if state == "rejected" else mask(1 + value % 2), state)
    earlier, changed = review.journal("a"), mask()
    changed[0, 1] = 2
    with monkeypatch.context() as patch:
        killed_at(call, patch)
        try:
            review.step(Decision("a", "corrected", changed), earlier.revision)
            died = False
        except KilledError:
            died = True
    found = Review(tmp_path, CLASSES).journal("a")
    if not died or found != earlier:
        assert found.revision == earlier.revision + 1
        assert (Review(tmp_path, CLASSES).mask("a") == changed).all()
    for step in found.steps:
        if step.mask:
            assert Review(tmp_path, CLASSES).load("a", step).shape == (4, 5)
    after = Review(tmp_path, CLASSES).step(Decision("a", "accepted", mask(2)), found.revision)
    assert (review.mask("a") == mask(2)).all()
    kept = {path.stem for path in (tmp_path / "review" / "masks" / "a").glob("*.png")}
    assert kept == after.masks  # what the killed step has left was swept


def test_a_process_that_is_killed_loses_no_step_it_has_told_of(tmp_path: Path) -> None:
    """SIGKILL at a random moment, several times: the journal holds what was printed, and at most one step more."""
    code = """
import sys
from pathlib import Path
import numpy as np
from deft.artifacts.review import Decision, Review
review = Review(Path(sys.argv[1]), ("cat", "dog"))
while True:
    journal = review.journal("a")
    mask = np.full((40, 50), journal.revision % 3, np.uint8)
    print(review.step(Decision("a", "corrected", mask), journal.revision).revision, flush=True)
"""
    told = 0
    for wait in (1, 4, 7):
        command = [sys.executable, "-c", code, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(wait)]
            process.kill()
            lines += process.stdout.readlines()
        told = int([line for line in lines if line.endswith("\n")][-1])
        review = Review(tmp_path, CLASSES)
        journal = review.journal("a")
        assert told <= journal.revision <= told + 1
        assert (review.load("a", journal.now) == (journal.revision - 1) % 3).all()
    assert told >= 12


def test_steps_are_undone_and_redone(tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    for value in (1, 2):
        review.write("a", mask(value), "corrected", tags=["dog"])
    assert (review.move("a", 2, -1).now.state, review.journal("a").revision) == ("corrected", 3)
    assert (review.mask("a") == mask(1)).all()
    assert review.move("a", 3, -1).now == Reviewed(UNREVIEWED)
    assert review.mask("a") is None
    assert review.read() == {}
    assert not review.move("a", 4, -1).can_undo
    assert review.journal("a").revision == 4  # there was nothing to undo
    assert Review(tmp_path, CLASSES).move("a", 4, 1).can_redo
    assert review.move("a", 5, 1).now.tags == ("dog",)
    assert (review.mask("a") == mask(2)).all()
    review.move("a", 6, -1)
    review.write("a", None, "rejected")  # steps that were undone are gone
    assert not review.journal("a").can_redo
    assert {path.stem for path in (tmp_path / "review" / "masks" / "a").iterdir()} == review.journal("a").masks
    assert review.move("a", 8, -1).now.state == "corrected"


def test_only_so_many_steps_and_their_masks_are_kept(tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    for value in range(MOST_STEPS + 5):
        found = np.zeros((8, 8), np.uint8)
        found.flat[value] = 1
        review.write("a", found, "corrected")
    journal = review.journal("a")
    assert (len(journal.steps), journal.at, journal.revision) == (MOST_STEPS + 1, MOST_STEPS, MOST_STEPS + 5)
    kept = sorted(path.stem for path in (tmp_path / "review" / "masks" / "a").iterdir())
    assert kept == sorted(journal.masks)
    assert len(kept) == MOST_STEPS + 1


def test_a_step_at_an_older_revision_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    review.write("a", mask(), "corrected")
    kept = {path: path.read_bytes() for path in (tmp_path / "review").rglob("*.*")}
    for act in (
        lambda: review.step(Decision("a", "corrected", mask(2)), 0),
        lambda: review.step(Decision("a", "rejected"), 2),
        lambda: review.move("a", 0, -1),
    ):
        with pytest.raises(StaleError, match="expected revision 1"):
            act()
    assert {path: path.read_bytes() for path in (tmp_path / "review").rglob("*.*")} == kept


def test_files_that_did_not_change_are_not_read_again(tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    review.write("a", mask(), "accepted")
    review.write("b", mask(), "accepted")
    known = review.journals()
    Review(tmp_path, CLASSES).write("b", mask(2), "corrected")
    found = review.journals(known)
    assert found["a.json"][1] is known["a.json"][1]
    assert found["b.json"][1].now.state == "corrected"


def test_masks_of_images_that_nobody_has_decided_about_are_no_decisions(tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    found = review.step(Decision("a", UNREVIEWED, mask(), threshold=0.25, what="threshold"), 0)
    assert (found.now.threshold, found.now.what) == (0.25, "threshold")
    assert (review.load("a", review.journal("a").now) == mask()).all()
    assert (review.read(), review.mask("a")) == ({}, None)
    review.write("a", None, "accepted")  # the mask stays
    assert (review.mask("a") == mask()).all()


def test_several_write_at_once(tmp_path: Path) -> None:
    def work(index: int) -> None:
        Review(tmp_path, CLASSES).write(f"image {index}", mask(1 + index % 2), "corrected")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(12)))
    review = Review(tmp_path, CLASSES)
    assert len(review.read()) == 12
    assert all((review.mask(f"image {index}") == mask(1 + index % 2)).all() for index in range(12))
    assert not list((tmp_path / "review").rglob(".part-*"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"version": 1, "classes": ["cat", "dog"], "images": {}}, "expected version 2 of a review, got '1'"),
        ({"version": 2, "classes": ["dog", "cat"]}, "expected the classes of the run"),
        ({"version": 2}, "expected the classes of the run"),
        ([], "other JSON"),
        ({}, "other JSON"),
    ],
)
def test_the_record_of_another_is_refused_and_left_alone(content: Any, said: str, tmp_path: Path) -> None:
    (tmp_path / "review").mkdir()
    record = tmp_path / "review" / "review.json"
    record.write_text(json.dumps(content))
    before = record.read_bytes()
    for act in (lambda review: review.read(), lambda review: review.write("a", mask(), "accepted")):
        with pytest.raises(InputError, match=said):
            act(Review(tmp_path, CLASSES))
    assert record.read_bytes() == before
    assert not list((tmp_path / "review" / "masks").rglob("*.png"))


@pytest.mark.parametrize("content", ["[]", "{}", '{"name": "a", "revision": 1, "at": 0, "steps": []}', "{", "\udcff"])
def test_a_damaged_journal_is_told_and_left_alone(content: str, tmp_path: Path) -> None:
    Review(tmp_path, CLASSES).write("a", mask(), "accepted")
    path = tmp_path / "review" / "images" / "a.json"
    path.write_text(content, errors="surrogateescape")
    before = path.read_bytes()
    for act in (
        lambda review: review.read(),
        lambda review: review.mask("a"),
        lambda review: review.write("a", mask(), "accepted"),
        lambda review: review.move("a", 1, -1),
    ):
        with pytest.raises(InputError, match=r"a\.json: "):
            act(Review(tmp_path, CLASSES))
    assert path.read_bytes() == before


def test_a_journal_under_the_name_of_another_is_refused(tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    review.write("a", mask(), "accepted")
    review.journal_file("a").rename(review.journal_file("b"))
    with pytest.raises(InputError, match=r"b\.json: holds the steps of 'a'"):
        review.read()


NAMES = (
    "../../kept",
    "/kept",
    "..",
    "",
    "\0",
    "a" * 300,
    "a\\b",
    "con",
    "x/../y",
    "a.json",
    "a.json/b",
    "a/b",
    "a%2Fb",
)


@pytest.mark.parametrize("name", NAMES)
def test_masks_stay_in_the_folder_whatever_the_name(name: str, tmp_path: Path) -> None:
    review = Review(tmp_path / "run", CLASSES)
    review.write(name, mask(), "accepted")
    assert (review.mask(name) == mask()).all()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    for path, folder in ((file_of(review, name), "masks"), (review.journal_file(name), "images")):
        assert path.is_file()
        assert path.resolve().is_relative_to((tmp_path / "run" / "review" / folder).resolve())


def test_no_two_names_have_one_file(tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    names = (*(name for name in NAMES if name), "a" * 301, "a" * 299 + "b", "é" * 200, "a", "A")
    for number, name in enumerate(names):
        review.write(name, mask(1 + number % 2), "accepted", tags=["cat"] if number % 3 else [])
    found = Review(tmp_path, CLASSES).read()
    assert found.keys() == set(names)
    assert all((review.mask(name) == mask(1 + number % 2)).all() for number, name in enumerate(names))


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"x"), lambda path: path.unlink()])
def test_a_mask_that_another_program_has_changed_is_not_read(spoil: Any, tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    review.write("a", mask(), "accepted")
    found = review.read()["a"]
    spoil(file_of(review, "a"))
    with pytest.raises(InputError, match=r"\.png: (damaged|missing)"):
        review.load("a", found)


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (Decision("a", "perhaps", mask()), "expected a state"),
        (Decision("a", "accepted"), "needs a mask"),
        (Decision("a", "accepted", mask(3)), "expected mask values from 0 to 2, or 255, got 3"),
        (Decision("a", "accepted", mask().astype(np.int64)), "uint8"),
        (Decision("a", "accepted", mask()[None]), "uint8"),
        (Decision("a", "accepted", mask(), tags=("cow",)), "expected tags among cat, dog, got 'cow'"),
    ],
)
def test_no_decision_is_told_and_none_of_a_batch_written(decision: Decision, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        Review(tmp_path, CLASSES).write_all([Decision("b", "accepted", mask()), decision])
    assert not (tmp_path / "review").exists()


def test_only_a_folder_with_a_record_is_a_review(tmp_path: Path) -> None:
    (tmp_path / "review").mkdir()
    assert not is_review(tmp_path / "review")
    Review(tmp_path, CLASSES).write("a", mask(), "accepted")
    assert is_review(tmp_path / "review")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "review").symlink_to(tmp_path / "review")
    assert not is_review(tmp_path / "other" / "review")


def test_a_decision_keeps_the_photograph_that_the_run_was_made_of(tmp_path: Path) -> None:
    def made_of(digest: str) -> None:
        images = {"a": [digest, []], "b": [f"{digest} 3", []]}
        (tmp_path / "images.json").write_text(json.dumps({"train": {"classes": list(CLASSES), "images": images}}))

    review = Review(tmp_path, CLASSES)
    review.write("a", mask(), "corrected")
    assert review.journal("a").now.image == ""  # not known
    made_of("1" * 40)
    for name in "ab":
        review.write(name, mask(2), "corrected")
    assert review.journal("a").now.image == "1" * 40 and review.journal("b").now.image == ""  # a row of a file
    made_of("22" * 20)
    assert review.photographs == {"a": "22" * 20}
    review.begin_again("a", "22" * 20)
    found = review.journal("a")
    assert (found.now.state, found.now.mask, found.now.image, found.now.what) == (
        UNREVIEWED,
        "",
        "22" * 20,
        "photograph",
    )
    assert review.mask("a") is None and found.revision == 3
    assert review.move("a", 3, -1).now.image == "1" * 40 and (review.mask("a") == mask(2)).all()


def test_a_review_can_be_opened_with_its_own_classes(tmp_path: Path) -> None:
    assert Review.recorded(tmp_path, CLASSES).classes == CLASSES
    Review(tmp_path, ("dog",)).write("a", mask(), "corrected")
    assert Review.recorded(tmp_path, CLASSES).classes == ("dog",)
    assert set(Review.recorded(tmp_path, CLASSES).read()) == {"a"}
    for classes, said in (([1], "the classes of the run, got none"), (["a"] * 255, "fewer than 255 classes, got 255")):
        (tmp_path / "review" / "review.json").write_text(json.dumps({"version": 2, "classes": classes}))
        with pytest.raises(InputError, match=f"expected {said}"):
            Review.recorded(tmp_path, CLASSES)
