"""The systems that a study compares: its rows, which of them are made, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from deft.contracts import InputError, SampleAugmentation
from deft.pipeline import Pipeline
from deft.recipes import RECIPES, published
from deft.settings import assign


@dataclass(frozen=True)
class Row:
    """One system of a table."""

    name: str
    """Of its run folders, and what ``--systems`` calls it."""
    label: str
    """What the table calls it."""
    pipeline: Pipeline
    against: tuple[str, ...] = ()
    """Names of the rows that it is compared with, seed by seed."""
    paper: str = ""
    """The paper's figure for this row, where it prints one."""


@dataclass(frozen=True)
class Finding:
    """What one row gave at one seed."""

    row: Row
    seed: int
    value: Any = None
    """The content of its record; None where there is none yet."""
    failure: str = ""
    """Why there is none, where it cannot be made."""


def choose_rows(rows: Sequence[Row], names: Sequence[str], settings: Sequence[str], as_published: bool) -> list[Row]:
    """The named rows, each with the settings that it has a field for.

    Args:
        rows: all there are.
        names: of the rows to make.
        settings: ``FIELD=VALUE`` for each row that has such a field, or ``ROW:FIELD=VALUE`` for one row.
        as_published: take the published thresholds; settings go on top.

    Returns:
        The rows in the order of the names.

    Raises:
        InputError: a system that the study does not have, or a setting that none of its systems has.
    """
    known = {row.name: row for row in rows}
    wanted = tuple(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in known]:
        raise InputError(f"this study has no system {unknown[0]!r}; it has: {', '.join(known)}")
    chosen = [known[name] for name in wanted]
    if as_published:
        chosen = [replace(row, pipeline=published(row.pipeline)) for row in chosen]
    for setting in settings:
        only, colon, name = setting.partition("=")[0].rpartition(":")
        if name == "seed":
            raise InputError("--set seed: a study makes several seeds; say how many with --seeds")
        if colon and only not in wanted:
            raise InputError(f"--set {setting}: {only!r} is none of the systems: {', '.join(wanted)}")
        setting = setting.removeprefix(only + colon)
        meant = [row for row in chosen if not colon or row.name == only]
        able = [row for row in meant if "=" not in setting or has_field(row.pipeline, name)]
        for row in able or meant[:1]:  # where none has it, the first says what there is
            changed = replace(row, pipeline=assign(row.pipeline, [setting]))
            chosen[chosen.index(row)] = changed
    return chosen


def recipe(name: str) -> Pipeline:
    """A fresh pipeline of a recipe's name.

    Raises:
        InputError: there is no such recipe.
    """
    if name not in RECIPES:
        raise InputError(f"no recipe {name!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]()


def system_rows(paper: Mapping[str, str] | None = None) -> list[Row]:
    """Every recipe as a row, a ``_deft`` twin to be compared with the system it is a twin of.

    Args:
        paper: the paper's figures by recipe.
    """
    figures = paper or {}
    twins = {name: (name.removesuffix("_deft"),) if name.endswith("_deft") else () for name in RECIPES}
    return [Row(name, name, make(), twins[name], figures.get(name, "")) for name, make in RECIPES.items()]


def up_to_seeds(pipeline: Pipeline) -> Pipeline:
    """The same system without what comes after its seeds.

    A classifier that learns from the masks of an earlier round (CDA) keeps its refiner, which made those masks.
    """
    classifier = pipeline.classifier
    learns_from_masks = classifier is not None and isinstance(classifier.augment, SampleAugmentation)
    return replace(pipeline, segment=None, refine=pipeline.refine if learns_from_masks else None)


def has_field(settings: Any, dotted: str) -> bool:
    """Whether nested dataclasses have a field of that dotted name."""
    for name in dotted.split("."):
        if not is_dataclass(settings) or name not in [item.name for item in fields(settings)]:
            return False
        settings = getattr(settings, name)
    return True
