from __future__ import annotations

import re

import pytest

from deft.studies.words import literal


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "[click](javascript:alert(1))",
        "![x](http://evil/x.png)",
        "`code`",
        "**bold** _it_ ~~no~~",
        "a\nb\n# head",
        "a\\`b",
        "&lt;b&gt;",
    ],
)
def test_no_mark_up_is_left(text: str) -> None:
    shown = literal(text)
    assert "<" not in shown and ">" not in shown and "\n" not in shown
    assert not re.search(r"(?<!\\)(\\\\)*[`*_\[\]()#!~]", shown)
    assert "&lt;b" not in shown.replace("&amp;lt;b", "")


def test_plain_names_stay_and_long_ones_are_cut() -> None:
    assert literal("dining table") == "dining table"
    assert literal("猫") == "猫"
    assert len(literal("x" * 500)) == 80
    assert literal("") == "–"
    assert "\u202e" not in literal("a\u202eb")
