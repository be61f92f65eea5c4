"""What you got and how far to trust it, in plain words composed from the numbers.

Written for a reader who knows the photographs but no paper: each line says one thing and what to make of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deft.report.data import HOW, Comparison, ReportData, Score, SplitFacts

GOOD, PLAIN, CAUTION = "good", "plain", "caution"

_GRADES = (
    (0.75, GOOD, "very good: most outlines can be used as they are"),
    (0.60, GOOD, "good: shapes are right, borders are approximate"),
    (0.45, PLAIN, "usable as a first draft: things are mostly found, their shapes need correction"),
    (0.25, CAUTION, "rough: it shows where things are rather than what shape they have"),
    (0.00, CAUTION, "too low to be used: look at the pictures and the warnings to see what went wrong"),
)


@dataclass(frozen=True)
class Line:
    """One statement; ``kind`` colours its mark."""

    kind: str
    text: str


def percent(value: float) -> str:
    """A fraction as the page writes it: ``47.2 %`` with a space that does not break, or a dash for nan."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}\u00a0%"


def headline(data: ReportData) -> Score | None:
    """The score the page opens with: the marked one, else the last honest mIoU."""
    marked = [score for score in data.scores if score.headline]
    honest = [score for score in data.scores if score.measure == "mIoU" and not score.chosen_on_truth]
    return next(reversed(marked or honest), None)


def summary(data: ReportData) -> list[Line]:
    """The opening lines, most important first."""
    lines = [Line(PLAIN, _opening(data))] if data.splits else []
    top = headline(data)
    if top is not None and top.measure == "mIoU" and not math.isnan(top.value):
        kind, verdict = next((kind, words) for least, kind, words in _GRADES if top.value >= least)
        lines.append(
            Line(
                kind,
                f"{_capital(top.title)}, on {_where(top.split)}: masks and truth overlap by "
                f"{percent(top.value)}, {verdict}.",
            )
        )
        lines += _classes(data, top)
    elif data.coverage is not None or data.splits:
        lines.append(
            Line(
                CAUTION,
                "Nothing here could be scored, because the data holds no ground-truth masks. Look at the pictures "
                "first, then at the coverage table for classes that are found nowhere, or nearly everywhere. To get a "
                "score, draw masks for even twenty photographs and put them into the data.",
            )
        )
    lines += _steps(data)
    if data.groups is not None:
        lines += _scene(data.groups)
    for comparison in data.comparisons:
        lines += _contest(comparison)
    lines += [Line(CAUTION, text) for text in data.warnings]
    return lines


def _opening(data: ReportData) -> str:
    first = data.splits[0]
    held = [split for split in data.splits[1:] if split.images]
    given = _number(first.images, "photograph", "photographs")
    classes = _number(len(data.classes), "class", "classes")
    text = (
        f"You gave {given} tagged with {classes}, and not one outline: everything below was learned from the tags alone"
    )
    if held:
        aside = _number(_sum(held), "further photograph was", "further photographs were")
        text += f". {aside} kept aside to check the result"
    return text + "."


def _where(split: str) -> str:
    return {"val": "photographs kept aside (val)", "train": "the photographs it learned from (train)"}.get(split, split)


def _sum(splits: list[SplitFacts]) -> int:
    return sum(split.images for split in splits)


def _classes(data: ReportData, top: Score) -> list[Line]:
    values = top.per_class[1:] if len(top.per_class) == len(data.classes) + 1 else top.per_class
    known = sorted(
        ((value, name) for value, name in zip(values, data.classes, strict=False) if not math.isnan(value)),
        key=lambda pair: -pair[0],
    )
    if len(known) < 4:
        return []
    each = 3 if len(known) >= 8 else 2
    lines = [Line(PLAIN, f"Trust most: {_list(known[:each])}. Trust least: {_list(known[: -each - 1 : -1])}.")]
    lost = [name for value, name in known if value < 0.05]
    if lost:
        lines.append(
            Line(
                CAUTION,
                f"{_number(len(lost), 'class is', 'classes are')} practically not found: {_names(lost)}. "
                "More photographs of it, or photographs in which it stands in other places, help most.",
            )
        )
    return lines


def _steps(data: ReportData) -> list[Line]:
    lines = []
    for one in data.scores:
        best = next((s for s in data.scores if s.chosen_on_truth and (s.what, s.split) == (one.what, one.split)), None)
        if best is None or one.chosen_on_truth or one.threshold is None or best.threshold is None:
            continue
        if best.value - one.value >= 0.02:
            lines.append(
                Line(
                    PLAIN,
                    f"{_capital(one.what)} on {one.split} reach {percent(one.value)} at the "
                    f"{HOW[one.chosen].format(one.threshold)}; {percent(best.value)} would be possible at "
                    f"{best.threshold:.2f}, but that threshold was found by looking at the truth. Count on the first "
                    "number.",
                )
            )
    seeds, masks = _used(data, "seeds"), _used(data, "pseudo-masks")
    if seeds is not None and masks is not None and seeds.split == masks.split:
        gain = masks.value - seeds.value
        if gain >= 0.005:
            lines.append(Line(GOOD, f"Refinement made the masks better than the seeds by {100 * gain:.1f} points."))
        elif gain <= -0.005:
            lines.append(
                Line(
                    CAUTION,
                    f"Refinement made the masks worse than the seeds by {-100 * gain:.1f} points: use the seeds "
                    "instead (--set refine=none), or look at the confident labels in refine/labels.",
                )
            )
    return lines


def _used(data: ReportData, what: str) -> Score | None:
    return next((s for s in data.scores if s.what == what and s.measure == "mIoU" and not s.chosen_on_truth), None)


def _scene(groups: Comparison) -> list[Line]:
    if not {"aligned", "conflicting"} <= set(groups.columns) or not groups.rows:
        return []
    name, values = groups.rows[-1]
    usual, unusual = values[groups.columns.index("aligned")], values[groups.columns.index("conflicting")]
    if math.isnan(usual) or math.isnan(unusual):
        return []
    text = (
        f"{_capital(name)}: {percent(usual)} where objects stand in their usual scene, "
        f"{percent(unusual)} where they do not. "
    )
    if usual - unusual >= 0.05:
        return [Line(CAUTION, text + "It leans on the scene: expect more mistakes with objects in unusual places.")]
    return [Line(GOOD, text + "It looks at the objects rather than at the scene around them.")]


def _contest(comparison: Comparison) -> list[Line]:
    if len(comparison.rows) < 2:
        return []
    said = []
    for j, column in enumerate(comparison.columns):
        known = [(values[j], name) for name, values in comparison.rows if not math.isnan(values[j])]
        if len(known) >= 2:
            (best, name), (second, other) = sorted(known, key=lambda pair: -pair[0])[:2]
            ahead = f"{name} leads {other} by {100 * (best - second):.1f} points"
            said.append(f"{column}: {ahead if best - second >= 0.0005 else f'{name} and {other} are level'}")
    return [Line(PLAIN, f"{_capital(comparison.title)} — {'; '.join(said)}.")] if said else []


def _list(pairs: list[tuple[float, str]]) -> str:
    return ", ".join(f"{shorten(name)} ({100 * value:.0f}\u00a0%)" for value, name in pairs)


def _names(names: list[str]) -> str:
    return ", ".join(shorten(name) for name in names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def shorten(text: str, limit: int = 40) -> str:
    """At most ``limit`` characters, the rest as an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
