"""Fig. 4 of DEFT: a t-SNE plot of the object and background vectors of images, coloured by class and by kind.

What the plot is meant to show is also measured. If the vectors are disentangled, object vectors form clusters by class,
background vectors do not cluster by the class of their image, and the two kinds are separate. The paper reports no
number for any of the three; the silhouette coefficients are an addition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import write_json
from deft.contracts import Dataset, InputError
from deft.data.spread import spread
from deft.report.plots import scatter_chart
from deft.report.tsne import check_installed, silhouette, tsne
from deft.studies.outcome import Outcome, Plot, Table, cell, finite
from deft.studies.rows import Finding, Row, system_rows
from deft.studies.runner import StudyRunner
from deft.studies.vectors import Vectors, has_two_vectors, read_vectors

RECORD = "manifold.json"
SYSTEMS = ("irn_deft",)
KINDS = ("object", "background")
MEASURES = {
    "objects by class": "object vectors, clustered by the class of their image: higher is better",
    "backgrounds by class": "background vectors, clustered by the class of their image: near 0 or below if they carry "
    "no information on the class",
    "objects and backgrounds": "object vectors against background vectors: higher is more separate",
}
"""The silhouettes of a record, with their explanations."""


@dataclass(frozen=True)
class ManifoldSettings:
    """Settings of the study `manifold`."""

    images: int = 300
    """Maximum number of training images, evenly spaced over the dataset."""
    single_tag: bool = True
    """Whether to use images with exactly one class only; otherwise an image counts for its first class."""
    perplexity: float = 30.0
    """Perplexity of t-SNE: roughly the number of neighbours considered for each vector."""


def choose_images(data: Dataset, settings: ManifoldSettings) -> list[int]:
    """Indices of the images to plot.

    Raises:
        InputError: there are fewer than 4.
    """
    tags = data.labels.sum(axis=1)
    fit = np.flatnonzero(tags == 1 if settings.single_tag else tags > 0)
    if len(fit) < 4:
        kind = "exactly one tag" if settings.single_tag else "a tag"
        raise InputError(f"expected at least 4 training images with {kind}, got {len(fit)}; tag more images")
    return spread(fit, settings.images)


def embed(vectors: Vectors, data: Dataset, settings: ManifoldSettings, seed: int) -> dict[str, Any]:
    """The record of one run: t-SNE coordinates, classes, and silhouettes of the vectors and of the coordinates."""
    both = np.concatenate([vectors.z_fg.numpy(), vectors.z_bg.numpy()]).astype(np.float32)
    points = tsne(both, settings.perplexity, seed)
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


def manifold(runner: StudyRunner, settings: ManifoldSettings | None = None) -> Outcome:
    """Train classifiers with DEFT's head, up to their seeds, and plot their vectors.

    Raises:
        InputError: scikit-learn is not installed, or there are too few images.
    """
    check_installed()
    settings = settings or ManifoldSettings()
    rows = runner.choose([row for row in system_rows(systems=runner.systems) if has_two_vectors(row.pipeline)], SYSTEMS)
    rows = [replace(row, pipeline=replace(row.pipeline, refine=None, segment=None)) for row in rows]
    data = runner.splits.train
    indices = choose_images(data, settings)

    def work(row: Row, seed: int) -> None:
        with runner.run(row.name, row.pipeline, seed) as run:
            vectors = read_vectors(run.trained_classifier(), data, indices)
            write_json(run.out.path / RECORD, finite(embed(vectors, data, settings, seed)))

    def compose(findings: list[Finding]) -> Outcome:
        return _compose(findings, data, settings)

    return runner.survey(rows, work, compose, RECORD)


def _compose(findings: Sequence[Finding], data: Dataset, settings: ManifoldSettings) -> Outcome:
    labels = list(dict.fromkeys(each.row.label for each in findings))
    runs = {label: [each for each in findings if each.row.label == label and each.value] for label in labels}
    tables, plots = [], []
    for key, title in (
        ("silhouette", "Silhouette coefficients of the vectors"),
        ("silhouette on the plane", "Silhouette coefficients of the t-SNE coordinates"),
    ):
        rows = tuple(
            (label, str(len(known)), *(cell([run.value[key][name] for run in known], 1.0, 3) for name in MEASURES))
            for label, known in runs.items()
            if known
        )
        explain = "From −1 to 1, mean ± standard deviation over random seeds. " + "; ".join(
            f"*{name}*: {words}" for name, words in MEASURES.items()
        )
        tables.append(Table(title, ("system", "runs", *MEASURES), rows, explain + "."))
    for label, known in runs.items():
        if known:
            plots += _plots(label, known[0].value, known[0].seed, data)
    classes = "a single class" if settings.single_tag else "at least one class, by their first class"
    return Outcome(
        "manifold",
        "t-SNE of object and background vectors (Fig. 4)",
        tuple(table for table in tables if table.rows),
        tuple(plots),
        notes=(
            f"Training images with {classes}; the object and background vectors of a run are embedded together by "
            "t-SNE. Distances between distant clusters have no meaning in a t-SNE plot: judge by the silhouette "
            "coefficients of the vectors themselves.",
        ),
        values={label: {str(run.seed): run.value for run in known} for label, known in runs.items()},
    )


def _plots(label: str, record: dict[str, Any], seed: int, data: Dataset) -> list[Plot]:
    points = np.array(record["objects"] + record["backgrounds"], dtype=np.float32)
    classes = [data.classes.index(name) for name in record["classes"]]
    count = len(classes)
    kinds = [0] * count + [1] * count
    rings = np.arange(2 * count) >= count
    where = f"of {label}, seed {seed}, embedded by t-SNE"
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
