from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deft.contracts import InputError
from deft.extend.files import code_digest, load_file, load_users_file, loaded, named


def test_a_file_does_not_take_the_place_of_a_module(tmp_path: Path) -> None:
    import json

    file = tmp_path / "json.py"
    file.write_text("def Birds():\n    return 3\n")
    module = load_file(file, "data")
    assert named(module, "Birds")() == 3
    assert sys.modules["json"] is json


def test_one_file_may_be_a_recipe_and_data(tmp_path: Path) -> None:
    file = tmp_path / "both.py"
    file.write_text("x = object()\n")
    assert load_file(file, "data").x is not load_file(file, "recipe").x
    assert {"deft_data_both", "deft_recipe_both"} <= set(sys.modules)


def test_a_file_that_fails_leaves_no_module(tmp_path: Path) -> None:
    file = tmp_path / "failing.py"
    file.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        load_file(file, "data")
    assert "deft_data_failing" not in sys.modules


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a Python file, found no file"):
        load_file(tmp_path / "gone.py", "data")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(InputError, match="expected a Python file, found a folder"):
        load_file(tmp_path / "folder.py", "data")
    file = tmp_path / "mine.py"
    file.write_text("from pathlib import Path\n\nclass Birds: ...\n\ndef _hidden(): ...\n\nnumber = 3\n")
    module = load_file(file, "data")
    with pytest.raises(InputError, match=r"'Brids', found none; did you mean 'Birds'\? It defines: Birds$"):
        named(module, "Brids")
    with pytest.raises(InputError, match=r"'number', found none\. It defines: Birds$"):
        named(module, "number")


def test_the_digest_follows_the_code(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("x = 1\n")
    before = code_digest(file)
    assert len(before) == 12
    assert code_digest(file) == before
    file.write_text("x = 2\n")
    assert code_digest(file) != before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n1 / 0\n", "mine.py:2: ZeroDivisionError: division by zero; correct the file"),
        ("import json\ndef (:\n", "mine.py:2: SyntaxError: invalid syntax; correct the file"),
        ("import no_such_module_here\n", "mine.py:1: ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("def f():\n    raise KeyError('a')\n\n\nf()\n", "mine.py:2: KeyError: 'a'; correct the file"),
    ],
)
def test_code_that_fails_is_one_message_with_its_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InputError) as told:
        load_users_file(tmp_path / "mine.py", "recipe")
    assert words in str(told.value) and "\n" not in str(told.value)


def test_a_file_that_was_imported_is_not_executed_again(tmp_path: Path) -> None:
    file, other = tmp_path / "once_only.py", tmp_path / "other" / "once_only.py"
    file.write_text("x = []\n")
    assert loaded(file, "data") is None
    module = load_file(file, "data")
    assert loaded(file, "data") is module and loaded(file, "recipe") is None and loaded(other, "data") is None
