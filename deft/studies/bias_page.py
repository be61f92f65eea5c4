"""The page of the study `bias`: sentences for the owner of the photographs, examples, and the tables as HTML."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deft.artifacts import file_stem, load_seeds, palette
from deft.contracts import Dataset
from deft.data.examples import without_truth
from deft.data.scaling import MAX_SIDE
from deft.data.working_size import scaled_sample
from deft.report.contact import contact_sheet
from deft.report.data import PictureRow
from deft.report.html import render_sheet
from deft.report.overlay import seeds_over_image
from deft.report.sheet import Section, Sheet
from deft.report.summary import CAUTION, PLAIN, Line
from deft.report.tables import Cell, Row
from deft.report.tables import Table as PageTable
from deft.studies.bias_tables import (
    Pair,
    class_table,
    classes_of,
    lift_table,
    overlap_table,
    pairs_of,
    photograph_table,
    strongest_of_each_class,
)
from deft.studies.markdown import escape_markdown
from deft.studies.outcome import Outcome, Plot, Table
from deft.studies.rows import Finding

TITLE = "Context bias of each class"
SENTENCES = 12
"""Maximum number of sentences."""
PICTURES = 12
"""Maximum number of example photographs."""


def compose_bias(findings: Sequence[Finding], folders: Sequence[Path], data: Dataset) -> tuple[Outcome, str]:
    """The outcome of the results so far, and its page as HTML.

    Args:
        findings: results of the runs; rows that swap backgrounds come first.
        folders: run folder of each finding.
        data: the training images.

    Returns:
        The outcome, and the HTML of the page.
    """
    known = [(each, folder) for each, folder in zip(findings, folders, strict=True) if each.value]
    labels = list(dict.fromkeys(each.row.label for each, _ in known))
    pairs = {label: pairs_of(label, [each.value for each, _ in known if each.row.label == label]) for label in labels}
    swapping = next((label for label in labels if any(pair.rank > -math.inf for pair in pairs[label])), None)
    ranked = sorted(pairs[swapping], key=lambda pair: -pair.rank) if swapping else []
    records = {label: [each.value for each, _ in known if each.row.label == label] for label in labels}
    of_class = classes_of(records[swapping]) if swapping else {}
    sentences = [sentence(pair, of_class.get(pair.name, [])) for pair in strongest_of_each_class(ranked)][:SENTENCES]
    limits = _limits([record for found in records.values() for record in found])
    source = next(((each.value, folder) for each, folder in known if each.row.label == swapping), None)
    pictures = _pictures(source[0], source[1], data) if source else []
    tables = [
        lift_table(ranked),
        photograph_table(ranked, pairs),
        class_table(of_class),
        overlap_table(ranked, pairs),
    ]
    outcome = Outcome(
        "bias",
        TITLE,
        tuple(_escaped(table) for table in tables if table.rows),
        tuple(_plots(pictures, data)),
        notes=(
            "`bias.html` shows the same with images. A *companion* of a class is a context, or another class (tag), "
            "that its photographs show. A class is biased towards a companion if backgrounds from photographs of that "
            "companion raise its score.",
            *("- " + escape_markdown(line.text, 1000) for line in sentences),
            *limits,
        ),
        values={
            "records": {label: _by_seed(known, label) for label in labels},
            "sentences": [line.text for line in sentences],
        },
    )
    return outcome, _page(tables, sentences, limits, pictures)


def sentence(pair: Pair, classes: Sequence[dict[str, Any]]) -> Line:
    """A sentence on a class and a companion, for the owner of the photographs; names are not escaped yet.

    Args:
        pair: the class and its companion.
        classes: entry of the class in the record of each run.
    """
    count, of = pair.runs[0]["together"], pair.runs[0]["photographs"]
    parts = [f"{pair.name}: {count} of its {of} photographs also show {pair.companion}"]
    lift = pair.mean("lift")
    if math.isnan(lift):
        parts.append("all photographs show it or none does, so that backgrounds with and without it cannot be compared")
    else:
        points = round(abs(100 * lift))
        unit = "percentage point" if points == 1 else "percentage points"
        change = f"{'falls' if lift > 0 else 'rises'} by {points} {unit}" if points else "hardly changes"
        parts.append(f"on backgrounds without {pair.companion} its score {change}")
    alone = [run["alone"] for run in classes if run.get("alone") is not None]
    if alone:
        share = 100 * statistics.fmean(alone)
        parts.append(f"in {share:.0f} % of its photographs the background alone is classified as {pair.name}")
    return Line(CAUTION if lift >= 0.01 else PLAIN, "; ".join(parts))


def _by_seed(known: Sequence[tuple[Finding, Path]], label: str) -> dict[str, Any]:
    return {str(each.seed): each.value for each, _ in known if each.row.label == label}


def _limits(records: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """What the results cannot show, and why."""
    notes = []
    if not records:
        return ()
    if not any(record["contexts"] for record in records):
        notes.append(
            "The dataset has no context labels, so companions are other classes only. A bias towards a scene without a "
            "label (grass, water, road) cannot be attributed to that scene; the share of photographs whose background "
            "alone is classified as the class still measures it. A file `context_labels.csv` adds context labels."
        )
    if not any(record["masks"] for record in records):
        notes.append(
            "There are no masks, so IoU, AFA and ABA, which show where in a photograph a score comes from, are missing."
        )
    elif not any(entry["afa"] is not None for record in records for entry in record["classes"]):
        notes.append("The backbone has no batch norm, before which AFA and ABA are measured.")
    if any(record["swap_head"] is None for record in records):
        notes.append(
            "A classifier without DEFT's two vectors scores whole photographs only: it gives no score for a background "
            "alone, or for an object on another background."
        )
    if any(record["swap_head"] in ("linear", "shared") for record in records):
        notes.append(
            "f_swap adds a term of the object and a term of the background: the lift in logits is the same for every "
            "object of a class and cannot show interactions between the two. In percentage points it is smaller for "
            "objects whose score is already high."
        )
    notes.append(
        "Backgrounds are feature vectors of the classifier, not photographs: if its background attention covers a part "
        "of the object, the background alone resembles the class for that reason. A companion that all photographs "
        "show, or none, cannot be evaluated."
    )
    return tuple(notes)


def _pictures(record: dict[str, Any], folder: Path, data: Dataset) -> list[tuple[str, float, PictureRow]]:
    """Photographs whose background alone scores highest for their class: (class, score, row), highest first."""
    wanted = [(entry["class"], one) for entry in record["classes"] for one in entry.get("examples", [])]
    wanted.sort(key=lambda item: -item[1]["alone"])
    places = {name: index for index, name in enumerate(data.names)}
    found = []
    for name, example in wanted[:PICTURES]:
        sample = scaled_sample(without_truth(data), places[example["image"]], MAX_SIDE)
        seeds = load_seeds(folder / "seeds" / "train" / f"{file_stem(sample.name)}.npz")
        k = data.classes.index(name)
        maps = seeds.maps[[seeds.classes.index(k)]].numpy()
        caption = f"background alone: {100 * example['alone']:.0f} %"
        shown = (("photograph", sample.image), (f"seeds; {caption}", seeds_over_image(sample.image, maps, [k])))
        found.append((name, example["alone"], PictureRow(sample.name, (name,), shown)))
    return found


def _plots(pictures: Sequence[tuple[str, float, PictureRow]], data: Dataset) -> list[Plot]:
    if not pictures:
        return []
    rows = []
    for name, alone, row in pictures:
        red, green, blue = palette()[data.classes.index(name) + 1].tolist()
        shown = [picture for _, picture in row.pictures]
        rows.append((f"{name}: {100 * alone:.0f} %", (red, green, blue), shown))
    alt = "Photographs whose background alone scores highest for their class, each beside its seeds"
    return [Plot("examples", contact_sheet(rows), alt)]


def _page(
    tables: Sequence[Table],
    sentences: Sequence[Line],
    limits: Sequence[str],
    pictures: Sequence[tuple[str, float, PictureRow]],
) -> str:
    words = "The companion that raises the score of each class most, largest effects first."
    sections = [Section("Summary", words, tuple(sentences))]
    if pictures:
        words = "Photographs whose background alone, without the object, scores highest for their class."
        sections.append(Section("Examples", words, pictures=tuple(row for _, _, row in pictures)))
    sections += [
        Section(table.title, _without_markup(table.explain), first=table.columns[0], table=_page_table(table))
        for table in tables
        if table.rows
    ]
    sections.append(Section("Limits", lines=tuple(Line(PLAIN, _without_markup(text)) for text in limits)))
    intro = "How much the score of each class depends on its surroundings and on other classes in the photograph."
    return render_sheet(Sheet(TITLE, intro, tuple(sections)))


def _page_table(table: Table) -> PageTable:
    """The same table for the HTML page, whose template escapes the cells."""
    rows = tuple(Row(line[0], tuple(map(Cell, line[1:]))) for line in table.rows)
    return PageTable(table.columns[1:], rows)


def _escaped(table: Table) -> Table:
    """The same table for Markdown, with the user's names escaped."""
    users = [index for index, column in enumerate(table.columns) if column in ("class", "companion")]
    rows = tuple(
        tuple(escape_markdown(text) if at in users else text for at, text in enumerate(line)) for line in table.rows
    )
    return replace(table, rows=rows)


def _without_markup(text: str) -> str:
    return text.replace("*", "").replace("`", "")
