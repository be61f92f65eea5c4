"""The tests stand where their modules do: ``deft/part/name.py`` is tested by ``tests/part/test_name.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

import deft

PACKAGE = Path(deft.__file__).parent
TESTS = Path(__file__).parent

ELSEWHERE = {
    **{
        f"cli/{name}.py": ("cli/test_commands.py", "verbs, as commands") for name in ("runs", "photographs", "datasets")
    },
    "cli/options.py": ("cli/test_commands.py", "what verbs share, as options of commands"),
    "seeds/clip_network.py": ("seeds/test_clip_text.py", "the network and its maps have one slow reference"),
    "__main__.py": ("cli/test_commands.py", "it is the command, started with python -m deft"),
}
"""Modules that are tested together with others: where, and why."""

TOGETHER = {
    "cli/test_commands.py": "the verbs, as commands",
    "backbone/test_families.py": "one network of each of timm's families through forward pass, step and map",
    "backbone/test_frozen_transformers.py": "frozen transformers: tables of positions, tokens and self-attention",
    "engine/test_global_batch.py": "networks of four parts train alike on two processes",
    "review/test_page.py": "the page, in a browser: going through images",
    "review/test_page_access.py": "the page for keys, screen readers and eyes",
    "review/test_page_learning.py": "the page while a round is made",
    "review/test_page_modules.py": "modules of the page against other implementations",
    "review/test_page_saving.py": "the page when its server ends, and in two windows",
    "review/test_page_tools.py": "what is painted on the page",
    "runner/test_rounds.py": "a review goes from a run's folder into every stage of its next round",
    "runner/test_own_data.py": "data of a user's file goes through every verb",
    "studies/test_score_rows.py": "the table studies differ in rows and columns alone",
}
"""Tests of several modules at once, and why they stand together. Those at the top are of the whole."""


def modules() -> list[str]:
    """Every module but those of packages, which hold names of other modules and no work of their own."""
    return [
        path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py"
    ]


def mirror(module: str) -> str:
    """Where the tests of a module stand."""
    path = Path(module)
    return (path.parent / f"test_{path.name}").as_posix()


@pytest.mark.parametrize("module", modules())
def test_every_module_is_tested_where_one_looks_for_it(module: str) -> None:
    place = ELSEWHERE[module][0] if module in ELSEWHERE else mirror(module)
    path = TESTS / place
    assert path.is_file(), f"expected tests of deft/{module} in tests/{place}; write them, or say in ELSEWHERE where"
    assert "\ndef test_" in path.read_text(encoding="utf-8")


def test_what_is_tested_elsewhere_is_there_and_has_no_tests_of_its_own() -> None:
    assert ELSEWHERE.keys() <= set(modules())
    assert not [module for module in ELSEWHERE if (TESTS / mirror(module)).exists()]


def test_no_tests_are_left_of_a_module_that_is_gone() -> None:
    mirrors = {mirror(module) for module in modules()}
    inside = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("*/test_*.py")}
    assert inside - mirrors == TOGETHER.keys()
