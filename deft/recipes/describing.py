"""Description of a recipe: the first line and the paper in its docstring, and its differences from ``irn``."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deft.contracts import InputError
from deft.recipes import RECIPES
from deft.recipes.finding import Function, installed, only


@dataclass(frozen=True)
class Described:
    """A recipe's parsed docstring."""

    name: str
    line: str
    """Its first line; empty if there is no docstring."""
    paper: str
    """The text after ``Paper:``, without the full stop."""


def describe(name: str, recipe: Function) -> Described:
    """Parse a recipe's docstring."""
    text = inspect.getdoc(recipe) or ""
    line, _, rest = text.partition("\n")
    paper = re.search(r"^Paper:\s*(.+?)(?:\n\s*\n|\Z)", rest, re.MULTILINE | re.DOTALL)
    return Described(name, line.strip(), " ".join(paper[1].split()).removesuffix(".") if paper else "")


def describe_all() -> list[Described]:
    """All recipes, this package's first; for one that cannot be imported, the line gives the reason."""
    found = [describe(name, recipe) for name, recipe in RECIPES.items()]
    for name, offers in installed().items():
        try:
            offer = only(name, offers)
            one = describe(name, offer.function())
            found.append(dataclasses.replace(one, line=f"{one.line} [{offer.package}]".strip()))
        except InputError as error:
            found.append(Described(name, f"cannot be used: {error}", ""))
    return found


def differences(settings: Any, base: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Fields in which nested settings differ from others: the field, its value, and the other value.

    If a group of fields was replaced by another, its class is listed, followed by all its fields with empty other
    values.
    """
    for field in dataclasses.fields(settings):
        own, other = getattr(settings, field.name), getattr(base, field.name, None)
        name = f"{prefix}{field.name}"
        if _is_group(own) and type(own) is type(other):
            yield from differences(own, other, f"{name}.")
        elif _is_group(own):
            yield name, type(own).__name__, _shown(other)
            yield from _fields(own, f"{name}.")
        elif own != other:
            yield name, _shown(own), _shown(other)


def _fields(group: Any, prefix: str) -> Iterator[tuple[str, str, str]]:
    for field in dataclasses.fields(group):
        value = getattr(group, field.name)
        yield f"{prefix}{field.name}", _shown(value), ""
        if _is_group(value):
            yield from _fields(value, f"{prefix}{field.name}.")


def _is_group(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _shown(value: Any) -> str:
    return type(value).__name__ if _is_group(value) else repr(value)
