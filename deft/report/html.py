"""One self-contained page: no network, no script, every name escaped, every picture inside.

The page's policy forbids everything but inlined pictures and its own style sheet (by hash), so that even a name that
escaped the escaping could load, run or restyle nothing.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from importlib.resources import files

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from deft.artifacts import palette
from deft.report import plots, tables
from deft.report.data import PictureRow, ReportData
from deft.report.embed import picture_uri, uri
from deft.report.sheet import Sheet
from deft.report.summary import headline, percent, shorten, summary

MAX_ROWS = 24
"""Rows of pictures shown; 24 rows of six pictures make about 2 MB."""
MAX_EXTREMES = 8
"""Rows of worst, and of best, images shown."""
_MAX_LEGEND = 60


def render(data: ReportData) -> str:
    """The page of a run.

    Args:
        data: what to show; parts that are missing are left out.

    Returns:
        HTML that can always be encoded as UTF-8, of a few megabytes at most.

    Raises:
        ValueError: a per-class tuple does not fit the classes, or a picture is not RGB.
    """
    environment = _environment()
    style = _template("page.css")
    colours = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in palette().tolist()]
    page = environment.get_template("page.html").render(
        data=data,
        style=Markup(style),
        policy=_policy(style),
        lines=summary(data),
        headline=headline(data),
        explain=tables.explain,
        tiles=_tiles(data),
        score_table=tables.score_table(data) if data.scores else None,
        class_table=tables.class_table(data),
        coverage_table=tables.coverage_table(data),
        group_table=tables.comparison_table(data.groups, rivals=False) if data.groups else None,
        comparison_tables=[(each, tables.comparison_table(each, rivals=True)) for each in data.comparisons],
        stage_table=tables.stage_table(data.stages) if data.stages else None,
        total_time=tables.duration(sum(stage.seconds for stage in data.stages)),
        settings=tables.settings_rows(data.settings) if data.settings else [],
        colours=colours,
        value_of={name: value for value, name in enumerate(data.classes, 1)},
        legend=_legend(data),
        galleries=_galleries(data),
        loss_charts=[(stage, _chart(plots.loss_chart(terms))) for stage, terms in data.losses.items()],
        threshold_chart=_chart(plots.threshold_chart(data.curves)) if data.curves else None,
        companies=[
            (title, _chart(plots.cooccurrence_chart(table)), tables.company(table))
            for title, table in (("Classes with contexts", data.contexts), ("Classes with classes", data.together))
            if table is not None and table.counts.any()
        ],
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def render_sheet(sheet: Sheet) -> str:
    """A page of sections: a study written for the owner of the photographs.

    Returns:
        HTML that can always be encoded as UTF-8.

    Raises:
        ValueError: a picture is not RGB.
    """
    style = _template("page.css")
    sections = [
        {
            "title": part.title,
            "explain": part.explain,
            "lines": part.lines,
            "first": part.first,
            "table": part.table,
            "rows": [_row(row) for row in part.pictures],
        }
        for part in sheet.sections
    ]
    template = _environment().get_template("sheet.html")
    page = template.render(sheet=sheet, sections=sections, style=Markup(style), policy=_policy(style))
    return page.encode("utf-8", "replace").decode("utf-8")


def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_template),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    environment.filters.update(percent=percent, shorten=shorten)
    return environment


def _template(name: str) -> str:
    return files("deft.report").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _clean(value: object) -> object:
    """Take from a user's text what would stay dangerous after escaping: controls and changes of direction."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "".join(
        "\ufffd"
        if (letter not in "\n\t" and unicodedata.category(letter) in ("Cc", "Cs")) or letter in _TURNS
        else letter
        for letter in value
    )


_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


def _chart(png: bytes) -> dict[str, object]:
    """A chart at the size its letters were drawn for; the pixels in between are for sharp screens."""
    width = int.from_bytes(png[16:20], "big")  # where a PNG header keeps it
    return {"source": uri(png, "image/png"), "width": round(width * plots.CSS_DPI / plots.DPI)}


def _tiles(data: ReportData) -> list[tuple[str, str, str]]:
    """Up to five (value, label, sentence) for the top of the page."""
    tiles = []
    top = headline(data)
    if top is not None:
        tiles.append(
            (percent(top.value), f"{top.title}, {top.split}", "mean overlap of masks and truth; 100 % is perfect")
        )
    wanted = (("seeds", tables.EXPLAIN["seeds"]), ("pseudo-masks", tables.EXPLAIN["pseudo-masks"]))
    for what, words in wanted:
        score = next((s for s in data.scores if s.what == what and not s.chosen_on_truth and s is not top), None)
        if score is not None:
            tiles.append((percent(score.value), f"{score.title}, {score.split}", words))
    tagging = [score for score in data.scores if score.measure == "mAP"]
    if tagging:
        tiles.append(
            (percent(tagging[-1].value), f"{tagging[-1].title}, {tagging[-1].split}", "how well tags are guessed")
        )
    if data.coverage is not None and top is None:
        tiles.append((percent(data.coverage.ignored()), "undecided", "share of pixels the masks leave open"))
        found = [line for line in map(data.coverage.of, range(1, data.coverage.num_classes + 1)) if line.tagged]
        missed = sum(line.missed for line in found) / max(1, sum(line.tagged for line in found))
        tiles.append((percent(missed), "tags not found", "tags for which the mask of the photograph shows nothing"))
    if data.stages:
        tiles.append((tables.duration(sum(s.seconds for s in data.stages)), "time", "all stages of the run together"))
    return tiles


def _legend(data: ReportData) -> list[tuple[str, int]]:
    """(name, mask value) of the classes on the pictures."""
    shown = {tag for row in (*data.pictures, *data.worst, *data.best) for tag in row.tags}
    every = [(name, value) for value, name in enumerate(data.classes, 1)]
    return every if len(every) <= _MAX_LEGEND else [(name, value) for name, value in every if name in shown]


def _galleries(data: ReportData) -> list[dict[str, object]]:
    wanted = (
        ("pictures", "Pictures", "", data.pictures, MAX_ROWS),
        (
            "worst",
            "Where it failed",
            "The images with the lowest overlap: what goes wrong here goes wrong elsewhere too.",
            data.worst,
            MAX_EXTREMES,
        ),
        ("best", "Where it did best", "The images with the highest overlap.", data.best, MAX_EXTREMES),
    )
    return [
        {"id": name, "title": title, "explain": words, "rows": [_row(r) for r in rows[:most]], "left": len(rows) - most}
        for name, title, words, rows, most in wanted
        if rows
    ]


def _row(row: PictureRow) -> dict[str, object]:
    pictures = [(caption, picture_uri(np.asarray(picture))) for caption, picture in row.pictures]
    return {"name": row.name, "tags": row.tags, "score": row.score, "pictures": pictures}
