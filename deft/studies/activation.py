"""Fig. 1 of DEFT: average activation on objects and on their background during training.

At evenly spaced training steps, the activations that enter the last batch norm of the classifier's backbone are
averaged over the objects (AFA) and over the background (ABA) of a fixed set of training images with masks, see
:mod:`deft.metrics.activation`. The paper concludes from the figure that one curve follows the other: a classifier that
recognises an object by its scene raises both. Their correlation over the training steps measures how closely.

The paper does not say which classes it averages, nor whether the activation, which is signed at that place, is
rectified. All readings are measured: all classes together, each class, and each pair of class and context, signed and
rectified.
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
from deft.data.spread import spread
from deft.guards.opening import exists
from deft.metrics.activation import pearson
from deft.metrics.cooccurrence import class_by_context
from deft.report.plots import Band, band_chart
from deft.stages.truth import usable_truth
from deft.studies.markdown import escape_markdown
from deft.studies.outcome import Outcome, Plot, Table, cell, finite
from deft.studies.probe import READINGS, ActivationProbe, Group, ProbeSettings
from deft.studies.rows import Finding, Row, system_rows
from deft.studies.runner import StudyRunner

SYSTEMS = ("cam", "irn_deft")
RECORD = "activation.json"


def probe_watch(probe: ActivationProbe, path: Path, steps: int) -> Callable[[int, nn.Module], None]:
    """A callback for :func:`deft.engine.fit.fit` that measures the classifier while it is trained.

    Args:
        probe: the images to measure on.
        path: file of the measurements; written after each, so that an interrupted training loses none of them.
        steps: number of steps of the whole training.
    """
    wanted = probe_steps(steps, probe.settings.points)

    def watch(done: int, network: nn.Module) -> None:
        if done not in wanted:
            return
        known = read_json(path) if exists(path) else {}
        backbone = network.get_submodule("backbone")
        assert isinstance(backbone, Backbone)
        known[str(done)] = finite(probe.measure(backbone))
        write_json(path, known)

    return watch


def probe_steps(steps: int, points: int) -> set[int]:
    """Numbers of completed steps at which to measure, from 0 to ``steps``."""
    return set(spread(range(steps + 1), max(2, points)))


def activation(runner: StudyRunner, settings: ProbeSettings | None = None) -> Outcome:
    """Train each system's classifier while measuring its activation; of the later stages only seeds are made.

    Raises:
        InputError: no training image has a mask, or a backbone has no batch norm.
    """
    settings = settings or ProbeSettings()
    rows = runner.choose([row for row in system_rows(systems=runner.systems) if row.pipeline.classifier], SYSTEMS)
    rows = [_watched(row) for row in rows]
    data = runner.splits.train
    probe = ActivationProbe(data, settings)

    def work(row: Row, seed: int) -> None:
        folder = runner.folder(row.name, row.pipeline, seed)
        steps = row.pipeline.own_classifier.loader_plan.steps(len(data))
        path = folder / "classifier" / RECORD
        with runner.run(row.name, row.pipeline, seed, watch=probe_watch(probe, path, steps)):
            curve = read_json(path) if exists(path) else {}
            wanted = probe_steps(steps, settings.points)
            if {int(step) for step in curve} != wanted:
                raise InputError(
                    f"{folder}: expected measurements of its classifier at {len(wanted)} training steps, got "
                    f"{len(curve)} at fewer or other steps; remove the folder and run the command again"
                )
            write_json(folder / RECORD, {"groups": [group.name(data) for group in probe.groups], "curve": curve})

    def compose(findings: list[Finding]) -> Outcome:
        return _compose(findings, probe)

    return runner.survey(rows, work, compose, RECORD)


def _watched(row: Row) -> Row:
    """The row up to its seeds, under a run folder of its own."""
    return replace(row, name=f"{row.name}-watched", pipeline=replace(row.pipeline, refine=None, segment=None))


@dataclass(frozen=True, eq=False)
class _Curves:
    """AFA and ABA of one row, for each seed and training step."""

    label: str
    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    values: dict[str, NDArray[np.float64]]
    """For each reading AFA and ABA, (seeds, groups, 2, steps); nan if unknown."""

    def correlation(self, reading: str, group: int) -> list[float]:
        """Pearson's correlation of AFA and ABA over the steps, for each seed."""
        return [pearson(afa.tolist(), aba.tolist()) for afa, aba in self.values[reading][:, group]]


def _curves(findings: Sequence[Finding]) -> list[_Curves]:
    found = []
    for label in dict.fromkeys(each.row.label for each in findings):
        runs = [each for each in findings if each.row.label == label and each.value is not None]
        if not runs:
            continue
        steps = sorted(int(step) for step in runs[0].value["curve"])
        values = {
            reading: np.array([_values(run.value["curve"], steps, reading) for run in runs], dtype=np.float64)
            for reading in READINGS
        }
        found.append(_Curves(label, tuple(run.seed for run in runs), tuple(steps), values))
    return found


def _values(curve: dict[str, Any], steps: Sequence[int], reading: str) -> NDArray[np.float64]:
    """AFA and ABA of one run, (groups, 2, steps)."""
    return np.array([curve[str(step)][reading] for step in steps], dtype=np.float64).transpose(1, 2, 0)


def _compose(findings: Sequence[Finding], probe: ActivationProbe) -> Outcome:
    data, groups = probe.data, probe.groups
    found = _curves(findings)
    shown = [0, *_usual_pairs(probe)]
    tables = [
        _table("All objects, and each class with its usual context", found, groups, data, shown, READINGS),
        _table(
            "Each class, and each pair of class and context",
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
                "Mean activation on objects (AFA) and on the background (ABA) against the training step, "
                f"{title}, for {', '.join(bands)}"
            )
            name = "curves" if index == 0 else "pair"
            plots.append(Plot(name, band_chart(bands, "training step", f"activation, {title}"), alt))
    return Outcome(
        "activation",
        "Activation on objects and on their background during training (Fig. 1)",
        tuple(table for table in tables if table.rows),
        tuple(plots),
        notes=_notes(probe),
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


def _usual_pairs(probe: ActivationProbe, most: int = 6) -> list[int]:
    """Indices of the groups of each class with its usual context, highest co-occurrence above chance first."""
    data = probe.data
    if data.context_labels is None or not data.contexts:
        return []
    usual = class_by_context(data.labels, data.context_labels, data.classes, data.contexts).strongest()
    places = {(group.target, group.context): index for index, group in enumerate(probe.groups)}
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
            rows.append((escape_markdown(groups[index].name(data)), each.label, str(len(each.seeds)), *numbers))
    heads = tuple(f"{what}, {reading}" for reading in readings for what in ("AFA", "ABA", "correlation"))
    return Table(title, ("objects", "system", "runs", *heads), tuple(rows), "AFA and ABA after the last step.")


def _band(name: str, steps: Sequence[int], values: NDArray[np.float64]) -> Band:
    """Mean and standard deviation over seeds of values (seeds, steps)."""
    known = values[~np.isnan(values).all(axis=1)]
    if not len(known):
        return Band(name, steps, [math.nan] * len(steps), [math.nan] * len(steps))
    spread = known.std(axis=0, ddof=1) if len(known) > 1 else np.full(len(steps), math.nan)
    return Band(name, steps, known.mean(axis=0).tolist(), spread.tolist())


def _notes(probe: ActivationProbe) -> tuple[str, ...]:
    data = probe.data
    notes = [
        f"All measurements use the same {len(probe.indices)} training images with masks. The input of the backbone's "
        "last batch norm is averaged over channels, then over the objects (AFA) or the background (ABA) of each image, "
        "then over images. *Signed* takes these activations as they are, *rectified* sets negative values to 0; the "
        "paper does not say which it plots.",
        "The correlation is Pearson's, between AFA and ABA over the training steps of one run; mean ± standard "
        "deviation over random seeds. At 1, the activation of the background rises and falls with that of the object.",
    ]
    if data.context_labels is None or not data.contexts:
        notes.append("The dataset has no context labels, so no pair of class and context is measured.")
    elif not any(usable_truth(data)[index].context is not None for index in probe.indices[:5]):
        notes.append("There are no context masks: for a pair, ABA is over the whole background of the pair's images.")
    return tuple(notes)
