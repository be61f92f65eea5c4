from __future__ import annotations

import os
from pathlib import Path

import pytest

from deft.guards.words import first_line, printable, shown


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photos/cow.jpg", "photos/cow.jpg"),
        ("Kühe/牛.jpg", "Kühe/牛.jpg"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("a\x9bb\x7f", "a\\x9bb\\x7f"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("a\u2028b", "a\\u2028b"),
        (os.fsdecode(b"a\xe9.jpg"), "a\\xe9.jpg"),
    ],
)
def test_names_are_shown_on_one_line_without_what_terminals_obey(name: str, expected: str) -> None:
    assert shown(name) == expected
    assert shown(Path(name)) == expected
    shown(name).encode("utf-8")


def test_messages_keep_their_lines() -> None:
    assert printable("one\n\ttwo\x1b]0;title\x07") == "one\n\ttwo\\x1b]0;title\\x07"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("first\nsecond"), "first"),
        (OSError(""), "OSError"),
        (RuntimeError("\n  told late"), "told late"),
        (ValueError("x" * 500), "x" * 200),
    ],
)
def test_errors_of_libraries_are_told_in_their_first_line(error: Exception, expected: str) -> None:
    assert first_line(error) == expected
