from __future__ import annotations

import re

import pytest

from deft.studies.markdown import escape_markdown


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
def test_no_markup_is_left(text: str) -> None:
    shown = escape_markdown(text)
    assert "<" not in shown and ">" not in shown and "\n" not in shown
    assert not re.search(r"(?<!\\)(\\\\)*[`*_\[\]()#!~]", shown)
    assert "&lt;b" not in shown.replace("&amp;lt;b", "")


def test_plain_names_are_unchanged_and_long_ones_are_cut() -> None:
    assert escape_markdown("dining table") == "dining table"
    assert escape_markdown("猫") == "猫"
    assert len(escape_markdown("x" * 500)) == 80
    assert escape_markdown("") == "–"
    assert "\u202e" not in escape_markdown("a\u202eb")
