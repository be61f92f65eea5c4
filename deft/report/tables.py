"""The tables of the page: scores and settings formatted as the cells that the template prints."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deft.metrics.cooccurrence import Cooccurrence
from deft.report.data import Comparison, ReportData, Score, StageRow
from deft.report.summary import headline, percent


@dataclass(frozen=True)
class Cell:
    """One cell of a table, optionally with a bar."""

    text: str
    bar: float | None = None
    """Length of the bar in per cent; None for no bar."""
    tone: str = ""
    """Style of the cell: ``""``, ``best``, ``weak`` or ``swept``."""


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    name: str
    cells: tuple[Cell, ...]
    value: int | None = None
    """Mask value whose colour is shown beside the name."""
    note: str = ""
    """Remark below the name."""


@dataclass(frozen=True)
class Table:
    """Column headings and rows."""

    head: tuple[str, ...]
    """Headings of all columns but the first, which contains the names."""
    rows: tuple[Row, ...]


EXPLAIN = {
    "seeds": "first estimate of where each tagged class is, before refinement",
    "pseudo-masks": "the refined seeds, on which the segmentation network is trained",
    "segmentation network": "the final network: it segments images without tags",
    "classification": "accuracy of predicted tags",
}
"""Short explanation of what is scored, by ``Score.what``."""


def explain(score: Score) -> str:
    """Short explanation of what is scored; empty if there is none."""
    return EXPLAIN.get(score.what, "")


def score_table(data: ReportData) -> Table:
    """One row per score; scores at swept thresholds have another style, since they are upper bounds, not results."""
    rows = []
    for score in data.scores:
        tone = "swept" if score.chosen_on_truth else ("best" if score is headline(data) else "")
        images = "–" if score.images is None else f"{score.images:,}"
        cells = (Cell(score.split), Cell(score.measure), cell(score.value, tone=tone), Cell(images))
        note = "upper bound: needs ground truth to choose the threshold" if score.chosen_on_truth else explain(score)
        rows.append(Row(score.title, cells, note=note))
    return Table(("split", "measure", "value", "images"), tuple(rows))


def class_table(data: ReportData) -> Table | None:
    """One row per class, with its number of images and all scores; sorted by the main score, best first."""
    scores = [score for score in data.scores if score.per_class]
    if not data.classes or not (scores or data.splits):
        return None
    names = ("background", *data.classes)
    columns = [_by_value(score, len(data.classes)) for score in scores]
    counts = [(math.nan, *split.per_class) for split in data.splits]
    top = headline(data)
    lead = next((column for score, column in zip(scores, columns, strict=True) if score is top), None)
    order = list(range(len(names)))
    if lead is not None:
        order.sort(key=lambda value: (math.isnan(lead[value]), -lead[value] if not math.isnan(lead[value]) else 0))
    rows = []
    for value in order:
        if value == 0 and not any(not math.isnan(column[0]) for column in columns):
            continue
        cells = [Cell("–" if math.isnan(each[value]) else f"{each[value]:,}") for each in counts]
        cells += [
            cell(column[value], tone="swept" if score.chosen_on_truth else "")
            for score, column in zip(scores, columns, strict=True)
        ]
        rows.append(Row(names[value], tuple(cells), value=value))
    head = [f"{split.name} images" for split in data.splits]
    head += [f"{score.title}, {score.split}" + (", AP" if score.measure == "mAP" else "") for score in scores]
    return Table(tuple(head), tuple(rows))


def coverage_table(data: ReportData) -> Table | None:
    """One row per class with its coverage, if there is no ground truth; suspicious values are marked."""
    coverage = data.coverage
    if coverage is None:
        return None
    rows = []
    for value, name in enumerate(("background", *data.classes)[: coverage.num_classes + 1]):
        line = coverage.of(value)
        strange = value > 0 and line.tagged > 0 and (line.tagged_share < 0.005 or line.tagged_share > 0.9)
        missed = "–" if value == 0 else f"{line.missed:,} of {line.tagged:,}"
        rows.append(
            Row(
                name,
                (
                    cell(line.tagged_share, tone="weak" if strange else ""),
                    cell(line.confidence, tone="weak" if line.confidence < 0.4 else ""),
                    cell(line.ignored, tone="weak" if line.ignored > 0.5 else ""),
                    Cell(missed, tone="weak" if value and line.tagged and line.missed > line.tagged / 2 else ""),
                ),
                value=value,
            )
        )
    return Table(("area in its images", "confidence", "undecided", "tagged but not found"), tuple(rows))


def comparison_table(comparison: Comparison, rivals: bool) -> Table:
    """A comparison as a table; with the groups aligned and conflicting, their difference is the last column.

    Args:
        comparison: the scores.
        rivals: whether the rows are competing systems, so that the best of each column is marked.
    """
    gap = {"aligned", "conflicting"} <= set(comparison.columns)
    best = [
        max((values[j] for _, values in comparison.rows if not math.isnan(values[j])), default=math.nan)
        for j in range(len(comparison.columns))
    ]
    rows = []
    for name, values in comparison.rows:
        cells = [
            cell(value, tone="best" if rivals and len(comparison.rows) > 1 and value == top else "")
            for value, top in zip(values, best, strict=True)
        ]
        if gap:
            lost = values[comparison.columns.index("conflicting")] - values[comparison.columns.index("aligned")]
            cells.append(Cell("–" if math.isnan(lost) else f"{100 * lost:+.1f}".replace("-", "−")))
        rows.append(Row(name, tuple(cells)))
    head = list(comparison.columns)
    if comparison.images:
        head = [f"{name} ({count:,} images)" for name, count in zip(head, comparison.images, strict=True)]
    return Table((*head, "conflicting − aligned") if gap else tuple(head), tuple(rows))


def stage_table(stages: tuple[StageRow, ...]) -> Table:
    """One row per stage, with its time shown as a bar."""
    longest = max((stage.seconds for stage in stages), default=0.0)
    rows = [
        Row(
            stage.name,
            (Cell(duration(stage.seconds), 100 * stage.seconds / longest if longest > 0 else None), Cell(stage.status)),
            note=stage.note,
        )
        for stage in stages
    ]
    return Table(("time", "status"), tuple(rows))


def strongest_pairs(table: Cooccurrence, limit: int = 6) -> list[tuple[str, str, str]]:
    """The strongest co-occurrences, as (class, share of its images, companion)."""
    found = table.strongest()[:limit]
    return [(table.rows[k], f"{100 * share:.0f} %", table.columns[j]) for k, j, share in found]


def settings_rows(settings: Mapping[str, object]) -> list[tuple[str, str]]:
    """Nested settings as pairs of dotted field and value."""
    return list(_flat(settings, ""))


def duration(seconds: float) -> str:
    """A duration as text: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``36 min``, ``2 h 07 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 3600:
        return f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def cell(value: float, tone: str = "") -> Cell:
    """A cell with a fraction in per cent and a bar of that length."""
    known = not math.isnan(value)
    return Cell(percent(value), max(0.0, min(100.0, 100 * value)) if known else None, tone)


def _by_value(score: Score, num_classes: int) -> tuple[float, ...]:
    """Scores by mask value, background first; nan for the background of average precision."""
    values = score.per_class if len(score.per_class) == num_classes + 1 else (math.nan, *score.per_class)
    if len(values) != num_classes + 1:
        raise ValueError(
            f"{score.title}: expected {num_classes + 1} values per class (background first) or {num_classes}, "
            f"got {len(score.per_class)}"
        )
    return values


def _flat(value: object, name: str) -> Iterator[tuple[str, str]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, "none" if value is None else str(value)
