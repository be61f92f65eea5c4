from __future__ import annotations

import json
from typing import Any

import pytest

from deft.data.differences import differences
from deft.data.fingerprints import Taught


def split(classes: tuple[str, ...] = ("cat", "cow"), **images: tuple[str, tuple[int, ...]]) -> Taught:
    """Images with a digest and tags each."""
    tags = {name: each for name, (_, each) in images.items()}
    return Taught(classes, tags, tuple(digest for digest, _ in images.values()), "f")


BEFORE = split(a=("1", (0,)), b=("2", (1,)), c=("3", ()), d=("4", (0, 1)), e=("5", (0,)))


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (BEFORE, ""),
        (split(a=("9", (0,)), b=("2", (1,)), c=("3", ()), d=("4", (0, 1)), e=("5", (0,))), "1 image changed (a)"),
        (split(a=("2", (0,)), b=("1", (1,)), c=("3", ()), d=("4", (0, 1)), e=("5", (0,))), "2 images changed (a, b)"),
        (split(a=("1", (0,)), b=("2", (1,)), c=("3", ()), d=("4", (0, 1))), "1 image is missing (e)"),
        (split(a=("1", (0,))), "4 images are missing (b, c, d, ...)"),
        (split(a=("1", (1,)), b=("2", (1,)), c=("3", ()), d=("4", (0, 1)), e=("5", ())), "2 images have other tags"),
        (
            split(e=("5", (0,)), d=("4", (0, 1)), c=("3", ()), b=("2", (1,)), a=("1", (0,))),
            "images are in another order",
        ),
        (
            split(a=("0", (0,)), b=("2", (1,)), c=("3", ()), d=("4", (0, 1)), f=("5", (0,)), g=("6", ())),
            "1 image changed (a), 1 image is missing (e), 2 images are new (f, g)",
        ),
        (
            split(("cat", "dog"), a=("1", (0,)), b=("2", (1,)), c=("3", ()), d=("4", (0, 1)), e=("5", (0,))),
            "classes are cat, dog instead of cat, cow",
        ),
    ],
)
def test_what_differs_is_named(now: Taught, words: str) -> None:
    found = differences(json.loads(json.dumps(BEFORE.to_json())), now)
    assert found.startswith(words) and (found == "") == (words == "")


@pytest.mark.parametrize("before", [None, 1, [], {}, {"images": []}, {"images": {"a": 1}}, {"images": {"a": [1, 2]}}])
def test_a_record_that_is_none_names_nothing(before: Any) -> None:
    assert differences(before, BEFORE) == ""


def test_odd_names_are_escaped() -> None:
    odd = Taught(("cat",), {"\x1b[1m\udcff": (0,)}, ("1",), "f")
    assert differences(split(("cat",)).to_json(), odd) == "1 image is new (\\x1b[1m\\xff)"
