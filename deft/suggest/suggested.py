"""Images of a run to correct next, each with a reason: the list behind ``deft suggest`` and the review page's order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import RunFolder
from deft.artifacts.review import REJECTED, Review, Reviewed
from deft.contracts import Dataset, InputError
from deft.engine.corrections import is_held_out
from deft.evaluate.stored import RECORD, read_scores
from deft.guards.opening import exists
from deft.runner.recorded import read_record
from deft.stages.context import Run
from deft.suggest.measured import Measured, measured
from deft.suggest.order import Gain, errors, greedy
from deft.suggest.scenes import Scene, unusual, wanted
from deft.suggest.words import Facts, reason

TO_SCORE = "to be scored on: it is held out and teaches nothing"
"""Reason of an image that would be held out."""
DOUBTFUL = 1.25
"""Factor on the gain of an image with a doubtful tag, which can be corrected at the same time."""


@dataclass(frozen=True)
class Suggestion:
    """An image to be corrected."""

    name: str
    score: float
    """Gain relative to the first suggestion's, in [0, 1]."""
    reason: str
    parts: Mapping[str, float]
    """``disagreement`` of pseudo-mask and network, and ``margin``, the share close to the threshold, shares of the
    image; ``typical``, the classifier's probability of its tags; ``scene``, 1 over the number of images of its unusual
    scene, or 0; ``rarity``, 1 over the number of images of its main class. All in [0, 1]."""


def suggested(folder: Path, number: int | None = None, data: str | None = None) -> list[Suggestion]:
    """Training images that nobody has reviewed yet, the one whose correction helps most first.

    An image is worth more if much of its pseudo-mask is likely wrong, if its classes are rare or scored badly, if it
    shows them outside their usual scene, and if the classifier recognises it; and less the more images of its classes
    have been reviewed or stand before it in the list.

    Args:
        folder: a run with pseudo-masks; its segmentation network is used if there is one. What is measured is kept in
            its review.
        number: of suggestions; None ranks all.
        data: as for :func:`deft.runner.recorded.reopen`.

    Raises:
        InputError: the folder holds no run with pseudo-masks, or its data cannot be used.
    """
    return advised(folder, number, data)[0]


def advised(folder: Path, number: int | None = None, data: str | None = None) -> tuple[list[Suggestion], list[str]]:
    """:func:`suggested`, and what to photograph; arguments and errors are the same."""
    if number is not None and number < 1:
        raise InputError(f"expected a number of suggestions of at least 1, got {number}")
    pipeline, splits, _ = read_record(folder, data)
    run = Run(pipeline, splits, RunFolder(folder, {}, own=False))
    review = Review(folder, run.train.classes).read()
    share = pipeline.corrections.held_out
    return ranked(run.train, measured(run), review, _doubtful(folder), number, share), wanted(run.train)


def ranked(
    data: Dataset,
    found: Measured,
    review: Mapping[str, Reviewed],
    doubtful: Mapping[str, tuple[str, bool]],
    number: int | None = None,
    held_out: float = 0.0,
) -> list[Suggestion]:
    """Suggestions from measurements.

    Images that would be held out teach nothing: they stand among the others in the share that is held out, in an order
    that follows from their names alone, so that they are a fair sample to be scored on.

    Args:
        data: the training images.
        found: of each of them.
        review: of those that somebody has looked at, by name.
        doubtful: class and presence of an image's most doubtful tag, by name.
        number: of suggestions; None ranks all.
        held_out: share of the images that would be held out.
    """
    scenes = unusual(data)
    gain = Gain(errors(found.wrong, found.area), _numbers(scenes, len(data)), _factors(data, found, doubtful))
    candidates: list[int] = []
    apart: list[int] = []
    for index, name in enumerate(data.names):
        teaches = not is_held_out(name, held_out)
        if name not in review:
            (candidates if teaches else apart).append(index)
        elif teaches and review[name].state != REJECTED:
            gain.add(index)
    reviewed = gain.covered.copy()
    order = greedy(gain, candidates, len(candidates) if number is None else number)
    apart.sort(key=lambda index: sha256(data.names[index].encode("utf-8", "surrogateescape")).digest())
    gain.covered, best = reviewed, max((value for _, value in order), default=0.0)
    totals = data.labels.sum(axis=0)
    suggestions = []
    for index, value in _mixed(order, apart, held_out, len(data) if number is None else number):
        by_class = gain.by_class(index)
        main = int(by_class.argmax())
        images = int(totals[main - 1]) if main else len(data)
        scene = scenes.get(index)
        facts = Facts(
            disagree=float(found.disagree[index]),
            close=float(found.close[index]),
            main=data.classes[main - 1] if main else "background",
            main_images=images,
            first=gain.covered[main] == 0,
            doubtful=doubtful.get(data.names[index]),
            scene=scene,
            untagged=_untagged(data, found.seen[index], index),
        )
        parts = {
            "disagreement": round(facts.disagree, 4),
            "margin": round(facts.close, 4),
            "typical": round(float(found.typical[index]), 4),
            "scene": 0.0 if scene is None else round(1 / scene.count, 4),
            "rarity": round(1 / max(1, images), 4),
        }
        share = round(value / best, 4) if best > 0 else 0.0
        held = is_held_out(data.names[index], held_out)
        suggestions.append(Suggestion(data.names[index], share, TO_SCORE if held else reason(facts), parts))
        if not held:
            gain.covered += gain.unit[index]
    return suggestions


def _mixed(order: list[tuple[int, float]], apart: list[int], share: float, number: int) -> list[tuple[int, float]]:
    """Images that teach and images to score on, in the share of the latter; each with the gain of those around it."""
    found: list[tuple[int, float]] = []
    teaching, scoring, value = iter(order), iter(apart), 0.0
    while len(found) < number:
        due = int(share * (len(found) + 1)) > int(share * len(found))
        index = next(scoring, None) if due else None
        if index is None:
            chosen = next(teaching, None)
            if chosen is None:
                break
            value = chosen[1]
            found.append(chosen)
        else:
            found.append((index, value))
    return found + [(index, value) for index in scoring][: number - len(found)]


def _untagged(data: Dataset, seen: NDArray[np.float32], index: int) -> tuple[str, float]:
    """The largest class that the network sees and that is no tag, and its share."""
    others = np.where(data.labels[index], 0, seen[1:])
    k = int(others.argmax())
    return data.classes[k], float(others[k])


def _numbers(scenes: Mapping[int, Scene], count: int) -> NDArray[np.intp]:
    """Number of each image's scene, -1 for none, (N,)."""
    known: dict[Scene, int] = {}
    found = np.full(count, -1, dtype=np.intp)
    for index, scene in scenes.items():
        found[index] = known.setdefault(scene, len(known))
    return found


def _factors(data: Dataset, found: Measured, doubtful: Mapping[str, tuple[str, bool]]) -> NDArray[np.float64]:
    """What each image's gain is multiplied by, (N,)."""
    factors = 0.5 + 0.5 * found.typical.astype(np.float64)
    for index, name in enumerate(data.names):
        if name in doubtful:
            factors[index] *= DOUBTFUL
    return factors


def _doubtful(folder: Path) -> dict[str, tuple[str, bool]]:
    """The most doubtful tag of each image, as far as the run has scores."""
    if not exists(folder / RECORD):
        return {}
    try:
        tags = read_scores(folder).get("doubtful", {}).get("tags", [])
    except InputError:  # whoever repeats the run is told; suggestions do without
        return {}
    found: dict[str, tuple[str, bool]] = {}
    for tag in tags:
        found.setdefault(tag["image"], (tag["class"], tag["given"]))
    return found
