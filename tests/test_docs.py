"""What the documents quote is there: commands, fields, links, files, and code that runs."""

from __future__ import annotations

import ast
import re
import shlex
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import deft
from deft.cli.arguments import parser
from deft.contracts import InputError
from deft.pipeline import Pipeline
from deft.recipes import RECIPES
from deft.recipes.finding import find_recipe
from deft.settings import assign, fields_of
from deft.studies import STUDIES

ROOT = Path(__file__).parents[1]
AROUND = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in AROUND), *sorted((ROOT / "docs").glob("*.md"))]
VERBS = (
    *("run", "quick", "recipes", "check", "predict", "seeds", "tune", "suggest", "review", "report", "study", "verify"),
    *("export", "import", "export-model", "import-labels", "import-contexts", "demo", "voc-submit", "doctor"),
)
FORMER = ("join",)
"""Verbs of earlier versions, which only the changelog may name."""
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language, without the indentation that a list gives them."""
    found = []
    for kind, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == language:
            indent = min((len(line) - len(line.lstrip()) for line in body.splitlines() if line.strip()), default=0)
            found.append("\n".join(line[indent:] for line in body.splitlines()))
    return found


def spans(page: Path) -> list[str]:
    """Inline code."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def commands(page: Path) -> list[list[str]]:
    """Words of every quoted command that has arguments; also those in the examples' docstrings for the page on them."""
    lines = [line for body in blocks(page, "sh") for line in body.replace("\\\n", " ").splitlines()]
    if page.name == "extending.md":
        lines += [line.strip() for path in (ROOT / "examples").glob("*.py") for line in path.read_text().splitlines()]
    words = [shlex.split(text, comments=True) for text in lines + spans(page) if text.startswith("deft ")]
    return [found[1:] for found in words if found[1:] not in [[verb] for verb in VERBS]]


@cache
def fields() -> dict[str, Any]:
    """Every field that a recipe or an example of this project has, and every group of fields."""
    known: dict[str, Any] = {}
    for pipeline in [recipe() for recipe in RECIPES.values()] + [find_recipe(str(path))[1] for path in own_methods()]:
        known |= fields_of(pipeline)
    for name in list(known):
        parts = name.split(".")
        known |= {".".join(parts[:length]): None for length in range(1, len(parts))}
    return known


def settable(name: str, value: str) -> bool:
    """Whether some recipe takes a value for a field."""
    for recipe in RECIPES.values():
        with suppress(InputError):
            return bool(assign(recipe(), [f"{name}={value}"]))
    return False


def own_methods() -> list[Path]:
    return [path for path in sorted((ROOT / "examples").glob("*.py")) if "def recipe()" in path.read_text()]


def test_the_first_two_commands() -> None:
    assert blocks(PAGES[0], "sh")[0].split("\n") == ["make demo", "make test"]


@each_page
def test_commands_are_ones_the_command_line_takes(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for words in commands(page):
        if words[0].startswith("-"):
            assert words in (["--help"], ["--version"])
            continue
        if page.name == "CHANGELOG.md" and words[0] in FORMER:
            continue
        assert words[0] in VERBS, words
        given = parser().parse_args(words)
        if given.verb == "study":
            assert given.study in STUDIES or given.study == "NAME", words
            fields_set = [item.partition("=")[0] for item in given.set if item != "FIELD=VALUE"]
            assert set(fields_set) <= set(fields()), words
        if given.verb != "run":
            continue
        known = given.recipe in RECIPES or Path(given.recipe).is_file()
        assert known or given.recipe in ("RECIPE", "my_recipe.py", "my_method.py"), words
        pipeline = find_recipe(given.recipe)[1] if known else RECIPES["irn_deft"]()
        assert isinstance(assign(pipeline, [item for item in given.set if item != "FIELD=VALUE"]), Pipeline)


@each_page
def test_fields_are_ones_that_can_be_set(page: Path) -> None:
    groups = ("classifier", "seeds", "refine", "segment", "inference")
    for span in spans(page):
        if re.fullmatch(rf"({'|'.join(groups)})(\.\w+)+", span):
            assert span in fields(), span
        for name in re.findall(r"^--set ([\w.]+)=", span):
            assert name in fields() or name == "FIELD", span
        for name, value in re.findall(r"^--set ([\w.]+)=(\S+)", span):
            assert value.isupper() or value == "..." or settable(name, value), span  # capitals are the user's


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        place = page if not path else (page.parent / path).resolve()
        assert place.exists(), target
        assert place.is_relative_to(ROOT), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target


@each_page
def test_files_of_this_project_exist(page: Path) -> None:
    for span in spans(page):
        if re.fullmatch(r"(deft|tests|examples|docs|benchmarks)/[\w./]+\.\w+", span):
            assert (ROOT / span).exists(), span


@each_page
def test_python_names_what_exists(page: Path) -> None:
    for body in blocks(page, "python"):
        tree = ast.parse(body)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "deft":
                place = __import__(node.module, fromlist=[name.name for name in node.names])
                assert all(hasattr(place, name.name) for name in node.names), ast.unparse(node)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "deft":
                assert hasattr(deft, node.attr), node.attr


@each_page
def test_recipes_that_are_shown_are_recipes(page: Path) -> None:
    for body in blocks(page, "python"):
        if "def recipe()" in body:
            scope: dict[str, Any] = {}
            exec(compile(body, str(page), "exec"), scope)
            assert isinstance(scope["recipe"](), Pipeline)


def test_every_recipe_for_users_and_every_setting_of_deft_is_described() -> None:
    readme, described = PAGES[0].read_text(encoding="utf-8"), (ROOT / "docs" / "deft.md").read_text(encoding="utf-8")
    for name in ("cam", "irn", "irn_deft"):
        assert f"| `{name}` |" in readme
    for name in fields_of(RECIPES["irn_deft"]()):
        if name.startswith("classifier.head."):
            assert f"`{name}`" in described, name
    for page in sorted((ROOT / "docs").glob("*.md")):
        assert f"docs/{page.name}" in readme, page.name


def test_every_field_of_a_stage_is_described() -> None:
    described = (ROOT / "docs" / "stages.md").read_text(encoding="utf-8") + (ROOT / "docs" / "deft.md").read_text()
    for name in fields_of(RECIPES["irn_deft"]()):
        parts = name.split(".")
        if "plan" in parts or name.startswith("refine.labels.crf."):
            continue
        assert f"`{name}`" in described, name


def test_every_study_is_described() -> None:
    described = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    for name in STUDIES:
        assert f"| `{name}` |" in described, name
        assert f"deft study {name} --data" in described, name
