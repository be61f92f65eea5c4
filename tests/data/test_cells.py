from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft.data.cells import NotAList, listed, means_nothing, unquoted


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('["cow", "polar bear"]', ("cow", "polar bear")),
        ("['cow', 'polar bear']", ("cow", "polar bear")),
        ("['cow' 'polar bear'\n 'dog']", ("cow", "polar bear", "dog")),
        ("('cow', 'dog')", ("cow", "dog")),
        ("('cow',)", ("cow",)),
        ("{'dog', 'cow'}", ("cow", "dog")),
        ("{cow,dog}", ("cow", "dog")),
        ('{cow,"polar bear"}', ("cow", "polar bear")),
        ("[cow; dog]", ("cow", "dog")),
        ("[polar bear]", ("polar bear",)),
        ("set(['cow'])", ("cow",)),
        ("frozenset({'cow'})", ("cow",)),
        ("array(['cow', 'dog'], dtype=object)", ("cow", "dog")),
        ('["cow", null, "", "NaN"]', ("cow",)),
        ("['cow', nan, None]", ("cow",)),
        ('{"choices": ["cow", "dog"]}', ("cow", "dog")),
        ('[{"x": 1.5, "rectanglelabels": ["cow"]}, {"x": 2.5, "rectanglelabels": ["dog"]}]', ("cow", "dog")),
        ("{'cow': 1, 'dog': 0, 'cat': True}", ("cow", "cat")),
        ('["it\'s", "a]b"]', ("it's", "a]b")),
        ("[3, 7]", ("3", "7")),
        ("[[]]", ()),
    ],
)
def test_lists_of_every_program_are_read(cell: str, expected: tuple[str, ...]) -> None:
    assert listed(cell) == listed(f" {cell} ") == expected


@pytest.mark.parametrize("cell", ["cow", "cow, dog", "jaguar (animal)", "(juvenile)", "(a) b (c)", "a[1]", "", "x]"])
def test_what_only_contains_brackets_is_no_list(cell: str) -> None:
    assert listed(cell) is None


@pytest.mark.parametrize(
    "cell", ["['cow", "[", "{'cow': 0.9}", "[('cow', 0.9)]", "{}x]", "[" * 9_999, "[a [b] c", "[{}]"]
)
def test_what_begins_like_a_list_and_is_none_is_told(cell: str) -> None:
    with pytest.raises(NotAList):
        listed(cell)


@given(st.text(max_size=40))
def test_any_text_is_a_list_or_not(cell: str) -> None:
    for wrapped in (cell, f"[{cell}]", f"{{{cell}}}"):
        try:
            found = listed(wrapped)
        except NotAList:
            continue
        assert found is None or all(isinstance(entry, str) and not means_nothing(entry) for entry in found)


NOTHING = ["", "  ", "NaN", "nan", "None", "NULL", "n/a", "N/A", "#N/A", "<NA>", "-", "--", "\u2014", "\\N", "[]"]


@pytest.mark.parametrize("cell", NOTHING)
def test_words_for_nothing_mean_nothing(cell: str) -> None:
    assert means_nothing(cell)


@pytest.mark.parametrize("cell", ["naan", "no", "0", "unknown", "a-b", "nothing"])
def test_names_mean_something(cell: str) -> None:
    assert not means_nothing(cell)


def test_quotes_are_removed_only_if_all_parts_have_them() -> None:
    assert unquoted(["'cow'", " 'dog'"]) == ["cow", "dog"]
    assert unquoted(["'cow'", "dog"]) == ["'cow'", "dog"]
    assert unquoted(["\u201ccow\u201d"]) == ["cow"]
    assert unquoted(['"w"']) == ['"w"']
