"""The rows of a study: the systems it compares, those chosen by the user, and their settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from deft.contracts import InputError, SampleAugmentation
from deft.guards.words import shown
from deft.pipeline import Pipeline
from deft.recipes import RECIPES, published
from deft.recipes.finding import find_recipe, installed
from deft.settings import assign


@dataclass(frozen=True)
class Row:
    """One system in a table."""

    name: str
    """Name in ``--systems``, unless it is a file of the user, and of the run folders."""
    label: str
    """Name in the tables."""
    pipeline: Pipeline
    against: tuple[str, ...] = ()
    """Names of the rows that it is compared with, seed by seed."""
    paper: str = ""
    """The paper's result for this row; empty if it reports none."""
    file: str = ""
    """The user's Python file with its recipe, as in ``--systems``; empty for systems that have a name."""


@dataclass(frozen=True)
class Finding:
    """The result of one row with one seed."""

    row: Row
    seed: int
    value: Any = None
    """Content of the run's record; None if it is not made yet."""
    failure: str = ""
    """Error message, if the run cannot be made."""


def choose_rows(rows: Sequence[Row], names: Sequence[str], settings: Sequence[str], as_published: bool) -> list[Row]:
    """Select rows by name and apply the user's settings to them.

    Args:
        rows: all rows of the study.
        names: names of the rows to make, or files of the user that are rows.
        settings: ``FIELD=VALUE`` for every row that has the field, or ``ROW:FIELD=VALUE`` for one row.
        as_published: use the published thresholds; settings override them.

    Returns:
        The rows in the order of the names.

    Raises:
        InputError: the study has no such system, or none of the chosen systems has the field.
    """
    known = {row.file or row.name: row for row in rows}
    wanted = tuple(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in known]:
        if unknown[0] in installed():
            recipe(unknown[0])  # raises the error that says why it cannot be made
        raise InputError(f"this study has no system {unknown[0]!r}; choose from: {', '.join(known)}")
    chosen = [known[name] for name in wanted]
    if as_published:
        chosen = [replace(row, pipeline=published(row.pipeline)) for row in chosen]
    for setting in settings:
        only, colon, name = setting.partition("=")[0].rpartition(":")
        if name == "seed":
            raise InputError("--set seed: a study runs several seeds; set their number with --seeds")
        if colon and only not in wanted:
            raise InputError(f"--set {setting}: {only!r} is not one of the systems to make: {', '.join(wanted)}")
        setting = setting.removeprefix(only + colon)
        candidates = [row for row in chosen if not colon or (row.file or row.name) == only]
        having = [row for row in candidates if "=" not in setting or has_field(row.pipeline, name)]
        for row in having or candidates[:1]:  # if no row has the field, assigning to the first raises the error
            changed = replace(row, pipeline=assign(row.pipeline, [setting]))
            chosen[chosen.index(row)] = changed
    return chosen


def recipe(name: str) -> Pipeline:
    """The pipeline of a recipe, by name.

    Raises:
        InputError: there is no such recipe.
    """
    return find_recipe(name)[1]


def system_rows(paper: Mapping[str, str] | None = None, systems: Sequence[str] = ()) -> list[Row]:
    """Every recipe as a row; a ``_deft`` recipe is compared with the system that it extends.

    Recipes of installed packages come after those of this one, and those that cannot be made are left out; files of the
    user come last.

    Args:
        paper: the paper's results, by recipe.
        systems: what the user asks for; Python files with a function ``recipe()`` are rows, and are executed.

    Raises:
        InputError: a file cannot be used, or has the name of another system.
    """
    results = paper or {}
    pipelines = {name: make() for name, make in RECIPES.items()}
    for name in installed():
        with suppress(InputError):
            pipelines[name] = recipe(name)
    rows = {name: Row(name, name, one, paper=results.get(name, "")) for name, one in pipelines.items()}
    for path in dict.fromkeys(one for one in systems if one.endswith(".py")):
        name, pipeline = find_recipe(path)
        label = Path(path).stem
        if label in rows:
            of = f"the file {rows[label].file}" if rows[label].file else "a recipe"
            raise InputError(f"{shown(path)}: {of} has the name {label!r} too, and tables name rows; rename the file")
        rows[label] = Row(name, label, pipeline, file=path)
    bases = {label: rows.get(label.removesuffix("_deft")) for label in rows if label.endswith("_deft")}
    return [replace(row, against=(base.name,)) if (base := bases.get(label)) else row for label, row in rows.items()]


def beside_irn(rows: Sequence[Row], paper: Mapping[str, str]) -> list[Row]:
    """The rows, of which those that are not in the paper's table are compared with `irn` as well, if it is a row.

    Args:
        rows: of a study, those that the user chose.
        paper: the rows of the paper's table.
    """
    if not any(row.name == "irn" for row in rows):
        return list(rows)
    return [row if row.name in paper else replace(row, against=(*row.against, "irn")) for row in rows]


def up_to_seeds(pipeline: Pipeline) -> Pipeline:
    """The same system without the stages after its seeds.

    A classifier that is trained on pseudo-masks of a previous round (CDA) keeps the refiner that makes them.
    """
    classifier = pipeline.classifier
    learns_from_masks = classifier is not None and isinstance(classifier.augment, SampleAugmentation)
    return replace(pipeline, segment=None, refine=pipeline.refine if learns_from_masks else None)


def has_field(settings: Any, dotted: str) -> bool:
    """Whether nested dataclasses have a field with this dotted name."""
    for name in dotted.split("."):
        if not is_dataclass(settings) or name not in [item.name for item in fields(settings)]:
            return False
        settings = getattr(settings, name)
    return True
