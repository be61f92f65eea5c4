"""What is known of a finished run that whoever uses its networks should know, from the files of its folder.

Nothing here needs the data: the tags of the images are in ``images.json``, and what classes lean on is in ``bias.json``
if the run belongs to ``deft study bias``. Contexts are known only to the data, which is opened if it can be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import read_json
from deft.artifacts.photographs import RECORD as IMAGES
from deft.artifacts.record import run_record
from deft.contracts import Dataset, InputError, Splits
from deft.evaluate.compare import at, number
from deft.guards.opening import exists
from deft.metrics import Cooccurrence, class_by_class, class_by_context
from deft.report.data import HOW
from deft.runner.recorded import open_data_of
from deft.studies.bias import RECORD as BIAS


@dataclass(frozen=True)
class Measured:
    """One score of a run."""

    what: str
    """What was scored, with its threshold and how that was chosen."""
    truth: str
    """The masks or tags that it was compared with, and how many."""
    measure: str
    value: float
    """In [0, 1]."""
    per_class: tuple[float, ...] = ()
    """Background first for mIoU, (K + 1,); (K,) for mAP."""


@dataclass(frozen=True)
class Companion:
    """What a class occurs with, or leans on."""

    name: str
    """The class."""
    with_what: str
    evidence: str
    """In words, with numbers."""


@dataclass(frozen=True)
class RunFacts:
    """Everything that :mod:`deft.deploy.card` tells."""

    record: Mapping[str, Any]
    """``run.json``."""
    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    """Number of images tagged with each class, (K,), by split; empty if the run does not know."""
    scores: tuple[Measured, ...]
    groups: Mapping[str, tuple[int, float, str]]
    """Parts of the held-out images: number of images, score and measure."""
    companions: tuple[Companion, ...]
    leaning: tuple[Companion, ...]


def facts_of(run: Path, data: str | None = None) -> RunFacts:
    """The facts of a run.

    Args:
        run: its folder.
        data: ``KIND:PATH`` of its data; None takes the one in its record, unless that is a Python file.

    Raises:
        InputError: the folder holds no run, or a file in it is damaged, or ``data`` is given and cannot be used.
    """
    record = run_record(run)
    classes = tuple(record["data"]["classes"])
    scores = _content(run / "scores.json")
    labels = _labels(_content(run / IMAGES), classes)
    splits = _splits(run, record, data)
    if not labels and splits is not None:
        labels = {"train": splits.train.labels} | ({} if splits.val is None else {"val": splits.val.labels})
    table = None if splits is None else _contexts(splits.train)
    if table is None and "train" in labels:
        table = class_by_class(labels["train"], classes)
    try:
        return RunFacts(
            record=record,
            classes=classes,
            counts={part: tuple(int(count) for count in found.sum(axis=0)) for part, found in labels.items()},
            scores=tuple(_scores(scores)),
            groups=dict(_groups(scores)),
            companions=() if table is None else tuple(_companions(table)),
            leaning=tuple(_leaning(_content(run / BIAS))),
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"{run}: scores.json or {BIAS} cannot be used ({type(error).__name__}: {error}); repeat the command that "
            "made it"
        ) from None


def _content(path: Path) -> dict[str, Any]:
    content = read_json(path) if exists(path) else {}
    return content if isinstance(content, dict) else {}


def _labels(images: Mapping[str, Any], classes: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Multi-hot labels (N, K) of each split."""
    found: dict[str, NDArray[np.bool_]] = {}
    for part in ("train", "val"):
        entries = at(images, part, "images")
        if not isinstance(entries, dict) or at(images, part, "classes") != list(classes):
            continue
        labels = np.zeros((len(entries), len(classes)), dtype=np.bool_)
        try:
            for row, (_, tags) in enumerate(entries.values()):
                labels[row, tags] = True
        except (TypeError, ValueError, IndexError):
            continue
        found[part] = labels
    return found


def _splits(run: Path, record: Mapping[str, Any], data: str | None) -> Splits | None:
    """The data of a run; None if it is not here, unless it was named."""
    try:
        return open_data_of(run, record, data)
    except InputError:
        if data is not None:
            raise
        return None


def _contexts(train: Dataset) -> Cooccurrence | None:
    """Co-occurrence of classes with contexts; None for data without contexts."""
    if not train.contexts or train.context_labels is None:
        return None
    return class_by_context(train.labels, train.context_labels, train.classes, train.contexts)


def _scores(scores: Mapping[str, Any]) -> list[Measured]:
    found: list[Measured] = []

    def add(what: str, truth: str, part: Any, measure: str = "mIoU") -> None:
        value, each = (at(part, "miou"), at(part, "iou")) if measure == "mIoU" else (at(part, "map"), at(part, "ap"))
        if value is not None:
            how = HOW.get(str(at(part, "chosen")), "")
            title = f"{what}, {how.format(float(part['threshold']))}" if how and "threshold" in part else what
            found.append(Measured(title, truth, measure, float(value), tuple(map(number, each or ()))))

    held, trained = at(scores, "val", "segmentation", "images"), at(scores, "train", "images")
    drawn = "ground-truth masks of {}"
    on_val = drawn.format(f"{len(held)} held-out images (val)" if isinstance(held, dict) else "held-out images (val)")
    on_train = drawn.format(
        f"{len(trained)} training images (train)" if isinstance(trained, dict) else "training images (train)"
    )
    add("segmentation network", on_val, at(scores, "val", "segmentation"))
    add("seeds", drawn.format("held-out images (val)"), at(scores, "val", "seeds", "used"))
    add("pseudo-masks", on_train, at(scores, "train", "masks", "used"))
    add("seeds", on_train, at(scores, "train", "seeds", "used"))
    add("classifier", "tags of held-out images (val)", at(scores, "val", "tags"), "mAP")
    return found


def _groups(scores: Mapping[str, Any]) -> dict[str, tuple[int, float, str]]:
    groups = at(scores, "val", "groups")
    found: dict[str, tuple[int, float, str]] = {}
    for name, part in (groups if isinstance(groups, dict) else {}).items():
        for keys, measure in (
            (("segmentation", "miou"), "mIoU of the segmentation network"),
            (("seeds", "used", "miou"), "mIoU of the seeds"),
            (("map",), "mAP of the classifier"),
        ):
            if (value := at(part, *keys)) is not None:
                found[str(name)] = (int(part["count"]), float(value), measure)
                break
    return found


def _companions(table: Cooccurrence) -> list[Companion]:
    """The strongest companion of each class."""
    shown = table.share_of_images()
    return [
        Companion(
            table.rows[k],
            table.columns[j],
            f"in {100 * shown[k, j]:.0f} % of its training images, and in {100 * table.base[j]:.0f} % of all",
        )
        for k, j, _ in table.strongest()
    ]


def _leaning(bias: Mapping[str, Any]) -> list[Companion]:
    """For each class, the companion that raises its score most on images that do not show the class."""
    best: dict[str, tuple[float, Companion]] = {}
    for pair in bias.get("pairs", []):
        tempted, calm = number(pair.get("tempted")), number(pair.get("calm"))
        if math.isnan(tempted - calm) or tempted <= calm:
            continue
        name, other = str(pair["class"]), str(pair["companion"])
        told = f"mean probability of the class on images without it: {tempted:.2f} with {other}, {calm:.2f} without"
        if name not in best or tempted - calm > best[name][0]:
            best[name] = (tempted - calm, Companion(name, other, told))
    return [one for _, one in sorted(best.values(), key=lambda found: -found[0])]
