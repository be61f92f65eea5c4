"""Reasons in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deft.suggest.scenes import Scene
from deft.suggest.words import Facts, of_scene, reason

QUIET = Facts(disagree=0.02, close=0.05, main="cow", main_images=40, first=True)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "the first of cow"),
        ({"first": False}, "adds to cow"),
        ({"disagree": 0.41}, "mask and network disagree on 41 % (cow)"),
        ({"close": 0.3}, "30 % close to the threshold (cow)"),
        ({"close": 0.3, "main_images": 4}, "rare class: cow, low margin"),
        ({"main_images": 4}, "rare class: cow"),
        ({"main": "background", "main_images": 4}, "the first of background"),
        ({"untagged": ("dog", 0.12)}, "the network sees dog on 12 %, which is no tag"),
        ({"doubtful": ("cow", True)}, "the tag cow is doubtful"),
        ({"doubtful": ("dog", False)}, "the tag dog may be missing"),
        ({"disagree": 0.2, "close": 0.3}, "mask and network disagree on 20 % (cow); 30 % close to the threshold"),
        (
            {"disagree": 0.2, "close": 0.3, "scene": Scene("cow", "sand", "on", 3)},
            "cow on sand: the only three; mask and network disagree on 20 % (cow)",
        ),
    ],
)
def test_the_most_telling_reasons_are_given(changed: dict[str, object], said: str) -> None:
    assert reason(replace(QUIET, **changed)) == said  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "said"), [(1, "the only one"), (3, "the only three"), (9, "the only nine"), (10, "10 images")]
)
def test_a_scene_says_how_many_there_are(count: int, said: str) -> None:
    assert of_scene(Scene("cow", "boat", "with", count)) == f"cow with boat: {said}"
