"""The review of a run: written whole or not at all, by several processes, and refused if it is another's."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deft.artifacts.review as module
from deft.artifacts import load_mask
from deft.artifacts.review import Decision, Review, is_review
from deft.contracts import InputError

CLASSES = ("cat", "dog")


def mask(value: int = 1) -> np.ndarray:
    found = np.zeros((4, 5), dtype=np.uint8)
    found[1:3, 2:4], found[0, 0] = value, 255
    return found


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
    assert found["a/b"].mask == sha256((tmp_path / "review" / "masks" / "a" / "b.png").read_bytes()).hexdigest()
    assert found["c"].tags is None
    assert (review.mask("a/b") == mask()).all()
    assert (load_mask(tmp_path / "review" / "masks" / "c.png") == mask(2)).all()
    assert review.mask("d") is None
    assert review.mask("never") is None
    content = json.loads((tmp_path / "review" / "review.json").read_text())
    assert (content["version"], content["classes"]) == (1, ["cat", "dog"])


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


@pytest.mark.parametrize("before", [(), ("accepted",), ("accepted", "rejected")])
def test_a_kill_between_record_and_mask_leaves_what_was(
    before: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = Review(tmp_path, CLASSES)
    for state in before:
        review.write("a", None if state == "rejected" else mask(1), state)

    def killed(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "atomic_write", killed)
        with pytest.raises(KeyboardInterrupt):
            review.write("a", mask(2), "corrected")
    assert [each.state for each in review.read().values()] == list(before[-1:])
    kept = review.mask("a")
    assert (kept == mask(1)).all() if before[-1:] == ("accepted",) else kept is None
    review.write("a", mask(2), "corrected")
    assert review.read()["a"].state == "corrected"
    assert (review.mask("a") == mask(2)).all()


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
        ({"version": 2, "classes": ["cat", "dog"], "images": {}}, "expected version 1 of a review, got '2'"),
        ({"version": 1, "classes": ["dog", "cat"], "images": {}}, "expected the classes of the run"),
        ({"version": 1, "classes": ["cat", "dog"], "images": []}, "other JSON"),
        ([], "other JSON"),
        ({"version": 1, "classes": ["cat", "dog"], "images": {"a": {"state": "perhaps"}}}, "'a' has no valid entry"),
        ({"version": 1, "classes": ["cat", "dog"], "images": {"a": {"state": "accepted"}}}, "'a' has no valid entry"),
        ({"version": 1, "classes": ["cat", "dog"], "images": {"a": {"state": "rejected", "tags": "x"}}}, "no valid"),
        ({"version": 1, "classes": ["cat", "dog"], "images": {"\ud83d": {"state": "rejected"}}}, "no valid entry"),
        ({"version": 1, "classes": ["cat", "dog"], "images": {"a": None}}, "no valid entry"),
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
    assert not (tmp_path / "review" / "masks" / "a.png").exists()


@pytest.mark.parametrize("name", ["../../kept", "/kept", "..", "", "\0", "a" * 300, "a\\b", "con", "x/../y"])
def test_masks_stay_in_the_folder_whatever_the_name(name: str, tmp_path: Path) -> None:
    review = Review(tmp_path / "run", CLASSES)
    review.write(name, mask(), "accepted")
    assert (review.mask(name) == mask()).all()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert review.mask_file(name).resolve().is_relative_to((tmp_path / "run" / "review" / "masks").resolve())


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"x"), lambda path: path.unlink()])
def test_a_mask_that_another_program_has_changed_is_not_read(spoil: Any, tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    review.write("a", mask(), "accepted")
    found = review.read()["a"]
    spoil(review.mask_file("a"))
    with pytest.raises(InputError, match=r"a\.png: (damaged|missing)"):
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
