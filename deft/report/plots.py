"""Charts as PNG bytes; the only module that imports matplotlib, and only when a chart is drawn.

Names come from users: matplotlib would typeset ``$...$`` as mathematics and hide labels that begin with an underscore,
so all names are escaped first.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deft.metrics.cooccurrence import Cooccurrence
from deft.report.data import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0f6b6b", "#c8553d", "#5b5ea6", "#b8860b", "#3a7d44", "#8f4a7c", "#4a6fa5", "#7a6a53")
_INK, _SOFT, _LINE = "#2b3138", "#69727d", "#e2e4e0"
DPI = 160
"""Pixels per inch of a chart."""
CSS_DPI = 96
"""Pixels per inch of a page."""
_MAX_KEYS = 40


@dataclass(frozen=True)
class Band:
    """A mean curve with its standard deviation."""

    name: str
    at: Sequence[float]
    """Positions on the horizontal axis."""
    mean: Sequence[float]
    spread: Sequence[float]
    """Standard deviation at each point; nan if unknown."""


def loss_chart(terms: Mapping[str, Sequence[tuple[int, float]]]) -> bytes:
    """Loss terms of one stage against the training step, on a logarithmic scale if they span more than a factor 30."""
    figure, axes = _figure(5.0, 2.7)
    known = []
    for (name, points), colour in zip(terms.items(), _cycle(len(terms)), strict=True):
        steps, values = np.array([p[0] for p in points]), np.array([p[1] for p in points], dtype=np.float64)
        values[~np.isfinite(values)] = np.nan
        mark = "o" if len(steps) == 1 else None
        axes.plot(steps, values, color=colour, linewidth=1.6, marker=mark, markersize=4, label=_plain(name))
        known.append(values[~np.isnan(values)])
    every = np.concatenate(known) if known else np.zeros(0)
    if len(every) and every.min() > 0 and every.max() / every.min() > 30:
        axes.set_yscale("log")
    elif len(every) and every.min() >= 0:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("training step")
    axes.set_ylabel("loss")
    _legend(axes, len(terms))
    return _png(figure)


def threshold_chart(curves: Mapping[str, Curve]) -> bytes:
    """Mean IoU against the background threshold.

    On each curve a ring marks the best threshold, a dot with a vertical line the threshold in use, and a diamond the
    one chosen without masks.
    """
    figure, axes = _figure(6.8, 3.1)
    for (name, curve), colour in zip(curves.items(), _cycle(len(curves)), strict=True):
        x, y = np.array(curve.thresholds), 100 * np.array(curve.miou)
        axes.plot(x, y, color=colour, linewidth=1.8, label=_plain(name))
        if len(y) and not np.isnan(y).all():
            best = int(np.nanargmax(y))
            axes.plot(x[best], y[best], "o", color=colour, markerfacecolor="white", markersize=6)
        for at, marker, size in ((curve.auto, "D", 7), (curve.used, "o", 4)):
            if at is None or not len(y):
                continue
            height = float(np.interp(at, x, y))
            if marker == "o":
                axes.plot([at] * 2, [0, height], color=colour, linewidth=1, linestyle=(0, (3, 2)))
            face = colour if marker == "o" else "white"
            axes.plot(at, height, marker, color=colour, markerfacecolor=face, markersize=size, zorder=3)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, 1)
    axes.set_xlabel("background threshold")
    axes.set_ylabel("mean IoU, %")
    _legend(axes, len(curves))
    return _png(figure)


def bar_chart(
    rows: Mapping[str, Sequence[tuple[float, float]]], measures: Sequence[str], unit: str = "mIoU, %"
) -> bytes:
    """A group of bars for each row, one bar per measure, with standard deviations.

    Args:
        rows: name -> (mean, standard deviation) of each measure, fractions; nan leaves a gap.
        measures: names of the measures, for the legend.
        unit: label of the axis.
    """
    height = 0.8 / max(1, len(measures))
    figure, axes = _figure(6.8, 0.9 + 0.26 * len(rows) * max(1.3, len(measures)))
    for index, (measure, colour) in enumerate(zip(measures, _cycle(len(measures)), strict=True)):
        means = 100 * np.array([values[index][0] for values in rows.values()])
        spreads = 100 * np.array([values[index][1] for values in rows.values()])
        places = np.arange(len(rows)) + (index - (len(measures) - 1) / 2) * height
        axes.barh(places, means, 0.9 * height, color=colour, label=_plain(measure))
        axes.errorbar(means, places, xerr=spreads, fmt="none", ecolor=_INK, elinewidth=1, capsize=2)
        for place, mean, spread in zip(places, means, spreads, strict=True):
            if not math.isnan(mean):
                axes.text(mean + spread, place, f" {mean:.1f}", va="center", fontsize=7, color=_INK)
    axes.set_yticks(range(len(rows)), [_plain(name) for name in rows])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlabel(unit)
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    if len(measures) > 1:
        figure.legend(loc="outside upper left", frameon=False, fontsize=8, labelcolor=_INK, ncols=len(measures))
    return _png(figure)


def cooccurrence_chart(table: Cooccurrence, limit: int = 24) -> bytes:
    """Share of each class's images that show each companion, for the ``limit`` most frequent rows and columns."""
    rows = _commonest(table.images, limit)
    columns = _commonest(table.base, limit)
    share = 100 * table.share_of_images()[np.ix_(rows, columns)]
    same = table.rows == table.columns
    figure, axes = _figure(1.9 + 0.34 * len(columns), 1.3 + 0.27 * len(rows))
    axes.grid(False)
    axes.imshow(share, cmap="GnBu", vmin=0, vmax=100, aspect="auto")
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            value = share[y, x]
            if same and row == column:
                axes.text(x, y, "·", ha="center", va="center", fontsize=7, color=_SOFT)
            elif not math.isnan(value) and value >= 0.5:
                axes.text(
                    x, y, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color="white" if value > 60 else _INK
                )
    axes.set_xticks(range(len(columns)), [_plain(table.columns[j], 18) for j in columns], rotation=45, ha="left")
    axes.set_yticks(range(len(rows)), [_plain(table.rows[k], 22) for k in rows])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return _png(figure)


def band_chart(curves: Mapping[str, Sequence[Band]], x: str, y: str) -> bytes:
    """Curves with a band of one standard deviation to either side, one panel per title.

    Args:
        curves: the curves of each panel, by its title.
        x: label of the horizontal axis.
        y: label of the vertical axis.
    """
    from matplotlib.figure import Figure

    columns = max(1, len(curves))
    figure = Figure(figsize=(0.6 + 3.9 * columns, 3.0), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, columns, sharey=True, squeeze=False)[0]
    for axes, (title, bands) in zip(panels, curves.items(), strict=False):
        _style(axes)
        axes.set_title(_plain(title), fontsize=9, color=_INK)
        for band, colour in zip(bands, _cycle(len(bands)), strict=True):
            at, mean, spread = (np.array(part, dtype=np.float64) for part in (band.at, band.mean, band.spread))
            axes.plot(at, mean, color=colour, linewidth=1.8, label=_plain(band.name))
            wide = np.where(np.isnan(spread), 0, spread)
            axes.fill_between(at, mean - wide, mean + wide, color=colour, alpha=0.18, linewidth=0)
        axes.set_xlabel(x)
        _legend(axes, len(bands))
    panels[0].set_ylabel(y)
    return _png(figure)


def scatter_chart(
    points: NDArray[np.float32], groups: Sequence[int], names: Sequence[str], hollow: NDArray[np.bool_] | None = None
) -> bytes:
    """A scatter plot, coloured by group.

    Args:
        points: coordinates, (N, 2).
        groups: group of each point, (N,), indices into ``names``; groups without points are left out of the legend.
        names: names of the groups.
        hollow: which points are drawn as rings, (N,).
    """
    figure, axes = _figure(6.4, 5.0)
    rings = np.zeros(len(points), dtype=np.bool_) if hollow is None else hollow
    members = np.asarray(groups)
    shown = [index for index in range(len(names)) if (members == index).any()]
    for index, colour in zip(shown, _many(len(shown)), strict=True):
        own = members == index
        for part, face in ((own & ~rings, colour), (own & rings, "none")):
            axes.scatter(points[part, 0], points[part, 1], s=14, facecolors=face, edgecolors=colour, linewidths=0.8)
        axes.scatter([], [], s=18, color=colour, label=_plain(names[index], 18))
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    if 0 < len(shown) <= _MAX_KEYS:
        axes.legend(
            frameon=False, fontsize=7, labelcolor=_INK, loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.2
        )
    return _png(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    _style(axes)
    return figure, axes


def _style(axes: Axes) -> None:
    axes.grid(True, color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_SOFT, labelsize=8, length=0)
    axes.xaxis.label.set(color=_SOFT, fontsize=8)
    axes.yaxis.label.set(color=_SOFT, fontsize=8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the font draws boxes instead
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        figure.savefig(stream, format="png")
    return stream.getvalue()


def _legend(axes: Axes, entries: int) -> None:
    if entries > 0:
        axes.legend(frameon=False, fontsize=8, labelcolor=_INK, ncols=1 if entries < 5 else 2)


def _cycle(length: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(length)]


def _many(length: int) -> list[str]:
    """Distinct colours, also for more groups than the charts' palette has."""
    if length <= len(COLOURS):
        return list(COLOURS[:length])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["turbo"](0.05 + 0.9 * i / (length - 1))) for i in range(length)]


def _commonest(counts: NDArray[np.generic], limit: int) -> list[int]:
    """Indices of the highest counts, in ascending order."""
    order: list[int] = np.argsort(-counts.astype(np.float64), kind="stable")[:limit].tolist()
    return sorted(order)


def _plain(text: str, limit: int = 32) -> str:
    line = "".join(letter if letter.isprintable() else "?" for letter in text)
    line = line if len(line) <= limit else line[: limit - 1] + "…"
    line = line.replace("\\", "∖").replace("$", r"\$")  # a backslash before a dollar would undo its escaping
    return f" {line}" if line.startswith("_") else line
