"""Pictures of ``docs/results.md``, drawn by ``benchmarks/results.py`` from the files of this folder."""

from __future__ import annotations

import io
import json
import statistics
from collections.abc import Mapping
from typing import Any

from results_data import BACKBONES, HERE, STUDIES, Json, Study, read, scores

from deft.studies.score_tables import mean_and_spread

COLOURS = ("#0f6b6b", "#c8553d")


def pictures() -> dict[str, bytes]:
    """Every picture of the page, PNG by file name."""
    drawn = {}
    for study in STUDIES:
        results = {backbone: study.results(backbone) for backbone in BACKBONES}
        results = {backbone: one for backbone, one in results.items() if one}
        if results:
            drawn[f"{study.name}.png"] = dots(study, results)
    taken = {
        backbone: {pair: one for pair, one in found["found"].items() if len(one) == 2}
        for backbone in BACKBONES
        if (found := read(f"msrc/{backbone}/leaning.json"))
    }
    if taken:
        drawn["leaning.png"] = dumbbells(taken, "share of the context in the seeds, %")
    pairs = {
        backbone: by_pair(found["found"]) for backbone in BACKBONES if (found := read(f"msrc/{backbone}/context.json"))
    }
    if pairs:
        drawn["context.png"] = dumbbells(pairs, "IoU of the seeds of the class, %")
    for path in sorted((HERE / "mechanism").glob("*.json")):
        rows = {
            name: [([one[key] for one in runs.values()]) for key in ("auto", "swept")]
            for name, runs in json.loads(path.read_text())["found"].items()
        }
        drawn[f"mechanism-{path.stem}.png"] = ranked(rows)
    if found := read("readings.json"):
        drawn["readings.png"] = ranked(
            {
                name: [
                    [one["readings"][name][at][1] for run, one in found["found"].items() if name in one["readings"]]
                    for at in ("both", "best")
                ]
                for name in dict.fromkeys(name for one in found["found"].values() for name in one["readings"])
            }
        )
    return drawn


def by_pair(found: Json) -> dict[str, dict[str, list[float]]]:
    """IoU of a class's seeds on its photographs with the context, by pair and system."""
    pairs: dict[str, dict[str, list[float]]] = {}
    for system in ("irn", "irn_deft"):
        for run in found.get(system, {}).values():
            for pair, sides in run.items():
                if "with" in sides:
                    pairs.setdefault(pair, {}).setdefault(system, []).append(sides["with"]["seeds"]["class"])
    return {pair: one for pair, one in pairs.items() if len(one) == 2}


def ranked(rows: Mapping[str, list[list[float]]]) -> bytes:
    """A line a row: filled at the chosen threshold with the deviation over runs, hollow at the best one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 0.9 + 0.26 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for level, (chosen, best) in enumerate(rows.values()):
        mean, spread = mean_and_spread(list(chosen))
        axes.errorbar(100 * mean, level, xerr=100 * spread, fmt="o", markersize=5, color=COLOURS[0])
        axes.plot(100 * statistics.fmean(best), level, "o", markersize=5, markerfacecolor="white", color=COLOURS[0])
    axes.plot([], [], "o", color=COLOURS[0], label="at the chosen threshold")
    axes.plot([], [], "o", markerfacecolor="white", color=COLOURS[0], label="at the best threshold")
    axes.set_yticks(range(len(rows)), [name.replace("`", "") for name in rows])
    axes.invert_yaxis()
    axes.set_xlabel("mIoU, %")
    return _finished(figure, axes)


def dots(study: Study, results: Mapping[str, Json]) -> bytes:
    """A line a row: filled at the chosen threshold with the deviation over seeds, hollow at the best one."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for one in results.values() for name, row in one["found"].items() if row["seeds"]))
    figure = Figure(figsize=(7.2, 0.9 + 0.3 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    for place, (backbone, one) in enumerate(results.items()):
        shift = 0.16 * (place - (len(results) - 1) / 2)
        for level, name in enumerate(names):
            row = one["found"].get(name, {})
            mean, spread = mean_and_spread(scores(row, study.auto))
            if mean != mean:
                continue
            axes.errorbar(100 * mean, level + shift, xerr=100 * spread, fmt="o", markersize=5, color=COLOURS[place])
            best = mean_and_spread(scores(row, study.swept))[0] if study.swept else mean
            if study.swept and best == best:
                axes.plot(100 * best, level + shift, "o", markersize=5, markerfacecolor="white", color=COLOURS[place])
        axes.plot([], [], "o", color=COLOURS[place], label=BACKBONES[backbone])
    if study.swept:
        axes.plot([], [], "o", markerfacecolor="white", color="#69727d", label="at the best threshold")
    labels = {name: row["label"] for one in results.values() for name, row in one["found"].items()}
    axes.set_yticks(range(len(names)), [labels[name] for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("mIoU, %")
    return _finished(figure, axes)


def dumbbells(results: Mapping[str, Mapping[str, Mapping[str, list[float]]]], what: str, most: int = 18) -> bytes:
    """A panel a backbone, a line a pair of class and context, those with the most first: plain CAM and DEFT."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(results), 0.9 + 0.24 * most), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for axes, (backbone, found) in zip(panels, results.items(), strict=True):
        means = {
            pair: [100 * statistics.fmean(values[system]) for system in ("irn", "irn_deft")]
            for pair, values in found.items()
        }
        shown = sorted(means, key=lambda pair: -means[pair][0])[:most]
        for level, pair in enumerate(shown):
            before, after = means[pair]
            axes.plot([before, after], [level, level], color="#c9cdc8", linewidth=2, zorder=1)
            axes.plot(before, level, "o", color=COLOURS[1], markersize=6)
            axes.plot(after, level, "o", color=COLOURS[0], markersize=6)
        axes.plot([], [], "o", color=COLOURS[1], label="plain CAM")
        axes.plot([], [], "o", color=COLOURS[0], label="DEFT")
        axes.set_yticks(range(len(shown)), shown)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_title(BACKBONES[backbone], fontsize=10)
        axes.set_xlabel(what, fontsize=9)
        _style(axes)
    return _png(figure)


def _finished(figure: Any, axes: Any) -> bytes:
    _style(axes)
    return _png(figure)


def _style(axes: Any) -> None:
    axes.grid(axis="x", color="#e2e4e0")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(frameon=False, fontsize=8, loc="best")


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()
