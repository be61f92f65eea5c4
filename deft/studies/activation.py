"""Fig. 1 of DEFT: how the activation on objects and on their ground goes, iteration by iteration.

While a classifier learns it is shown a fixed set of training images that have masks, and what enters the last batch
norm of its backbone is averaged over objects (AFA) and over ground (ABA), :mod:`deft.metrics.activation`. The paper
reads the figure as one curve following the other: a classifier that learns an object by its scene raises both. Their
correlation over the iterations says how closely.

The paper does not say whose objects it counts, nor whether the activation, which is signed there, is rectified. All
are measured at once: any class, each class, and each pair of class and context, signed and rectified.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deft.artifacts import read_json, write_json
from deft.backbone import Backbone
from deft.contracts import Dataset, InputError
from deft.metrics.activation import pearson
from deft.metrics.cooccurrence import class_by_context
from deft.report.plots import Band, band_chart
from deft.studies.outcome import Outcome, Plot, Table, cell, finite
from deft.studies.probe import READINGS, Audience, Group, Watching
from deft.studies.rows import Finding, Row, system_rows
from deft.studies.runner import StudyRunner
from deft.studies.words import literal

SYSTEMS = ("cam", "irn_deft")
RECORD = "activation.json"


def watch(audience: Audience, path: Path, steps: int) -> Callable[[int, nn.Module], None]:
    """Looks at a classifier as it learns, for :func:`deft.engine.fit.fit`.

    Args:
        audience: the images.
        path: where the curve is kept, point by point, so that a kill costs none that a checkpoint has passed.
        steps: of the whole training.
    """
    wanted = moments(steps, audience.watching.points)

    def look(done: int, network: nn.Module) -> None:
        if done not in wanted:
            return
        known = read_json(path) if path.exists() else {}
        backbone = network.get_submodule("backbone")
        assert isinstance(backbone, Backbone)
        known[str(done)] = finite(audience.measure(backbone))
        write_json(path, known)

    return look


def moments(steps: int, points: int) -> set[int]:
    """Numbers of steps done at which to look, the first 0 and the last ``steps``."""
    return {int(step) for step in np.linspace(0, steps, max(2, points)).round()}


def activation(runner: StudyRunner, watching: Watching | None = None) -> Outcome:
    """Train each system's classifier anew, watched; nothing but its seeds is made behind it."""
    watching = watching or Watching()
    rows = runner.choose([row for row in system_rows() if row.pipeline.classifier], SYSTEMS)
    rows = [_only_watched(row) for row in rows]
    data = runner.splits.train
    audience = Audience(data, watching)

    def work(row: Row, seed: int) -> None:
        folder = runner.folder(row.name, row.pipeline, seed)
        steps = row.pipeline.own_classifier.loader_plan.steps(len(data))
        path = folder / "classifier" / RECORD
        with runner.run(row.name, row.pipeline, seed, watch=watch(audience, path, steps)):
            curve = read_json(path) if path.exists() else {}
            if {int(step) for step in curve} != moments(steps, watching.points):
                raise InputError(f"{folder}: its classifier was not watched all the way; remove the folder and go on")
            write_json(folder / RECORD, {"groups": [group.name(data) for group in audience.groups], "curve": curve})

    def compose(findings: list[Finding]) -> Outcome:
        return _compose(findings, audience)

    return runner.survey(rows, work, compose, RECORD)


def _only_watched(row: Row) -> Row:
    return replace(row, name=f"{row.name}-watched", pipeline=replace(row.pipeline, refine=None, segment=None))


@dataclass(frozen=True, eq=False)
class _Curves:
    """AFA and ABA of one row over seeds."""

    label: str
    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    values: dict[str, NDArray[np.float64]]
    """By reading: (seeds, groups, 2, steps); nan where unknown."""

    def correlation(self, reading: str, group: int) -> list[float]:
        """Of AFA and ABA over the steps, a seed each."""
        return [pearson(afa.tolist(), aba.tolist()) for afa, aba in self.values[reading][:, group]]


def _curves(findings: Sequence[Finding]) -> list[_Curves]:
    found = []
    for label in dict.fromkeys(each.row.label for each in findings):
        runs = [each for each in findings if each.row.label == label and each.value is not None]
        if not runs:
            continue
        steps = sorted(int(step) for step in runs[0].value["curve"])
        values = {
            reading: np.array([_one(run.value["curve"], steps, reading) for run in runs], dtype=np.float64)
            for reading in READINGS
        }
        found.append(_Curves(label, tuple(run.seed for run in runs), tuple(steps), values))
    return found


def _one(curve: dict[str, Any], steps: Sequence[int], reading: str) -> NDArray[np.float64]:
    """(groups, 2, steps)."""
    return np.array([curve[str(step)][reading] for step in steps], dtype=np.float64).transpose(1, 2, 0)


def _compose(findings: Sequence[Finding], audience: Audience) -> Outcome:
    data, groups = audience.data, audience.groups
    found = _curves(findings)
    shown = [0, *_usual_pairs(audience)]
    tables = [
        _table("Any object, and the pairs a class is most often seen in", found, groups, data, shown, READINGS),
        _table(
            "Class by class, and every pair",
            found,
            groups,
            data,
            [i for i, g in enumerate(groups) if g.target is not None],
            READINGS[:1],
        ),
    ]
    plots = []
    for index in shown[:2]:
        title = groups[index].name(data)
        bands = {
            each.label: [
                _band(name, each.steps, each.values["signed"][:, index, part])
                for part, name in enumerate(("AFA", "ABA"))
            ]
            for each in found
        }
        if bands:
            alt = (
                f"Mean activation on objects (AFA) and on ground (ABA) against the step, {title}, of {', '.join(bands)}"
            )
            name = "curves" if index == 0 else "pair"
            plots.append(Plot(name, band_chart(bands, "step", f"activation, {title}"), alt))
    return Outcome(
        "activation",
        "Activation of objects and of their ground as a classifier learns (Fig. 1)",
        tuple(table for table in tables if table.rows),
        tuple(plots),
        notes=_notes(audience),
        values={
            each.label: {
                "seeds": list(each.seeds),
                "steps": list(each.steps),
                "groups": [group.name(data) for group in groups],
                **{
                    reading: {
                        "afa": values[:, :, 0].tolist(),
                        "aba": values[:, :, 1].tolist(),
                        "correlation": [each.correlation(reading, index) for index in range(len(groups))],
                    }
                    for reading, values in each.values.items()
                },
            }
            for each in found
        },
    )


def _usual_pairs(audience: Audience, most: int = 6) -> list[int]:
    """Places of the pairs that a class makes likeliest, strongest first."""
    data = audience.data
    if data.context_labels is None or not data.contexts:
        return []
    usual = class_by_context(data.labels, data.context_labels, data.classes, data.contexts).strongest()
    places = {(group.target, group.ground): index for index, group in enumerate(audience.groups)}
    return [places[k, j] for k, j, _ in usual if (k, j) in places][:most]


def _table(
    title: str,
    found: Sequence[_Curves],
    groups: Sequence[Group],
    data: Dataset,
    shown: Sequence[int],
    readings: Sequence[str],
) -> Table:
    rows = []
    for index in shown:
        for each in found:
            numbers = []
            for reading in readings:
                last = each.values[reading][:, index, :, -1]
                numbers += [cell(last[:, part].tolist(), 1.0, 4) for part in range(2)]
                numbers.append(cell(each.correlation(reading, index), 1.0, 2))
            rows.append((literal(groups[index].name(data)), each.label, str(len(each.seeds)), *numbers))
    heads = tuple(f"{what}, {reading}" for reading in readings for what in ("AFA", "ABA", "correlation"))
    return Table(title, ("objects", "system", "runs", *heads), tuple(rows), "AFA and ABA after the last step.")


def _band(name: str, steps: Sequence[int], values: NDArray[np.float64]) -> Band:
    """Mean and deviation over seeds, (seeds, steps)."""
    known = values[~np.isnan(values).all(axis=1)]
    if not len(known):
        return Band(name, steps, [math.nan] * len(steps), [math.nan] * len(steps))
    spread = known.std(axis=0, ddof=1) if len(known) > 1 else np.full(len(steps), math.nan)
    return Band(name, steps, known.mean(axis=0).tolist(), spread.tolist())


def _notes(audience: Audience) -> tuple[str, ...]:
    data = audience.data
    notes = [
        f"The same {len(audience.indices)} training images with masks at every look. AFA and ABA are means over "
        "channels of what enters the backbone's last batch norm, then over the region, then over images. *Signed* is "
        "what is there, *rectified* counts negative values as 0; the paper does not say which it draws.",
        "The correlation is Pearson's, between AFA and ABA over the steps of one run; mean ± standard deviation over "
        "seeds. 1 says that the ground lights up and dims with the object.",
    ]
    if data.context_labels is None or not data.contexts:
        notes.append("The data name no contexts, so no pair of class and context can be followed.")
    elif not any(data[index].context is not None for index in audience.indices[:5]):
        notes.append("There are no context masks: in a pair ABA is over the whole background of the pair's images.")
    return tuple(notes)
