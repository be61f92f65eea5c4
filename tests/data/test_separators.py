from __future__ import annotations

import pytest

from deft.data.separators import split_cells

Tags = list[tuple[str, ...]]


def split(cells: list[str], classes: tuple[str, ...] = ()) -> tuple[Tags, str, str]:
    """Tags, all remarks, and the fault."""
    found = split_cells(list(enumerate(cells, 2)), classes)
    return found.tags, " / ".join(what for what, _ in found.remarks), "" if found.fault is None else found.fault[1]


@pytest.mark.parametrize(
    ("cells", "expected", "word"),
    [
        (["cow;polar bear", "dog"], [("cow", "polar bear"), ("dog",)], ""),
        (["polar bear;", ""], [("polar bear",), ()], ""),
        (["dog|ball", "dog"], [("dog", "ball"), ("dog",)], "'|'"),
        (["dog, ball"], [("dog", "ball")], "','"),
        (["'dog, ball'", "cat"], [("dog", "ball"), ("cat",)], "','"),
        (["'dog', 'polar bear'"], [("dog", "polar bear")], "','"),
        (["dog\uff0cball", "a\u3001b"], [("dog", "ball"), ("a", "b")], "','"),
        (["polar bear\ndog", "dog"], [("polar bear", "dog"), ("dog",)], "ends of lines"),
        (["dog/cat", "dog", "cat"], [("dog", "cat"), ("dog",), ("cat",)], "'/'"),
        (["dog and cat", "dog", "cat"], [("dog", "cat"), ("dog",), ("cat",)], "'and'"),
        (["CD/DVD", "book"], [("CD/DVD",), ("book",)], ""),
        (["['cow', 'dog']", "cat"], [("cow", "dog"), ("cat",)], "lists"),
        (["N/A", "dog;-;None", "nan"], [(), ("dog",), ()], "'N/A' is read as no label, in 2 rows"),
        (["big cow, brown;grass"], [("big cow, brown", "grass")], "',' is part of a name"),
    ],
)
def test_the_separator_of_a_table_is_found_and_told(cells: list[str], expected: Tags, word: str) -> None:
    tags, remarks, fault = split(cells)
    assert (tags, fault) == (expected, "") and word in remarks
    assert bool(remarks) == bool(word)


@pytest.mark.parametrize(
    "cells",
    [
        ["polar bear"],
        ["polar bear", "seal", "brown bear"],
        ["polar bear", "brown bear", "black bear", "sun bear"],
        ["traffic light", "dog", "hot dog", "stop sign", "fire hydrant"],
        ["black and white colobus", "vervet"],
    ],
)
def test_names_of_several_words_stay_one_class(cells: list[str]) -> None:
    tags, remarks, fault = split(cells)
    assert tags == [(cell,) for cell in cells] and not fault
    assert "several words are read as one" in remarks


@pytest.mark.parametrize(
    "cells",
    [
        ["cow grass", "cow"],
        ["cow grass", "grass cow"],
        ["cow cow", "grass  cow"],
        ["cow grass", "cow sky", "sheep grass", "sheep sky"],
        [" ".join(f"class{k}" for k in range(9))],
    ],
)
def test_spaces_separate_where_words_also_occur_apart(cells: list[str]) -> None:
    tags, remarks, fault = split(cells)
    assert tags == [tuple(dict.fromkeys(cell.split())) for cell in cells] and not fault
    assert "separated by spaces" in remarks


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["dog;ball", "cat|dog"], ("';' in line 2", "'|' in line 3")),
        (["dog|ball", "dog, cat"], ("'|' in line 2", "',' in line 3")),
        (["dog;ball", "dog, cat", "cat"], ("';' in line 2", "',' in line 3")),
        (["dog", "['dog', "], ("cannot be read",)),
    ],
)
def test_what_is_ambiguous_is_one_fault(cells: list[str], words: tuple[str, ...]) -> None:
    tags, _, fault = split(cells)
    assert tags == [] and all(word in fault for word in words)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("polar bear", ("polar bear",)),
        ("polar bear cow", ("polar bear", "cow")),
        ("cow|polar bear", ("cow", "polar bear")),
        ("cow, polar bear", ("cow", "polar bear")),
        ("cow/polar bear", ("cow", "polar bear")),
        ("tench, Tinca tinca", ("tench, Tinca tinca",)),
        ("cow dgo", ("cow", "dgo")),
        ("polar baer", ("polar baer",)),
        ("none", ("none",)),
        ("-", ()),
    ],
)
def test_known_classes_decide(cell: str, expected: tuple[str, ...]) -> None:
    assert split([cell], ("cow", "polar bear", "tench, Tinca tinca", "none"))[0] == [expected]


def test_known_classes_resolve_what_would_be_ambiguous() -> None:
    assert split(["cow|dog", "cow;dog"], ("cow", "dog"))[0] == [("cow", "dog")] * 2
    assert split(["a b c"], ("a b", "b c", "a", "c"))[0] == [("a", "b", "c")]
