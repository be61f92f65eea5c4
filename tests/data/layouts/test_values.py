from __future__ import annotations

import math
from typing import Any

import pytest

from deft.data.layouts.values import (
    class_of,
    flag,
    id_order,
    identifier,
    is_nothing,
    number,
    short,
    whole_number,
)


@pytest.mark.parametrize("value", [None, math.nan, "", "  ", "NaN", "null", "None"])
def test_what_tables_write_for_nothing_is_nothing(value: Any) -> None:
    assert is_nothing(value) and identifier(value) is None and class_of(value) is None and flag(value) is False


@pytest.mark.parametrize("value", [0, 0.0, False, "0", [], {}, math.inf])
def test_zero_and_empty_lists_are_something(value: Any) -> None:
    assert not is_nothing(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        ("3.5", 3.5),
        (" 1e3 ", 1000.0),
        (True, None),
        ("x", None),
        (math.inf, None),
        (10**400, None),
        ([], None),
    ],
)
def test_numbers_may_be_text_and_are_finite(value: Any, expected: float | None) -> None:
    assert number(value) == expected


def test_whole_numbers_may_be_floats() -> None:
    assert [whole_number(value) for value in (3, 3.0, "3", "3.0", -(2**62))] == [3, 3, 3, 3, -(2**62)]
    assert whole_number(3.5) is None and whole_number(True) is None
    for large in (2**63, -(2**63), 10**30, 10**400, 1e30, str(10**30), "9" * 400):
        assert whole_number(large) is None


@pytest.mark.parametrize("value", ["no", "False", 0, 0.0, False, "0", "n"])
def test_words_for_no_are_no(value: Any) -> None:
    assert flag(value) is False


@pytest.mark.parametrize("value", ["Yes", "true", 1, 1.0, True, "1"])
def test_words_for_yes_are_yes(value: Any) -> None:
    assert flag(value) is True


@pytest.mark.parametrize("value", ["perhaps", 2, -1, [], {"a": 1}])
def test_other_words_are_neither(value: Any) -> None:
    assert flag(value) is None


def test_ids_are_equal_in_every_spelling_of_the_same_number() -> None:
    assert {identifier(value) for value in (7, 7.0, "7", " 7.0 ")} == {"7"}
    assert len({identifier(value) for value in ("007", "7", "a", "A", 7.5, "-7", 10**5000)}) == 7
    assert [identifier(value) for value in (True, [1], {})] == [None, None, None]


def test_ids_are_sorted_by_number_and_then_as_text() -> None:
    assert sorted(["b", "10", "9", "-1", "a", "007"], key=id_order) == ["-1", "9", "10", "007", "a", "b"]


def test_a_class_is_text_that_can_be_printed() -> None:
    assert [class_of(value) for value in (" cat ", 5, 5.0, "\ud83d", "a\nb", ["cat"], True)] == (
        ["cat", "5", "5", None, None, None, None]
    )


def test_values_are_short_in_messages() -> None:
    assert short("é\n") == "'\\xe9\\n'" and len(short("x" * 10_000)) <= 60 and "large" in short(10**5000)
    bomb: list[Any] = [1] * 9
    for _ in range(30):
        bomb = [bomb] * 9
    assert len(short(bomb)) <= 60
