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
from deft.studies.outcome import Outcome, Plot, Table
from deft.studies.rows import Finding
from deft.studies.words import literal

TITLE = "What each class leans on"
SENTENCES = 12
PICTURES = 12


def compose_bias(findings: Sequence[Finding], folders: Sequence[Path], data: Dataset) -> tuple[Outcome, str]:
    """The outcome of what is known, and its page as HTML.

    Args:
        findings: rows that swap first.
        folders: the run folder of each finding.
        data: the training images.
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
            "`bias.html` holds the same with pictures. "
            "A class *leans* on a companion when a background from photographs of that companion lifts its score.",
            *("- " + literal(line.text, 1000) for line in sentences),
            *limits,
        ),
        values={
            "records": {label: _by_seed(known, label) for label in labels},
            "sentences": [line.text for line in sentences],
        },
    )
    return outcome, _page(tables, sentences, limits, pictures)


def sentence(pair: Pair, classes: Sequence[dict[str, Any]]) -> Line:
    """One line for the owner of the photographs; names as they are, to be escaped where they are shown.

    Args:
        pair: the class and its companion.
        classes: the class's entry in each run's record.
    """
    count, of = pair.runs[0]["together"], pair.runs[0]["photographs"]
    seen = "seen with" if pair.kind == "tag" else "its photographs show"
    words = [f"{pair.name}: {seen} {pair.companion} in {count} of {of}"]
    lift = pair.mean("lift")
    if math.isnan(lift):
        words.append("every photograph shows it or none does, so nothing can be compared")
    else:
        points = round(abs(100 * lift))
        unit = "point" if points == 1 else "points"
        moved = f"{'falls' if lift > 0 else 'rises'} by {points} {unit}" if points else "hardly changes"
        words.append(f"on backgrounds without {pair.companion} its score {moved}")
    alone = [run["alone"] for run in classes if run.get("alone") is not None]
    if alone:
        words.append(
            f"the background alone is taken for {pair.name} in {100 * statistics.fmean(alone):.0f} % of its photographs"
        )
    return Line(CAUTION if lift >= 0.01 else PLAIN, "; ".join(words))


def _by_seed(known: Sequence[tuple[Finding, Path]], label: str) -> dict[str, Any]:
    return {str(each.seed): each.value for each, _ in known if each.row.label == label}


def _limits(records: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """What cannot be known, and why."""
    notes = []
    if not records:
        return ()
    if not any(record["contexts"] for record in records):
        notes.append(
            "The data name no contexts, so companions are the other tags only. Whether a class leans on a scene that "
            "has no name here (grass, water, road) cannot be told by name; the share whose background alone is taken "
            "for the class still tells how much. A file `context_labels.csv` would name them."
        )
    if not any(record["masks"] for record in records):
        notes.append(
            "There are no masks, so nothing says where in a photograph a score comes from: no overlap, AFA or ABA."
        )
    elif not any(entry["afa"] is not None for record in records for entry in record["classes"]):
        notes.append("The backbone has no batch norm before which AFA and ABA could be read.")
    if any(record["swap_head"] is None for record in records):
        notes.append(
            "A plain classifier scores a whole photograph only: what it would say of the background alone, or of an "
            "object on another background, cannot be known without DEFT's two vectors."
        )
    if any(record["swap_head"] in ("linear", "shared") for record in records):
        notes.append(
            "f_swap adds what the object says and what the background says: the lift in logits is the same for every "
            "object of a class, and says nothing of how the two work together. In points it is smaller for objects "
            "that are sure already."
        )
    notes.append(
        "Backgrounds are vectors that the classifier learned, not photographs: where its background attention takes in "
        "a part of the object, the background alone rightly looks like the class. A companion that is in every "
        "photograph, or in none, cannot be compared."
    )
    return tuple(notes)


def _pictures(record: dict[str, Any], folder: Path, data: Dataset) -> list[tuple[str, float, PictureRow]]:
    """Photographs whose background alone is most taken for their class: (class, score, row), highest first."""
    wanted = [(entry["class"], one) for entry in record["classes"] for one in entry.get("examples", [])]
    wanted.sort(key=lambda item: -item[1]["alone"])
    places = {name: index for index, name in enumerate(data.names)}
    found = []
    for name, example in wanted[:PICTURES]:
        sample = data[places[example["image"]]]
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
    alt = "Photographs whose background alone is most taken for their class, each beside its seeds"
    return [Plot("examples", contact_sheet(rows), alt)]


def _page(
    tables: Sequence[Table],
    sentences: Sequence[Line],
    limits: Sequence[str],
    pictures: Sequence[tuple[str, float, PictureRow]],
) -> str:
    words = "The strongest companion of each class, those that lift its score most first."
    sections = [Section("In short", words, tuple(sentences))]
    if pictures:
        words = "Photographs whose background alone, without the object, is most taken for their class."
        sections.append(Section("Examples", words, pictures=tuple(row for _, _, row in pictures)))
    sections += [
        Section(table.title, _bare(table.explain), first=table.columns[0], table=_page_table(table))
        for table in tables
        if table.rows
    ]
    sections.append(Section("What cannot be known", lines=tuple(Line(PLAIN, _bare(text)) for text in limits)))
    return render_sheet(Sheet(TITLE, "Which surroundings and other tags a class's score comes from.", tuple(sections)))


def _page_table(table: Table) -> PageTable:
    """The same table for the page, which escapes by itself."""
    rows = tuple(Row(line[0], tuple(map(Cell, line[1:]))) for line in table.rows)
    return PageTable(table.columns[1:], rows)


def _escaped(table: Table) -> Table:
    """The same table for Markdown: names are the user's."""
    users = [index for index, column in enumerate(table.columns) if column in ("class", "companion")]
    rows = tuple(tuple(literal(text) if at in users else text for at, text in enumerate(line)) for line in table.rows)
    return replace(table, rows=rows)


def _bare(text: str) -> str:
    return text.replace("*", "").replace("`", "")
