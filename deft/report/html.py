"""A self-contained HTML page: no network access, no scripts, all names escaped, all images embedded.

The content security policy of the page allows only embedded images and its own style sheet (by hash), so that even a
name that was not escaped could not load, run or restyle anything.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from deft.artifacts import palette
from deft.guards.words import harmless
from deft.report import plots, tables
from deft.report.data import DoubtfulTag, PictureRow, ReportData
from deft.report.embed import picture_uri, uri
from deft.report.sheet import Sheet
from deft.report.summary import headline, percent, shorten, summary

MAX_ROWS = 24
"""Maximum number of rows of images; 24 rows of six images take about 2 MB."""
MAX_EXTREMES = 8
"""Maximum number of rows of worst, and of best, images."""
_MAX_LEGEND = 60


def render(data: ReportData) -> str:
    """The page of a run.

    Args:
        data: the content; missing parts are left out.

    Returns:
        HTML that can always be encoded as UTF-8, of a few megabytes at most.

    Raises:
        ValueError: the length of a per-class tuple does not match the classes, or an image is not RGB.
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
        doubtful=[(tag, _thumbnail(tag)) for tag in data.doubtful],
        loss_charts=[(stage, _chart(plots.loss_chart(terms))) for stage, terms in data.losses.items()],
        threshold_chart=_chart(plots.threshold_chart(data.curves)) if data.curves else None,
        cooccurrences=[
            (title, _chart(plots.cooccurrence_chart(table)), tables.strongest_pairs(table))
            for title, table in (("Classes and contexts", data.contexts), ("Classes and classes", data.together))
            if table is not None and table.counts.any()
        ],
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def render_sheet(sheet: Sheet) -> str:
    """A page of sections, such as that of the study `bias`.

    Returns:
        HTML that can always be encoded as UTF-8.

    Raises:
        ValueError: an image is not RGB.
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
    """Replace what is unsafe in users' text even after escaping."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return harmless(value)


def _chart(png: bytes) -> dict[str, object]:
    """A chart as a data URI, and its width on the page; its resolution is higher, for high-density screens."""
    width = int.from_bytes(png[16:20], "big")  # the width field of the PNG header
    return {"source": uri(png, "image/png"), "width": round(width * plots.CSS_DPI / plots.DPI)}


def _tiles(data: ReportData) -> list[tuple[str, str, str]]:
    """Up to five (value, label, sentence) for the top of the page."""
    tiles = []
    top = headline(data)
    if top is not None:
        tiles.append(
            (percent(top.value), f"{top.title}, {top.split}", "mean overlap (IoU) with the ground truth; 100 % is best")
        )
    wanted = (("seeds", tables.EXPLAIN["seeds"]), ("pseudo-masks", tables.EXPLAIN["pseudo-masks"]))
    for what, words in wanted:
        score = next((s for s in data.scores if s.what == what and not s.chosen_on_truth and s is not top), None)
        if score is not None:
            tiles.append((percent(score.value), f"{score.title}, {score.split}", words))
    tagging = [score for score in data.scores if score.measure == "mAP"]
    if tagging:
        tiles.append(
            (percent(tagging[-1].value), f"{tagging[-1].title}, {tagging[-1].split}", "accuracy of predicted tags")
        )
    if data.coverage is not None and top is None:
        tiles.append((percent(data.coverage.ignored()), "undecided", "share of pixels without a class in the masks"))
        found = [line for line in map(data.coverage.of, range(1, data.coverage.num_classes + 1)) if line.tagged]
        missed = sum(line.missed for line in found) / max(1, sum(line.tagged for line in found))
        tiles.append((percent(missed), "tags not found", "share of tags whose class is missing from the image's mask"))
    if data.stages:
        tiles.append((tables.duration(sum(s.seconds for s in data.stages)), "time", "sum of all stages of the run"))
    return tiles


def _legend(data: ReportData) -> list[tuple[str, int]]:
    """(name, mask value) of the classes shown in the images."""
    shown = {tag for row in (*data.pictures, *data.worst, *data.best) for tag in row.tags}
    every = [(name, value) for value, name in enumerate(data.classes, 1)]
    return every if len(every) <= _MAX_LEGEND else [(name, value) for name, value in every if name in shown]


def _galleries(data: ReportData) -> list[dict[str, object]]:
    wanted = (
        ("pictures", "Images", "", data.pictures, MAX_ROWS),
        (
            "worst",
            "Worst images",
            "The images with the lowest overlap, which show the typical errors.",
            data.worst,
            MAX_EXTREMES,
        ),
        ("best", "Best images", "The images with the highest overlap.", data.best, MAX_EXTREMES),
    )
    return [
        {"id": name, "title": title, "explain": words, "rows": [_row(r) for r in rows[:most]], "left": len(rows) - most}
        for name, title, words, rows, most in wanted
        if rows
    ]


def _thumbnail(tag: DoubtfulTag) -> str | None:
    return None if tag.picture is None else picture_uri(np.asarray(tag.picture), 148)


def _row(row: PictureRow) -> dict[str, object]:
    pictures = [(caption, picture_uri(np.asarray(picture))) for caption, picture in row.pictures]
    return {"name": row.name, "tags": row.tags, "score": row.score, "pictures": pictures}
