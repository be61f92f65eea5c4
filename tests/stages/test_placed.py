"""Decisions belong to photographs and to classes by name: compared with the same, written out for each of them."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from deft.artifacts import write_json
from deft.artifacts.journal import Reviewed
from deft.artifacts.review import Decision, Review
from deft.contracts import InputError
from deft.stages.placed import content_of, place, refuse_lost, turned

BEFORE = ("cat", "cow", "dog", "sheep")


def reviewed(run: Path, photographs: dict[str, str], decided: list[str]) -> Review:
    """A run that was made of photographs, some of whose images are rejected."""
    images = {name: [digest, []] for name, digest in photographs.items()}
    write_json(run / "images.json", {"train": {"classes": list(BEFORE), "images": images}})
    review = Review(run, BEFORE)
    for name in decided:
        review.write(name, None, "rejected")
    return review


@pytest.mark.parametrize("seed", range(8))
def test_every_decision_is_where_its_photograph_is(seed: int, tmp_path: Path) -> None:
    """Photographs change names at random, some go and some come; each of them is there once at most."""
    rng = np.random.default_rng(seed)
    names = [f"image {number}" for number in range(12)]
    bytes_of = [f"{number:040x}" for number in range(18)]
    before = dict(zip(names[:9], bytes_of[:9], strict=True))
    decided = [str(name) for name in rng.permutation(names[:9])[:6]]
    now = dict(zip(rng.permutation(names)[:8].tolist(), rng.permutation(bytes_of[:14]).tolist(), strict=False))
    placed = place(reviewed(tmp_path, before, decided), list(now), now)
    assert {name: journal.name for name, journal in placed.journals.items()} == {
        name: old for name, digest in now.items() for old in decided if before[old] == digest
    }
    left = [name for name in decided if before[name] not in now.values()]
    assert placed.gone == tuple(sorted(set(left) - set(now)))
    assert placed.replaced == tuple(sorted(set(left) & set(now)))
    assert all(name in placed.remark() or len(left) > 3 for name in left)


def test_a_name_stands_for_a_photograph_whose_bytes_are_not_known(tmp_path: Path) -> None:
    review = reviewed(tmp_path, {"a": "1" * 40}, ["a", "b", "c"])
    placed = place(review, ["a", "b"], {"b": "2" * 40})
    assert placed.journals.keys() == {"a", "b"} and (placed.gone, placed.replaced) == (("c",), ())
    other = placed.without({"b"})
    assert other.journals.keys() == {"a"} and (other.gone, other.replaced) == (("c",), ("b",))


def test_an_image_that_nobody_has_decided_about_is_not_spoken_of(tmp_path: Path) -> None:
    review = reviewed(tmp_path, {"a": "1" * 40}, [])
    review.step(Decision("a", "unreviewed", np.zeros((2, 2), np.uint8), threshold=0.5), 0)
    for now in ({"b": "2" * 40}, {"a": "2" * 40}, {"b": "1" * 40}):
        placed = place(review, list(now), now)
        assert placed.remark() == "" and not placed.decided
    assert placed.journals["b"] == review.journal("a")


@pytest.mark.parametrize(
    "classes",
    [BEFORE, BEFORE[::-1], ("bird", *BEFORE), ("cow", "dog"), ("dog", "bird", "cat"), tuple("bcdefg")],
)
@pytest.mark.parametrize("values", [(0, 1, 2, 3, 4, 255), (0, 2, 3), (255,), (1, 3)])
def test_a_mask_in_other_classes_is_that_of_the_same_names(
    classes: tuple[str, ...], values: tuple[int, ...], tmp_path: Path
) -> None:
    mask = np.random.default_rng(0).choice(np.array(values, np.uint8), (9, 7))
    review = Review(tmp_path, BEFORE)
    review.write("a", mask, "corrected", ["cow"])
    state = review.journal("a").now
    found = turned(review, "a", state, classes)
    names = {0: "nothing", 255: "ignored", **dict(enumerate(BEFORE, 1))}
    here = {"nothing": 0, "ignored": 255, **{name: value for value, name in enumerate(classes, 1)}}
    lost = {names[value] for value in values} | {"cow"}
    lost -= here.keys()
    assert found.lost == tuple(sorted(lost))
    if lost:
        assert found.mask is None
        return
    expected = np.array([[here[names[value]] for value in row] for row in mask.tolist()], np.uint8)
    if (expected == mask).all():
        assert found.state == state and found.mask is None and found.content is None
    else:
        assert found.mask is not None and found.content is not None and (found.mask == expected).all()
        assert found.state == replace(state, mask=sha256(found.content).hexdigest())
        there = Review(tmp_path / "there", classes)
        there.write("a", expected, "corrected")
        assert content_of(there, "a", there.journal("a").now) == found.content


@pytest.mark.parametrize(("state", "lost"), [("rejected", ()), ("unreviewed", ("cow",))])
def test_what_teaches_nothing_may_lose_its_class(state: str, lost: tuple[str, ...], tmp_path: Path) -> None:
    review = Review(tmp_path, BEFORE)
    mask = np.full((2, 2), 2, np.uint8)
    review.step(Decision("a", "unreviewed", mask, tags=("cow",), threshold=0.5), 0)
    review.step(Decision("a", state, None, tags=("cow",), threshold=0.5), 1)
    found = turned(review, "a", review.journal("a").now, ("cat", "dog"))
    assert (found.state.state, found.state.mask, found.state.threshold) == (state, "", None)
    assert found.lost == lost  # tags of an image that nobody has decided about teach the classifier
    assert found.state.tags == (("cow",) if lost else None)


def test_a_mask_that_has_changed_since_is_refused(tmp_path: Path) -> None:
    review = Review(tmp_path, BEFORE)
    review.write("a", np.zeros((2, 2), np.uint8), "corrected")
    state: Reviewed = review.journal("a").now
    review.mask_file("a", state.mask).write_bytes(b"other")
    with pytest.raises(InputError, match="'a' was reviewed again while the run began; repeat the command"):
        content_of(review, "a", state)
    with pytest.raises(InputError, match="damaged"):
        turned(review, "a", state, BEFORE[::-1])


def test_lost_classes_are_told_with_the_files(tmp_path: Path) -> None:
    refuse_lost({})
    files = {tmp_path / "images" / f"{name}.json": ("cow", "bird") for name in "dcba"}
    with pytest.raises(InputError) as error:
        refuse_lost(files)
    said = str(error.value)
    assert said.startswith(f"{tmp_path}: ") and "4 reviewed images with 'bird', 'cow'" in said
    assert said.endswith("images/a.json, " + f"{tmp_path}/images/b.json, {tmp_path}/images/c.json, ...")
