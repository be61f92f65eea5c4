"""The numbers of the study `bias`: records of runs grouped by class and companion, ranked, and set out in tables.

A companion of a class is a context, or another class, that its photographs show beside it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deft.studies.outcome import Table, cell

COMPANION = ("class", "kind", "companion")
"""The columns that identify a pair."""
MOST = 25
"""Maximum number of pairs in a table."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A class and a companion, over all runs of one system."""

    label: str
    """Label of the system."""
    name: str
    """Name of the class."""
    companion: str
    kind: str
    """``context`` or ``tag``."""
    runs: tuple[dict[str, Any], ...]
    """The pair's entry in the record of each run."""

    @property
    def names(self) -> tuple[str, str, str]:
        """Class, kind and companion: the cells of :data:`COMPANION`."""
        return self.name, self.kind, self.companion

    def values(self, figure: str) -> list[float | None]:
        """A figure of each run; None if unknown."""
        return [run.get(figure) for run in self.runs]

    def mean(self, figure: str) -> float:
        """Mean of a figure over the runs in which it is known; nan if there are none."""
        known = [value for value in self.values(figure) if value is not None]
        return statistics.fmean(known) if known else math.nan

    @property
    def rank(self) -> float:
        """Mean lift in logits, by which pairs are ranked; minus infinity if unknown."""
        lift = self.mean("lift_logits")
        return -math.inf if math.isnan(lift) else lift


def pairs_of(label: str, records: Sequence[dict[str, Any]]) -> list[Pair]:
    """The pairs in the records of a system's runs, in order of appearance."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for record in records:
        for entry in record["pairs"]:
            found.setdefault((entry["class"], entry["companion"], entry["kind"]), []).append(entry)
    return [Pair(label, *names, tuple(runs)) for names, runs in found.items()]


def classes_of(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Each class's entries, one per record."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        for entry in record["classes"]:
            found.setdefault(entry["class"], []).append(entry)
    return found


def strongest_of_each_class(ranked: Sequence[Pair]) -> list[Pair]:
    """The first pair of each class, in the order given."""
    first: dict[str, Pair] = {}
    for pair in ranked:
        first.setdefault(pair.name, pair)
    return list(first.values())


def lift_table(ranked: Sequence[Pair]) -> Table:
    """What backgrounds with the companion change in the score of the class.

    Args:
        ranked: pairs of the system that swaps backgrounds, highest lift first.
    """
    rows = [
        (
            *pair.names,
            f"{pair.runs[0]['together']} of {pair.runs[0]['photographs']}",
            cell(pair.values("lift_logits"), 1.0, 2, sign=True),
            cell(pair.values("lift"), sign=True),
            cell(pair.values("away"), sign=True),
            cell(pair.values("alone_with"), digits=0),
            cell(pair.values("alone_tempted"), digits=0),
        )
        for pair in ranked[:MOST]
    ]
    heads = (
        "photographs",
        "lift, logits",
        "lift, points",
        "swapped away, points",
        "background alone",
        "background alone, companion only",
    )
    return Table(
        "Pairs ranked by how much the background raises the score",
        (*COMPANION, *heads),
        tuple(rows),
        "*Lift*: mean score of the class, over all its objects, on backgrounds with the companion minus that on "
        "backgrounds without it; pairs are ranked by the lift in logits. *Swapped away*: change of the score when "
        "photographs with the companion are given backgrounds without it. *Background alone*: score of the class, "
        "in per cent, when only the background of its photographs with the companion is shown; *companion only*: the "
        "same for photographs that show the companion but not the class.",
    )


def photograph_table(ranked: Sequence[Pair], pairs: Mapping[str, Sequence[Pair]]) -> Table:
    """Scores on the unchanged photographs, with and without the companion.

    Args:
        ranked: pairs in the order of the rows.
        pairs: all pairs of each system, by its label.
    """
    rows = []
    for pair in _of_all_systems(ranked, pairs):
        numbers = (cell(pair.values(figure), digits=0) for figure in ("with_it", "without_it", "tempted", "calm"))
        share = 100 * pair.runs[0]["together"] / pair.runs[0]["photographs"]
        rows.append((*pair.names, pair.label, f"{share:.0f}", f"{100 * pair.mean('usual'):.0f}", *numbers))
    heads = ("system", "share of its photographs", "share of all", "both", "class only", "companion only", "neither")
    return Table(
        "Scores on the unchanged photographs",
        (*COMPANION, *heads),
        tuple(rows),
        "Per cent. How often the companion is shown, on photographs of the class and on all, and the mean score of the "
        "class on photographs that show both, the class only, the companion only, or neither. Any classifier gives "
        "these figures; they cannot tell whether the companion changes the score or something that occurs with it.",
    )


def class_table(classes: Mapping[str, Sequence[dict[str, Any]]]) -> Table:
    """The figures of each class that involve no companion.

    Args:
        classes: entries of each class, one per run.
    """
    rows = []
    for name, runs in classes.items():
        figures = ("norm_ratio", "alone", "alone_elsewhere", "afa", "aba")
        ratio, alone, elsewhere, afa, aba = ([run.get(figure) for run in runs] for figure in figures)
        shares = cell(alone, digits=0), cell(elsewhere, digits=0)
        activations = cell(afa, 1.0, 3), cell(aba, 1.0, 3)
        rows.append((name, str(runs[0]["photographs"]), cell(ratio, 1.0, 2), *shares, *activations))
    heads = ("photographs", "norm ratio", "background alone, %", "background alone, other classes, %", "AFA", "ABA")
    return Table(
        "Class by class",
        ("class", *heads),
        tuple(rows),
        "*Norm ratio*: norm of f_swap's weights on the background divided by that on the object; 0 ignores the "
        "background. *Background alone*: share of the class's photographs whose background alone is classified as the "
        "class; *other classes*: the same share of photographs without it. AFA and ABA: mean activation on the class's "
        "objects and on their background, if there are masks; an ABA near AFA means that the network responds to the "
        "background as well.",
    )


def overlap_table(ranked: Sequence[Pair], pairs: Mapping[str, Sequence[Pair]]) -> Table:
    """IoU of the class with and without the companion; no rows if there are no masks.

    Args:
        ranked: pairs in the order of the rows.
        pairs: all pairs of each system, by its label.
    """
    figures = ("seeds_with", "seeds_without", "masks_with", "masks_without")
    rows = [
        (*pair.names, pair.label, *(cell(pair.values(figure)) for figure in figures))
        for pair in _of_all_systems(ranked, pairs)
        if any(not math.isnan(pair.mean(figure)) for figure in figures)
    ]
    heads = ("system", "seeds, with it", "seeds, without", "masks, with it", "masks, without")
    return Table(
        "Overlap with and without the companion",
        (*COMPANION, *heads),
        tuple(rows),
        "IoU of the class, in per cent, on its photographs with the companion and without. Seeds are at the "
        "threshold that is best on the whole training split, chosen on the ground truth; pseudo-masks at the recipe's.",
    )


def _of_all_systems(ranked: Sequence[Pair], pairs: Mapping[str, Sequence[Pair]]) -> Iterator[Pair]:
    """The first pairs of a ranking, each for every system in turn."""
    for leader in ranked[:MOST]:
        for found in pairs.values():
            yield from (pair for pair in found if pair.names == leader.names)
