"""Scores of several runs side by side, as tables of the page."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from deft.report.data import Comparison

GROUP_MEASURES = {
    "tags (mAP)": ("map",),
    "seeds, the run's threshold (mIoU)": ("seeds", "used", "miou"),
    "seeds, train's best threshold (mIoU)": ("seeds", "chosen on train", "miou"),
    "segmentation network (mIoU)": ("segmentation", "miou"),
}
"""Scores of each named part of the held-out split: title, and keys in ``scores.json``."""


def compare(runs: dict[str, dict[str, Any]]) -> list[Comparison]:
    """Tables of several runs' scores side by side: overall, and each measure on the named parts of the held-out split.

    Args:
        runs: ``scores.json`` by the name of the run.
    """
    measures = {
        "tags, val (mAP)": ("val", "tags", "map"),
        "seeds, train, the run's threshold": ("train", "seeds", "used", "miou"),
        "seeds, train, best threshold (chosen on the ground truth)": ("train", "seeds", "swept", "miou"),
        "pseudo-masks, train, the run's threshold": ("train", "masks", "used", "miou"),
        "seeds, val, train's best threshold": ("val", "seeds", "chosen on train", "miou"),
        "network, val": ("val", "segmentation", "miou"),
    }
    explain = (
        "Each number as in the score table of the run's own page. One run each: another seed moves them by points."
    )
    tables = [_side_by_side("Side by side", runs, {title: keys for title, keys in measures.items()}, explain)]
    groups = sorted({group for scores in runs.values() for group in scores.get("val", {}).get("groups", {})})
    counts = tuple(
        next(int(found) for scores in runs.values() if (found := at(scores, "val", "groups", group, "count")))
        for group in groups
    )
    explain = "The held-out images by where their objects are: where they mostly are in training, or elsewhere."
    for what, keys in GROUP_MEASURES.items():
        columns = {group: ("val", "groups", group, *keys) for group in groups}
        tables.append(replace(_side_by_side(f"{what}, on each part of val", runs, columns, explain), images=counts))
    return [table for table in tables if table.rows and table.columns]


def _side_by_side(
    title: str, runs: dict[str, dict[str, Any]], columns: dict[str, tuple[str, ...]], explain: str
) -> Comparison:
    """One row per run and one column per score; empty rows and columns are dropped."""
    values = {
        name: {column: number(at(scores, *keys)) for column, keys in columns.items()} for name, scores in runs.items()
    }
    known = [column for column in columns if not all(math.isnan(row[column]) for row in values.values())]
    rows = tuple((name, tuple(row[column] for column in known)) for name, row in values.items())
    return Comparison(title, tuple(known), tuple(row for row in rows if not all(map(math.isnan, row[1]))), explain)


def at(value: Any, *keys: str) -> Any:
    """Follow keys into nested mappings; None where one is missing."""
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def number(value: Any) -> float:
    """A stored number; nan for None."""
    return float("nan") if value is None else float(value)
