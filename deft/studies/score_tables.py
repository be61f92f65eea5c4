"""Tables, paired differences and charts of scores, shared by the studies that reproduce a table of the paper."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deft.report.data import Curve
from deft.report.plots import bar_chart, threshold_chart
from deft.studies.markdown import escape_markdown
from deft.studies.outcome import NOTHING, Outcome, Plot, Table, cell
from deft.studies.paired import significance
from deft.studies.rows import Finding, Row

SWEPT = (
    "A *fixed* threshold is a number set in advance. An *auto* threshold is chosen from the maps and the images, "
    "without masks: this is what a user gets. A *swept* threshold is the best of 100, chosen on the same ground truth "
    "that scores it: an upper bound for the maps, which a user without ground truth does not reach. *Train's "
    "threshold* is the swept threshold of the training split, applied to the held-out images. Maps are made for the "
    "classes that an image is labelled with."
)
MEASURE = (
    "mIoU with background from one confusion matrix per split, in per cent, mean ± standard deviation (n − 1) over "
    "random seeds. The seed determines all randomness; rows with the same seed see the images in the same order."
)
INTERVAL = ("95 % interval", "draws above 0")
"""Headings of the columns of significance."""
BOOTSTRAP = (
    "2,000 draws of as many images, and of as many seeds, with replacement, the same for both systems (paired "
    "bootstrap). An interval that includes 0 does not tell the systems apart; with one seed it does not include the "
    "variation between trainings."
)
PAPER = "The paper's results are on VOC 2012 with ResNet-50: another dataset and another network."


@dataclass(frozen=True)
class Column:
    """One number of ``scores.json`` as a column of a table."""

    title: str
    """Heading of the column, and key of the number in the study's JSON file."""
    keys: tuple[str, ...]
    """Path of keys to the number."""
    share: bool = True
    """Whether the number is a fraction, shown in per cent; False shows it unchanged (a threshold)."""

    def of(self, scores: Any) -> float | None:
        """The number in the scores of one run; None if unknown."""
        for key in self.keys:
            scores = scores.get(key) if isinstance(scores, dict) else None
        return None if scores is None else float(scores)

    def cell(self, values: Sequence[float | None], sign: bool = False) -> str:
        """The cell for the values of several seeds."""
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
    """What the page of a study shows of the scores of its runs."""

    name: str
    """Name of the study."""
    title: str
    columns: tuple[Column, ...]
    classes: Column
    """Path of the IoU per class, background first."""
    classes_title: str
    """Title of the table of classes."""
    paper: str = ""
    """Heading of the column with the paper's results; no such column if empty."""
    curve: tuple[str, ...] = ()
    """Path of the maps whose threshold curve is drawn; none if empty."""
    counted: str = "seeds"
    """What the significance of differences is computed of: ``seeds``, ``masks`` or ``network``."""
    notes: tuple[str, ...] = ()

    def compose(self, findings: Sequence[Finding]) -> Outcome:
        """Tables, charts and numbers of the results so far."""
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
            values={row.name: self._values(row, known) for row in rows},
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
        """Differences between each row and those it is compared with, over the seeds that both have."""
        labels = {row.name: row.label for row in rows}
        shown = [column for column in self.columns if column.share]
        cells = []
        for row in rows:
            for base in row.against:
                both = sorted(known[row.name].keys() & known.get(base, {}).keys())
                if not both:
                    continue
                numbers = [difference(column, known[row.name], known[base], both) for column in shown]
                tested = self._significance(known[row.name], known[base], both)
                cells.append((f"{row.label} vs. {labels[base]}", str(len(both)), *numbers, *tested))
        if not cells:
            return []
        used = [index for index in range(len(cells[0])) if any(line[index] != NOTHING for line in cells)]
        heads = ("difference", "seeds", *(column.title for column in shown), *INTERVAL)
        return [
            Table(
                "Paired differences, seed by seed",
                tuple(heads[index] for index in used),
                tuple(tuple(line[index] for index in used) for line in cells),
                "Score of the first system minus that of the second: mean ± standard deviation over pairs of runs with "
                "the same seed, and the number of seeds with a positive difference. "
                f"The interval is that of {self.counted} at the threshold in use: {BOOTSTRAP}",
            )
        ]

    def _significance(
        self, ones: Mapping[int, Any], others: Mapping[int, Any], seeds: Sequence[int]
    ) -> tuple[str, str]:
        found = significance(ones, others, seeds, self.counted)
        if found is None:
            return NOTHING, NOTHING
        return f"{100 * found.low:+.1f} to {100 * found.high:+.1f}", f"{100 * found.above:.0f} %"

    def _classes(self, rows: Sequence[Row], known: Mapping[str, Mapping[int, Any]]) -> list[Table]:
        shown = [row for row in rows if known[row.name]]
        runs = [one for row in shown for one in known[row.name].values()]
        names = ["background", *runs[0]["classes"]] if runs else []
        lists = {row.name: [_list(one, self.classes.keys) for one in known[row.name].values()] for row in shown}
        cells = [
            (
                escape_markdown(name),
                *(cell([values[index] if values else None for values in lists[row.name]]) for row in shown),
            )
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

    def _values(self, row: Row, known: Mapping[str, Mapping[int, Any]]) -> dict[str, Any]:
        runs = known[row.name]
        numbers = {
            str(seed): {
                **{column.title: column.of(one) for column in self.columns},
                "classes": dict(
                    zip(["background", *one["classes"]], _list(one, self.classes.keys) or [], strict=False)
                ),
            }
            for seed, one in runs.items()
        }
        against = {}
        for base in row.against:
            both = sorted(runs.keys() & known.get(base, {}).keys())
            if both and (found := significance(runs, known[base], both, self.counted)):
                against[base] = {"seeds": both, **asdict(found)}
        return {"label": row.label, "paper": row.paper or None, "seeds": numbers, "against": against}


def difference(column: Column, ones: Mapping[int, Any], others: Mapping[int, Any], seeds: Sequence[int]) -> str:
    """The cell for a paired difference: mean ± deviation, and how many seeds have a positive difference."""
    pairs = [(column.of(ones[seed]), column.of(others[seed])) for seed in seeds]
    found = [one - other for one, other in pairs if one is not None and other is not None]
    if not found:
        return NOTHING
    return f"{column.cell(found, sign=True)} ({sum(value > 0 for value in found)} of {len(found)})"


def mean_and_spread(values: Sequence[float | None]) -> tuple[float, float]:
    """Mean and standard deviation of the known values; nan if there are none, a deviation of 0 for a single one."""
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
