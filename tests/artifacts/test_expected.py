from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deft.artifacts.expected import ANY, difference, read_expected
from deft.contracts import InputError

FORM: Any = {"name": str, "count": int, "share?": (float, type(None)), "rows": [[int, float]], "by": {str: bool}}
RIGHT: Any = {"name": "a", "count": 3, "share": None, "rows": [[1, 0.5], [2, 7]], "by": {"x": True}, "more": []}


def test_a_value_of_the_form_fits_also_with_other_entries_and_without_optional_ones() -> None:
    assert difference(RIGHT, FORM) == ""
    assert difference({name: value for name, value in RIGHT.items() if name not in ("share", "more")}, FORM) == ""
    assert difference({**RIGHT, "share": 2, "rows": [], "by": {}}, FORM) == ""
    assert difference({"x": object()}, {"x": ANY}) == difference({}, {}) == ""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": 7}, "expected 'name' to be text, got '7'"),
        ({"name": None}, "expected 'name' to be text, got 'None'"),
        ({"count": True}, "expected 'count' to be a whole number, got 'True'"),
        ({"count": 1.5}, "expected 'count' to be a whole number, got '1.5'"),
        ({"count": 10**30}, f"expected 'count' to be a whole number, got '{10**30}'"),
        ({"share": float("nan")}, "expected 'share' to be a finite number, got 'nan'"),
        ({"share": float("inf")}, "expected 'share' to be a finite number, got 'inf'"),
        ({"share": 10**400}, f"expected 'share' to be a finite number, got '{str(10**400)[:60]}'"),
        ({"share": "0.5"}, "expected 'share' to be a finite number, got '0.5'"),
        ({"rows": {}}, "expected 'rows' to be a list, got '{}'"),
        ({"rows": [[1, 2], [1]]}, "expected 'rows.1' to be a list of 2 values, got '[1]'"),
        ({"rows": [[1, 2], [1, "x"]]}, "expected 'rows.1.1' to be a finite number, got 'x'"),
        ({"by": {"x": 1}}, "expected 'by.x' to be true or false, got '1'"),
        ({"by": []}, "expected 'by' to be an object, got '[]'"),
    ],
)
def test_the_first_difference_is_named_with_its_place(change: dict[str, Any], told: str) -> None:
    assert difference({**RIGHT, **change}, FORM) == told


def test_missing_entries_and_wholly_other_values_are_named() -> None:
    assert difference({}, {"a": {"b": int}}) == "expected an entry 'a', found none"
    assert difference({"a": {}}, {"a": {"b": int}}) == "expected an entry 'a.b', found none"
    for value in ([], "x", 3, None):
        assert difference(value, FORM).startswith("expected its content to be an object, got")
    assert difference({"a": 1}, ({"b": int}, {})) == "expected an entry 'b', found none"


def test_a_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    assert read_expected(path, {"a": int}, "make it again") == {"a": 1}
    with pytest.raises(InputError) as caught:
        read_expected(path, {"a": str}, "make it again")
    assert str(caught.value) == f"{path}: expected 'a' to be text, got '1'; make it again"
