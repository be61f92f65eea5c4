"""Fig. 4 of DEFT: the object and background vectors of images on a plane, by class and by kind.

The figure is to be looked at; what it is meant to show is measured beside it. If the vectors are disentangled, object
vectors of one class lie together, background vectors do not lie by the class of their photograph, and the two kinds
lie apart. The paper prints no figure for any of the three; the silhouette is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import write_json
from deft.contracts import Dataset, InputError
from deft.report.plots import scatter_chart
from deft.report.tsne import check_installed, plane, silhouette
from deft.studies.outcome import Outcome, Plot, Table, cell, finite
from deft.studies.probe import spread
from deft.studies.rows import Finding, Row, system_rows
from deft.studies.runner import StudyRunner
from deft.studies.vectors import Vectors, has_two_vectors, read_vectors

RECORD = "manifold.json"
SYSTEMS = ("irn_deft",)
KINDS = ("object", "background")
MEASURES = {
    "objects by class": "object vectors by the class of their photograph: higher is better",
    "backgrounds by class": "background vectors likewise: near 0 or below says that they hold no class",
    "objects and backgrounds": "the two kinds: higher is further apart",
}


@dataclass(frozen=True)
class Looking:
    """What is put on the plane."""

    images: int = 300
    """Training images, at most; spread over the data."""
    single_tag: bool = True
    """Only images of one tag; otherwise an image counts for its first one."""
    perplexity: float = 30.0
    """Of t-SNE: about how many neighbours each vector keeps."""


def choose_images(data: Dataset, looking: Looking) -> list[int]:
    """Images to look at.

    Raises:
        InputError: fewer than 4 are left.
    """
    tags = data.labels.sum(axis=1)
    fit = np.flatnonzero(tags == 1 if looking.single_tag else tags > 0)
    if len(fit) < 4:
        kind = "exactly one tag" if looking.single_tag else "a tag"
        raise InputError(f"expected at least 4 training images with {kind}, found {len(fit)}; tag more images")
    return spread(fit, looking.images)


def place(vectors: Vectors, data: Dataset, looking: Looking, seed: int) -> dict[str, Any]:
    """The record of one run: places on the plane, classes, and silhouettes in the vectors' own space and on it."""
    both = np.concatenate([vectors.z_fg.numpy(), vectors.z_bg.numpy()]).astype(np.float32)
    points = plane(both, looking.perplexity, seed)
    classes = [int(data.labels[index].argmax()) for index in vectors.indices]
    return {
        "names": [data.names[index] for index in vectors.indices],
        "classes": [data.classes[k] for k in classes],
        "objects": points[: len(classes)].tolist(),
        "backgrounds": points[len(classes) :].tolist(),
        "silhouette": _silhouettes(both, classes),
        "silhouette on the plane": _silhouettes(points, classes),
    }


def _silhouettes(both: NDArray[np.float32], classes: Sequence[int]) -> dict[str, float]:
    count = len(classes)
    kinds = [0] * count + [1] * count
    values = (silhouette(both[:count], classes), silhouette(both[count:], classes), silhouette(both, kinds))
    return dict(zip(MEASURES, values, strict=True))


def manifold(runner: StudyRunner, looking: Looking | None = None) -> Outcome:
    """Train classifiers with DEFT's head, no further than their seeds, and look at their vectors."""
    check_installed()
    looking = looking or Looking()
    rows = runner.choose([row for row in system_rows() if has_two_vectors(row.pipeline)], SYSTEMS)
    rows = [replace(row, pipeline=replace(row.pipeline, refine=None, segment=None)) for row in rows]
    data = runner.splits.train
    indices = choose_images(data, looking)

    def work(row: Row, seed: int) -> None:
        with runner.run(row.name, row.pipeline, seed) as run:
            vectors = read_vectors(run.trained_classifier(), data, indices)
            write_json(run.out.path / RECORD, finite(place(vectors, data, looking, seed)))

    def compose(findings: list[Finding]) -> Outcome:
        return _compose(findings, data, looking)

    return runner.survey(rows, work, compose, RECORD)


def _compose(findings: Sequence[Finding], data: Dataset, looking: Looking) -> Outcome:
    labels = list(dict.fromkeys(each.row.label for each in findings))
    runs = {label: [each for each in findings if each.row.label == label and each.value] for label in labels}
    tables, plots = [], []
    for key, title in (
        ("silhouette", "Silhouettes of the vectors"),
        ("silhouette on the plane", "Silhouettes on the plane"),
    ):
        rows = tuple(
            (label, str(len(known)), *(cell([run.value[key][name] for run in known], 1.0, 3) for name in MEASURES))
            for label, known in runs.items()
            if known
        )
        explain = "From −1 to 1, mean ± standard deviation over seeds. " + "; ".join(
            f"*{name}*: {words}" for name, words in MEASURES.items()
        )
        tables.append(Table(title, ("system", "runs", *MEASURES), rows, explain + "."))
    for label, known in runs.items():
        if known:
            plots += _plots(label, known[0].value, known[0].seed, data)
    tags = "one tag" if looking.single_tag else "their first tag"
    return Outcome(
        "manifold",
        "Object and background vectors on a plane (Fig. 4)",
        tuple(table for table in tables if table.rows),
        tuple(plots),
        notes=(
            f"t-SNE of both vectors of training images with {tags}, objects and backgrounds of a run on one plane. "
            "Distances between far groups mean nothing there: the silhouettes are of the vectors themselves.",
        ),
        values={label: {str(run.seed): run.value for run in known} for label, known in runs.items()},
    )


def _plots(label: str, record: dict[str, Any], seed: int, data: Dataset) -> list[Plot]:
    points = np.array(record["objects"] + record["backgrounds"], dtype=np.float32)
    classes = [data.classes.index(name) for name in record["classes"]]
    count = len(classes)
    kinds = [0] * count + [1] * count
    rings = np.arange(2 * count) >= count
    where = f"of {label}, seed {seed}, on a plane (t-SNE)"
    return [
        Plot(
            f"{label}-classes",
            scatter_chart(points, classes * 2, data.classes, rings),
            f"Object vectors (dots) and background vectors (rings) {where}, coloured by class",
        ),
        Plot(
            f"{label}-kinds",
            scatter_chart(points, kinds, KINDS),
            f"Object and background vectors {where}, coloured by kind",
        ),
    ]
