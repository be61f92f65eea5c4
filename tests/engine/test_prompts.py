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
    with pytest.raises(
        InputError, match="expected words for the background, and all usual ones are words of the class"
    ):
        plain_prompts(WORDS)


def test_usual_words_that_a_class_is_made_of_do_not_compete_with_it(tmp_path: Path) -> None:
    """In the plural, in compounds and in any case; not those that only surround it."""
    assert left_out(["buildings", "Boats", "trees", "street_sign", "sea water"]) == {
        *("building", "tree", "street", "sign", "sea", "water")
    }
    assert left_out(["ROCKS", "Railways", "valley-bridges", "skies", "Oceans"]) == {
        *("rock", "railway", "valley", "bridge", "sky", "ocean")
    }
    assert left_out(["grasses", "glasses", "walls", "houses"]) == {"grass", "wall", "house"}
    assert left_out(["seal", "skyscraper", "bus", "landing", "boat_on_water", "person in a house"]) == set()
    text = "class,prompts\nboat,a ship on the sea;lake boats\ndog,house dog with a helmet\n"
    found = read_prompts(written(tmp_path, text), ("boat", "dog"))
    assert set(WORDS) - set(found.background) == {"lake", "house"}


def left_out(classes: list[str]) -> set[str]:
    return set(WORDS) - set(plain_prompts(classes).background)


@pytest.mark.parametrize(
    ("prompt", "word"),
    [
        *(("ball", "balls"), ("Balls", "ball"), ("bus", "buses"), ("box", "Boxes"), ("berries", "berry")),
        *(
            ("wolf", "wolves"),
            ("tennis_ball", "tennis-balls"),
            ("glass", "glasses"),
            ("potato", "potatoes"),
            ("a ball", "The balls"),
        ),
    ],
)
def test_words_for_the_background_are_compared_in_the_singular(prompt: str, word: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"class,prompts\nbird,{prompt}\nbackground,sky;{word}\n")
    with pytest.raises(
        InputError, match=rf"csv:3: the background word '{word}' is a prompt of the class 'bird'; remov"
    ):
        read_prompts(path, CLASSES)
    with pytest.raises(InputError, match=rf"csv:3: the background word '{word}' is a class of the data"):
        read_prompts(written(tmp_path, f"class,prompts\nbird,owl\nbackground,{word}\n"), (*CLASSES[:1], prompt))


def test_a_users_word_that_is_a_part_of_a_class_is_kept(tmp_path: Path) -> None:
    text = "class,prompts\nbackground,street;water;as;plant pots\n"
    found = read_prompts(written(tmp_path, text), ("street sign", "sea water", "ass", "potted_plant"))
    assert found.background == ("street", "water", "as", "plant pots")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("red,thing\nblue,thing\n", r"csv:3: the prompt 'thing' is that of two classes, 'red' \(line 2\) and 'blue' "),
        (
            "blue,a;Red-Thing\nred,red thing\n",
            r"csv:3: the prompt 'Red-Thing' .*'red' \(line 3\) and 'blue' \(line 2\)",
        ),
        ("blue,Red\n", r"csv:2: .*'red' \(which has no row\) and 'blue' \(line 2\), .*; write other words for one"),
    ],
)
def test_two_classes_with_the_same_prompt_are_refused_with_both_lines(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_prompts(written(tmp_path, f"class,prompts\n{text}"), ("red", "blue"))


def test_two_classes_with_the_same_name_are_told_apart_by_prompts_alone(tmp_path: Path) -> None:
    classes = ("street_sign", "Street-Sign")
    with pytest.raises(
        InputError, match=r"the classes 'street_sign' and 'Street-Sign' have the same words.*prompts\.csv"
    ):
        plain_prompts(classes)
    with pytest.raises(InputError, match=r"csv: the prompt 'Street-Sign' .*'street_sign' \(which has no row\) and"):
        read_prompts(written(tmp_path, "class,prompts\nbackground,sky\n"), classes)
    found = read_prompts(written(tmp_path, "class,prompts\nstreet_sign,a road sign\n"), classes)
    assert found.classes == (("a road sign",), ("Street-Sign",))
    assert plain_prompts(["car", "cars"]).classes == (("car",), ("cars",))  # one and several are another text


def test_a_file_has_prompts_of_classes_and_words_for_the_background(tmp_path: Path) -> None:
    text = 'class,prompts\n\nbird,bird avian; a sparrow ;bird avian\ngrass,"lawn, mown"\nbackground,sky;polar-ice\n'
    found = read_prompts(written(tmp_path, text), CLASSES)
    assert found.classes == (("bird avian", "a sparrow"), ("potted plant",), ("lawn, mown",))
    assert found.background == ("sky", "polar-ice")
    own = read_prompts(written(tmp_path, "Class, Prompts\nbird,a hawk on a tree"), CLASSES)
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


def test_a_file_that_is_no_text_is_told_without_an_option_that_it_cannot_have(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_bytes("class,prompts\nbird,\u72d7\n".encode("gbk"))
    with pytest.raises(InputError, match=r"csv:2: expected UTF-8 text, .*; save it as 'CSV UTF-8' or as UTF-8 text$"):
        read_prompts(path, CLASSES)


def test_a_missing_file_and_a_class_named_background_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: cannot be opened"):
        read_prompts(tmp_path / "none.csv", CLASSES)
    with pytest.raises(InputError, match="the data has a class 'background'"):
        read_prompts(written(tmp_path, "class,prompts\nbird,a"), ("bird", "background"))
