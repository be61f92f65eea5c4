"""What the table studies share: from the scores of rows and seeds to tables, differences and charts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deft.report.data import Curve
from deft.report.plots import bar_chart, threshold_chart
from deft.studies.outcome import NOTHING, Outcome, Plot, Table, cell
from deft.studies.rows import Finding, Row
from deft.studies.words import literal

SWEPT = (
    "A *fixed* threshold is a number set before anything was seen. An *auto* one is chosen from the maps and the "
    "photographs, without masks: what a user gets. A *swept* one is the best of 100, chosen on the very truth that is "
    "scored: it says what the maps could give, not what a user without truth gets. *Train's threshold* is train's "
    "swept one, used on the held-out images. Maps are of the image's own tags."
)
MEASURE = (
    "mIoU with background from one confusion matrix a split, per cent, mean ± standard deviation (n − 1) over seeds. "
    "The seed changes everything random; rows of one seed see the images in the same order."
)
PAPER = "The paper's figures are its own, on VOC 2012 with ResNet-50: another data set and another network."


@dataclass(frozen=True)
class Column:
    """One number of ``scores.json`` as a column."""

    title: str
    keys: tuple[str, ...]
    """Where the number stands."""
    share: bool = True
    """A fraction, shown per cent; False shows it as it is (a threshold)."""

    def of(self, scores: Any) -> float | None:
        """The number in one run's scores; None where it is not known."""
        for key in self.keys:
            scores = scores.get(key) if isinstance(scores, dict) else None
        return None if scores is None else float(scores)

    def cell(self, values: Sequence[float | None], sign: bool = False) -> str:
        """The cell of several seeds."""
        return cell(values, sign=sign) if self.share else cell(values, 1.0, 2, sign)


SEEDS = (
    Column("seeds train, fixed", ("train", "seeds", "fixed", "miou")),
    Column("fixed threshold", ("train", "seeds", "fixed", "threshold"), share=False),
    Column("seeds train, auto", ("train", "seeds", "auto", "miou")),
    Column("auto threshold", ("train", "seeds", "auto", "threshold"), share=False),
    Column("seeds train, swept", ("train", "seeds", "swept", "miou")),
    Column("best threshold", ("train", "seeds", "swept", "threshold"), share=False),
    Column("seeds val, auto", ("val", "seeds", "auto", "miou")),
    Column("seeds val, train's threshold", ("val", "seeds", "chosen on train", "miou")),
    Column("seeds val, swept", ("val", "seeds", "swept", "miou")),
    Column("tags val, mAP", ("val", "tags", "map")),
)
MASKS = (
    Column("masks train, fixed", ("train", "masks", "fixed", "miou")),
    Column("fixed threshold", ("train", "masks", "fixed", "threshold"), share=False),
    Column("masks train, auto", ("train", "masks", "auto", "miou")),
    Column("auto threshold", ("train", "masks", "auto", "threshold"), share=False),
    Column("masks train, swept", ("train", "masks", "swept", "miou")),
    Column("best threshold", ("train", "masks", "swept", "threshold"), share=False),
    Column("their seeds train, auto", ("train", "seeds", "auto", "miou")),
    Column("their seeds train, swept", ("train", "seeds", "swept", "miou")),
)
NETWORK = (
    Column("network val", ("val", "segmentation", "miou")),
    Column("its masks train", ("train", "masks", "used", "miou")),
)


@dataclass(frozen=True)
class Layout:
    """What one table study shows of its runs."""

    name: str
    title: str
    columns: tuple[Column, ...]
    classes: Column
    """List of IoUs, background first."""
    classes_title: str
    paper: str = ""
    """Title of the column with the paper's figures; no such column if empty."""
    curve: tuple[str, ...] = ()
    """Where the maps stand whose curve is drawn."""
    notes: tuple[str, ...] = ()

    def compose(self, findings: Sequence[Finding]) -> Outcome:
        """The outcome of what is known."""
        rows = list({each.row.name: each.row for each in findings}.values())
        scores = {row.name: {each.seed: each.value for each in findings if each.row.name == row.name} for row in rows}
        known = {name: {seed: one for seed, one in seeds.items() if one} for name, seeds in scores.items()}
        failed = {each.row.name for each in findings if each.failure}
        main = self._main(rows, known, failed)
        tables = [main, *self._differences(rows, known), *self._classes(rows, known)]
        return Outcome(
            self.name,
            self.title,
            tuple(tables),
            tuple(self._plots(rows, known)),
            notes=(SWEPT, *([PAPER] if self.paper else []), *self.notes),
            values={row.name: self._values(row, known[row.name]) for row in rows},
        )

    def _main(self, rows: Sequence[Row], known: Mapping[str, Mapping[int, Any]], failed: set[str]) -> Table:
        columns = [
            column
            for column in self.columns
            if any(column.of(one) is not None for seeds in known.values() for one in seeds.values())
        ]
        cells = []
        for row in rows:
            runs = list(known[row.name].values())
            count = f"{len(runs)}, some failed" if row.name in failed and runs else str(len(runs))
            numbers = [column.cell([column.of(one) for one in runs]) for column in columns]
            if row.name in failed and not runs:
                count = "failed"
            cells.append((row.label, count, *numbers, *([row.paper or NOTHING] if self.paper else [])))
        heads = ("system", "runs", *(column.title for column in columns), *([self.paper] if self.paper else []))
        return Table("Scores", heads, tuple(cells), MEASURE)

    def _differences(self, rows: Sequence[Row], known: Mapping[str, Mapping[int, Any]]) -> list[Table]:
        """Each row less the row it is compared with, over the seeds that both have."""
        labels = {row.name: row.label for row in rows}
        shown = [column for column in self.columns if column.share]
        cells = []
        for row in rows:
            for base in row.against:
                both = sorted(known[row.name].keys() & known.get(base, {}).keys())
                if not both:
                    continue
                numbers = [difference(column, known[row.name], known[base], both) for column in shown]
                cells.append((f"{row.label}, over {labels[base]}", str(len(both)), *numbers))
        if not cells:
            return []
        used = [index for index in range(2 + len(shown)) if any(line[index] != NOTHING for line in cells)]
        heads = ("difference", "seeds", *(column.title for column in shown))
        return [
            Table(
                "Differences, seed by seed",
                tuple(heads[index] for index in used),
                tuple(tuple(line[index] for index in used) for line in cells),
                "Mean ± standard deviation of the differences of two runs of one seed, and in how many seeds the "
                "difference is above 0.",
            )
        ]

    def _classes(self, rows: Sequence[Row], known: Mapping[str, Mapping[int, Any]]) -> list[Table]:
        shown = [row for row in rows if known[row.name]]
        runs = [one for row in shown for one in known[row.name].values()]
        names = ["background", *runs[0]["classes"]] if runs else []
        lists = {row.name: [_list(one, self.classes.keys) for one in known[row.name].values()] for row in shown}
        cells = [
            (literal(name), *(cell([values[index] if values else None for values in lists[row.name]]) for row in shown))
            for index, name in enumerate(names)
        ]
        if all(text == NOTHING for line in cells for text in line[1:]):
            return []
        return [Table(self.classes_title, ("class", *(row.label for row in shown)), tuple(cells))]

    def _plots(self, rows: Sequence[Row], known: Mapping[str, Mapping[int, Any]]) -> list[Plot]:
        plots, curves = [], {}
        bars: dict[str, list[tuple[float, float]]] = {}
        shown = [column for column in self.columns if column.share and column.keys[0] == self.columns[0].keys[0]]
        columns = [c for c in shown if any(c.of(one) is not None for seeds in known.values() for one in seeds.values())]
        columns = columns[:2]
        for row in rows:
            runs = list(known[row.name].values())
            values = [[column.of(one) for one in runs] for column in columns]
            if any(value is not None for each in values for value in each):
                bars[row.label] = [mean_and_spread(each) for each in values]
            parts = [found for one in runs if (found := _part(one, self.curve))]
            if self.curve and parts:
                mean = [statistics.fmean(heights) for heights in zip(*(part["curve"] for part in parts), strict=True)]
                used = statistics.fmean(float(part["used"]["threshold"]) for part in parts)
                curves[row.label] = Curve(tuple(parts[0]["thresholds"]), tuple(mean), used)
        if bars:
            titles = tuple(column.title for column in columns)
            known_bars = {label: values[0][0] for label, values in bars.items() if not math.isnan(values[0][0])}
            words = "; ".join(f"{label} {100 * value:.1f}" for label, value in known_bars.items())
            plots.append(Plot("scores", bar_chart(bars, titles), f"Bars of {', '.join(titles)}, mIoU in %: {words}"))
        if curves:
            alt = f"mIoU against the background threshold, mean over seeds, of {', '.join(curves)}"
            plots.append(Plot("thresholds", threshold_chart(curves), alt))
        return plots

    def _values(self, row: Row, runs: Mapping[int, Any]) -> dict[str, Any]:
        numbers = {
            str(seed): {
                **{column.title: column.of(one) for column in self.columns},
                "classes": dict(
                    zip(["background", *one["classes"]], _list(one, self.classes.keys) or [], strict=False)
                ),
            }
            for seed, one in runs.items()
        }
        return {"label": row.label, "paper": row.paper or None, "seeds": numbers}


def difference(column: Column, ones: Mapping[int, Any], others: Mapping[int, Any], seeds: Sequence[int]) -> str:
    """The cell of a paired difference."""
    pairs = [(column.of(ones[seed]), column.of(others[seed])) for seed in seeds]
    found = [one - other for one, other in pairs if one is not None and other is not None]
    if not found:
        return NOTHING
    return f"{column.cell(found, sign=True)} ({sum(value > 0 for value in found)} of {len(found)})"


def mean_and_spread(values: Sequence[float | None]) -> tuple[float, float]:
    """Mean and standard deviation of what is known; nan for none, 0 for the deviation of one."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    if not known:
        return math.nan, 0.0
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else 0.0


def _part(scores: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        scores = scores.get(key) if isinstance(scores, dict) else None
    return scores


def _list(scores: Any, keys: Sequence[str]) -> list[float | None] | None:
    found = _part(scores, keys)
    return found if isinstance(found, list) else None
