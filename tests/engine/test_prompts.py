from __future__ import annotations

from pathlib import Path

import pytest

from deft.contracts import InputError
from deft.engine.prompts import WORDS, plain_prompts, read_prompts

CLASSES = ("bird", "potted_plant", "grass")


def written(folder: Path, text: str) -> Path:
    path = folder / "prompts.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_classes_have_their_names_and_the_usual_words_that_are_no_class() -> None:
    found = plain_prompts(CLASSES)
    assert found.classes == (("bird",), ("potted plant",), ("grass",))
    assert found.background == tuple(word for word in WORDS if word != "grass")
    with pytest.raises(InputError, match="expected words for the background, and all usual ones are classes"):
        plain_prompts(WORDS)


def test_a_file_has_prompts_of_classes_and_words_for_the_background(tmp_path: Path) -> None:
    text = 'class,prompts\n\nbird,bird avian; a sparrow ;bird avian\ngrass,"lawn, mown"\nbackground,sky;polar-ice\n'
    found = read_prompts(written(tmp_path, text), CLASSES)
    assert found.classes == (("bird avian", "a sparrow"), ("potted plant",), ("lawn, mown",))
    assert found.background == ("sky", "polar-ice")
    own = read_prompts(written(tmp_path, "Class, Prompts\nbird,a tree"), CLASSES)
    assert "grass" not in own.background and "tree" in own.background


@pytest.mark.parametrize(
    "text",
    [
        'class;prompts\nbird;"owl;a hawk, brown"\nbackground;sky\n',
        "class;prompts;\r\nbird;owl;a hawk, brown\r\nbackground;sky;\r\n",
        "class\tprompts\nbird\towl;a hawk, brown\nbackground\tsky\n",
        "class;prompts\rbird;owl;a hawk, brown\rbackground;sky\r",
        '"class","prompts",\n"bird","owl;a hawk, brown",\n"background","sky",\n',
    ],
)
def test_columns_are_separated_as_spreadsheets_do(text: str, tmp_path: Path) -> None:
    found = read_prompts(written(tmp_path, text), CLASSES)
    assert found.classes[0] == ("owl", "a hawk, brown") and found.background == ("sky",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"prompts\.csv: expected the header 'class,prompts', got an empty file; write it first"),
        ("bird,avian\n", r"prompts\.csv:1: expected the header 'class,prompts', got 'bird, avian'"),
        ("class,prompts\nbrid,avian\n", r"csv:2: prompts for 'brid', which is no class .*; did you mean 'bird'\?"),
        ("class,prompts\nbird,a\nbird,b\n", r"csv:3: prompts for 'bird' a second time \(see line 2\)"),
        ("class,prompts\nbird,;\n", r"csv:2: no prompts for 'bird'"),
        ("class,prompts\nbird\n", r"csv:2: no prompts for 'bird'"),
        ("class,prompts\nbird,a,b\n", r"csv:2: expected a class and its prompts, got 3 columns; put prompts"),
        ('class,prompts\nbird,"a\n', r"csv:\d: expected a table of class and prompts, got unexpected end of data"),
        ("class,prompts\nbackground,sky;Grass\n", r"csv:2: the background word 'Grass' is a class of the data; remove"),
        ("class,prompts\nbackground,Potted-Plant\n", r"csv:2: the background word 'Potted-Plant' is a class"),
        ("class,prompts\nbird,owl\nbackground,owl\n", r"csv:3: the background word 'owl' is a prompt of the class"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_prompts(written(tmp_path, text), CLASSES)


def test_the_first_of_many_faults_are_listed(tmp_path: Path) -> None:
    lines = ["class,prompts", *(f"unknown {number},x" for number in range(9))]
    with pytest.raises(InputError) as caught:
        read_prompts(written(tmp_path, "\n".join(lines)), CLASSES)
    assert str(caught.value).count("which is no class") == 5 and str(caught.value).endswith("... and 4 more")


def test_a_missing_file_and_a_class_named_background_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: cannot be opened"):
        read_prompts(tmp_path / "none.csv", CLASSES)
    with pytest.raises(InputError, match="the data has a class 'background'"):
        read_prompts(written(tmp_path, "class,prompts\nbird,a"), ("bird", "background"))
