from __future__ import annotations

import argparse

import pytest

from deft.cli.arguments import parser


def verbs() -> dict[str, argparse.ArgumentParser]:
    (known,) = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(known.choices)


def test_the_help_of_run_says_where_recipes_and_data_come_from() -> None:
    words = " ".join(verbs()["run"].format_help().split())
    assert "deft recipes lists all" in words
    assert "my_data.py:Birds?root=photos" in words


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_option_is_explained(verb: str) -> None:
    unexplained = [action.dest for action in verbs()[verb]._actions if not action.help]
    assert not unexplained


RUN = ("run", "irn", "--data", "folder:x", "--out", "y")
REVIEW = ("review", "runs/mine")


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ((*RUN, "--threads", "auto"), "threads", "auto"),
        ((*RUN, "--threads", "1024"), "threads", 1024),
        ((*RUN, "--memory", "0.1"), "memory", 0.1),
        ((*RUN, "--memory", "auto"), "memory", "auto"),
        ((*REVIEW, "--port", "65535"), "port", 65535),
    ],
)
def test_numbers_and_auto(words: tuple[str, ...], name: str, value: object) -> None:
    assert getattr(parser().parse_args(words), name) == value


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The last line of what is said when words are refused."""
    with pytest.raises(SystemExit) as end:
        parser().parse_args(words)
    assert end.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("number", ["0", "-2", "many", "1.5", "1025", "5000"])
def test_a_number_of_threads_is_checked(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = f"expected auto, or a whole number from 1 to 1024, got '{number}'"
    assert said in refused(capsys, *RUN, "--threads", number)


@pytest.mark.parametrize("number", ["0", "-2", "much", "nan", "inf", "0.05", "3GB"])
def test_a_number_of_gigabytes_is_checked(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = f"expected auto, or a number of GB from 0.1 to 1,000,000, got '{number}'"
    assert said in refused(capsys, *RUN, "--memory", number)


@pytest.mark.parametrize("number", ["80", "65536", "http", "\u0668080"])
def test_a_port_is_checked(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"expected a whole number from 1024 to 65535, got '{number}'" in refused(capsys, *REVIEW, "--port", number)


def test_an_unknown_verb_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "fly")
    assert "invalid choice: 'fly'" in said and "'review'" in said
