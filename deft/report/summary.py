"""The summary of a report: sentences composed from the scores.

They are written for readers who know their images but not the field: each sentence states one result and what it means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deft.report.data import HOW, Comparison, ReportData, Score, SplitFacts

GOOD, PLAIN, CAUTION = "good", "plain", "caution"

_GRADES = (
    (0.75, GOOD, "very good: most outlines can be used without correction"),
    (0.60, GOOD, "good: shapes are correct, boundaries are approximate"),
    (0.45, PLAIN, "usable as a first draft: most objects are found, their shapes need correction"),
    (0.25, CAUTION, "rough: it shows where objects are, but not their shapes"),
    (0.00, CAUTION, "too low to be useful: look at the images and the warnings to see what went wrong"),
)
"""Minimum mIoU, kind of the sentence, and verdict."""


@dataclass(frozen=True)
class Line:
    """One sentence of the summary."""

    kind: str
    """``good``, ``plain`` or ``caution``, which determines the colour of its bullet."""
    text: str


def percent(value: float) -> str:
    """A fraction in per cent, such as ``47.2 %`` with a non-breaking space, or a dash for nan."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}\u00a0%"


def headline(data: ReportData) -> Score | None:
    """The main score: the marked one, else the last mIoU whose threshold was not chosen on the ground truth."""
    marked = [score for score in data.scores if score.headline]
    valid = [score for score in data.scores if score.measure == "mIoU" and not score.chosen_on_truth]
    return next(reversed(marked or valid), None)


def summary(data: ReportData) -> list[Line]:
    """The sentences of the summary, most important first."""
    lines = [Line(PLAIN, _opening(data))] if data.splits else []
    top = headline(data)
    if top is not None and top.measure == "mIoU" and not math.isnan(top.value):
        kind, verdict = next((kind, words) for least, kind, words in _GRADES if top.value >= least)
        lines.append(
            Line(
                kind,
                f"{_capital(top.title)}, on {_where(top.split)}: the overlap with the ground truth is "
                f"{percent(top.value)}, {verdict}.",
            )
        )
        lines += _classes(data, top)
    elif data.coverage is not None or data.splits:
        lines.append(
            Line(
                CAUTION,
                "Nothing here could be scored, because the dataset has no ground-truth masks. Look at the images "
                "first, then at the coverage table for classes that are found nowhere, or almost everywhere. To get a "
                "score, draw masks for as few as twenty images and add them to the dataset.",
            )
        )
    lines += _steps(data)
    if data.groups is not None:
        lines += _scene(data.groups)
    for comparison in data.comparisons:
        lines += _ranking(comparison)
    lines += [Line(CAUTION, text) for text in data.warnings]
    return lines


def _opening(data: ReportData) -> str:
    first = data.splits[0]
    held = [split for split in data.splits[1:] if split.images]
    given = _number(first.images, "image", "images")
    classes = _number(len(data.classes), "class", "classes")
    text = f"Trained on {given} tagged with {classes}, without any mask: all results below are learned from tags alone"
    if held:
        others = _number(_sum(held), "further image was", "further images were")
        text += f". {others} held out to check the result"
    return text + "."


def _where(split: str) -> str:
    words = {
        "val": "held-out images (val)",
        "train": "the training images (train)",
        "reviewed": "reviewed images that taught nothing",
    }
    return words.get(split, split)


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
    best, worst = _list(known[:each]), _list(known[: -each - 1 : -1])
    lines = [Line(PLAIN, f"Most reliable classes: {best}. Least reliable classes: {worst}.")]
    lost = [name for value, name in known if value < 0.05]
    if lost:
        lines.append(
            Line(
                CAUTION,
                f"{_number(len(lost), 'class is', 'classes are')} almost never found: {_names(lost)}. "
                "More images, or images with other surroundings, help most.",
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
                    f"{best.threshold:.2f}, but that threshold was chosen on the ground truth. Rely on the first "
                    "number.",
                )
            )
    seeds, masks = _used(data, "seeds"), _used(data, "pseudo-masks")
    if seeds is not None and masks is not None and seeds.split == masks.split:
        gain = masks.value - seeds.value
        if gain >= 0.005:
            lines.append(Line(GOOD, f"Refinement improved the masks over the seeds by {100 * gain:.1f} points."))
        elif gain <= -0.005:
            lines.append(
                Line(
                    CAUTION,
                    f"Refinement made the masks worse than the seeds by {-100 * gain:.1f} points: use the seeds "
                    "instead (--set refine=none), or check the confident labels in refine/labels.",
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
        f"{_capital(name)}: {percent(usual)} on images with objects in their usual scene, "
        f"{percent(unusual)} on the others. "
    )
    if usual - unusual >= 0.05:
        return [Line(CAUTION, text + "It relies on the scene: expect more errors for objects in unusual surroundings.")]
    return [Line(GOOD, text + "It relies on the objects rather than on the scene around them.")]


def _ranking(comparison: Comparison) -> list[Line]:
    if len(comparison.rows) < 2:
        return []
    parts = []
    for j, column in enumerate(comparison.columns):
        known = [(values[j], name) for name, values in comparison.rows if not math.isnan(values[j])]
        if len(known) >= 2:
            (best, name), (second, other) = sorted(known, key=lambda pair: -pair[0])[:2]
            ahead = f"{name} is {100 * (best - second):.1f} points better than {other}"
            parts.append(f"{column}: {ahead if best - second >= 0.0005 else f'{name} and {other} are equal'}")
    return [Line(PLAIN, f"{_capital(comparison.title)} — {'; '.join(parts)}.")] if parts else []


def _list(pairs: list[tuple[float, str]]) -> str:
    return ", ".join(f"{shorten(name)} ({100 * value:.0f}\u00a0%)" for value, name in pairs)


def _names(names: list[str]) -> str:
    return ", ".join(shorten(name) for name in names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def shorten(text: str, limit: int = 40) -> str:
    """Text cut to ``limit`` characters, ending in an ellipsis if it is longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
