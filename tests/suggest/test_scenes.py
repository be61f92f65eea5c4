"""Objects outside their usual scene, and what to photograph."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from deft.suggest.scenes import unusual, wanted


def data(labels: list[tuple[int, ...]], contexts: list[tuple[int, ...]] | None = None) -> Any:
    """Tags alone: indices of classes, and of contexts, of each image."""

    def hot(rows: list[tuple[int, ...]], count: int) -> np.ndarray:
        found = np.zeros((len(rows), count), dtype=np.bool_)
        for index, row in enumerate(rows):
            found[index, list(row)] = True
        return found

    return SimpleNamespace(
        classes=("cow", "boat"),
        contexts=("grass", "sand"),
        labels=hot(labels, 2),
        context_labels=None if contexts is None else hot(contexts, 2),
    )


def test_a_class_in_a_rare_context_is_out_of_place() -> None:
    given = data([(0,)] * 30, [(0,)] * 27 + [(1,)] * 2 + [(0, 1)])
    found = unusual(given)
    assert sorted(found) == [27, 28]  # the last one shows grass, too
    assert (found[27].of, found[27].joined, found[27].companion, found[27].count) == ("cow", "on", "sand", 3)


def test_of_few_images_nothing_is_usual() -> None:
    assert unusual(data([(0,)] * 4, [(0,)] * 3 + [(1,)])) == {}


def test_without_contexts_another_class_is_the_scene() -> None:
    found = unusual(data([(0,)] * 20 + [(1,)] * 20 + [(0, 1)]))
    assert list(found) == [40] and found[40].joined == "with" and found[40].count == 1
    assert unusual(data([(0,)] * 20 + [(1,)] * 2 + [(0, 1)] * 3)) == {}  # boats usually come with cows


def test_scarce_classes_and_those_bound_to_a_context_are_wanted() -> None:
    lines = wanted(data([(0,)] * 20 + [(1,)], [(0,)] * 19 + [(1,)] * 2))
    assert lines == [
        "boat: 1 training image; photograph more",
        "cow: 19 of 20 training images show grass; photograph it elsewhere",
    ]
    assert wanted(data([(0,)] * 20 + [(1,)], [(0,)] * 19 + [(1,)] * 2), most=1) == lines[:1]
    assert wanted(data([(0, 1)] * 20)) == []
