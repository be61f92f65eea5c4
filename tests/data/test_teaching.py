from __future__ import annotations

import numpy as np

from deft.data.teaching import unteachable


def told(rows: list[list[int]]) -> list[str]:
    return [what for what, _ in unteachable(np.array(rows, dtype=np.bool_), ("cow", "dog", "cat")[: len(rows[0])])]


def test_labels_that_teach_have_no_remark() -> None:
    assert told([[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 0]]) == []


def test_a_class_on_every_image() -> None:
    [what] = told([[1, 0, 1], [1, 1, 0], [1, 1, 0], [1, 0, 1]])
    assert what == "class 'cow' is on every training image, and there is nothing to tell it from"


def test_nothing_but_one_class() -> None:
    [what] = told([[1], [1], [1]])
    assert what.endswith("no class can be learned")
    assert told([[1], [1], [0]]) == []


def test_a_class_on_one_image() -> None:
    assert told([[1, 0], [0, 1], [0, 1]]) == ["class 'cow' is on a single training image"]
    assert told([[1, 0], [0, 1], [0, 0]]) == ["classes 'cow', 'dog' are on a single training image each"]


def test_classes_that_are_always_together() -> None:
    [what] = told([[1, 1, 0], [1, 1, 1], [0, 0, 1], [0, 0, 0]])
    assert what == "classes that are always together cannot be told apart: 'cow', 'dog'"


def test_classes_without_an_image_are_told_elsewhere() -> None:
    assert told([[1, 0, 0], [1, 0, 0], [0, 0, 0]]) == []
