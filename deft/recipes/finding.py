"""Lookup of recipes for ``deft run``: those of this package, of installed packages, and of a user's file.

An installed package offers recipes in the entry point group ``deft.recipes``::

    [project.entry-points."deft.recipes"]
    theirs = "their_package.recipes:theirs"

This package's names take precedence. A name that two other packages offer is an error. Other packages are imported only
when their recipe is requested, or all recipes are listed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Any, cast

from deft.contracts import InputError
from deft.extend.files import code_digest, load_users_file
from deft.pipeline import Pipeline
from deft.recipes import RECIPES, published
from deft.settings import assign

GROUP = "deft.recipes"


Function = Callable[[], Any]
"""A recipe whose result has not been checked."""


@dataclass(frozen=True)
class Installed:
    """A recipe of another package, not imported yet."""

    package: str
    """Name and version of the distribution."""
    point: EntryPoint

    def function(self) -> Function:
        """Import the recipe.

        Raises:
            InputError: its package cannot be imported, or has no such function.
        """
        try:
            found: Any = self.point.load()
        except Exception as error:
            raise InputError(self._fault("imported", error)) from error
        if not callable(found):
            raise InputError(
                f"recipe {self.point.name!r} of {self.package}: expected {self.point.value} to be a function that "
                f"returns a deft.Pipeline, got {type(found).__name__}; tell its authors"
            )

        @wraps(found)
        def called() -> Any:
            try:
                return found()
            except InputError:
                raise
            except Exception as error:
                raise InputError(self._fault("made", error)) from error

        return called

    def _fault(self, what: str, error: Exception) -> str:
        return (
            f"recipe {self.point.name!r} of {self.package} cannot be {what} ({type(error).__name__}: {error}); "
            "install another version of the package, or tell its authors"
        )


def find_recipe(name: str) -> tuple[str, Pipeline]:
    """The pipeline of a recipe.

    Args:
        name: name of a recipe, or a Python file with a function ``recipe()``, which is executed.

    Returns:
        The name for the record of a run, with a digest if it is a file, and the pipeline.

    Raises:
        InputError: there is no such recipe, or it cannot be made.
    """
    made: Any = recipe_function(name)()
    if not isinstance(made, Pipeline):
        raise InputError(f"{name}: expected recipe() to return a deft.Pipeline, got {type(made).__name__}")
    return f"{Path(name).stem} ({code_digest(Path(name))})" if name.endswith(".py") else name, made


def chosen(recipe: str, paper: bool, settings: Sequence[str]) -> tuple[str, Pipeline]:
    """The name and the pipeline of a ``deft run`` command.

    Args:
        recipe: as for :func:`find_recipe`.
        paper: take the published thresholds.
        settings: assignments, ``field=value``.

    Raises:
        InputError: there is no such recipe or field, or a value does not fit.
    """
    name, pipeline = find_recipe(recipe)
    return name, assign(published(pipeline) if paper else pipeline, list(settings))


def recipe_function(name: str) -> Function:
    """The function of a recipe; for arguments and errors see :func:`find_recipe`."""
    if name.endswith(".py"):
        function = getattr(load_users_file(Path(name), "recipe"), "recipe", None)
        if not callable(function):
            raise InputError(f"{name}: expected a function recipe() that returns a deft.Pipeline")
        return cast(Function, function)
    if name in RECIPES:
        return RECIPES[name]
    others = installed()
    if name not in others:
        known = [*RECIPES, *others]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        raise InputError(
            f"no recipe {name!r}; did you mean {near[0]!r}? There are: {', '.join(known)}, or a .py file of yours"
        )
    return only(name, others[name]).function()


def only(name: str, offers: list[Installed]) -> Installed:
    """The only package that offers a recipe.

    Raises:
        InputError: several packages offer it.
    """
    if len(offers) > 1:
        packages = " and ".join(one.package for one in offers)
        raise InputError(f"recipe {name!r} is offered by {packages}; uninstall all but one of them")
    return offers[0]


def installed() -> dict[str, list[Installed]]:
    """Recipes of other packages, sorted by name; nothing is imported.

    Names of this package's recipes are left out, because those take precedence.
    """
    found: dict[str, list[Installed]] = {}
    seen: set[str] = set()
    for distribution in distributions():
        try:
            package, points = distribution.name, distribution.entry_points
            label = f"{package} {distribution.version}"
        except Exception:  # a damaged installation of another package must not break this one
            continue
        normal = re.sub(r"[-_.]+", "-", package or "").lower()
        if normal in seen:
            continue  # the first on the path is the one that is imported
        seen.add(normal)
        for point in points:
            if point.group == GROUP and point.name not in RECIPES:
                found.setdefault(point.name, []).append(Installed(label, point))
    return dict(sorted(found.items()))
