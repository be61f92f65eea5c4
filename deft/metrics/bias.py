"""Context bias: how much the score of a class changes with the background, or with what else an image shows.

Not part of any paper; the idea follows from DEFT's two vectors. An image is described by an object vector and a
background vector, and its score is computed from the pair, so that every object can be scored on every background of a
dataset without new images or masks. A *companion* of a class is a context, or another class, that its images show.
Two figures need no such pair and apply to any classifier: the difference in the score of a class between its images
with and without a companion, and its score on images of the companion alone.

Scores are probabilities in [0, 1]; effects of a swap are also given in logits. If the score is additive, as with the
paper's linear f_swap, the change in logits does not depend on the object: it depends on the class and the companion
only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NAN = math.nan


@dataclass(frozen=True)
class SwapEffect:
    """Change in the score of a class when its objects are given other backgrounds."""

    lift_logits: float
    """Mean logit on backgrounds with the companion minus that on backgrounds without it; pairs are ranked by it."""
    lift: float
    """The same difference in probability, in [-1, 1]."""
    away: float
    """For the class's images with the companion: mean probability on backgrounds without it minus that on their own
    background, in [-1, 1]; negative if the score falls without the companion."""


def swap_effect(logits: NDArray[np.float64], own: NDArray[np.intp], companion: NDArray[np.bool_]) -> SwapEffect:
    """Compare the scores of a class's objects on backgrounds with a companion and on backgrounds without it.

    Args:
        logits: logits of the class, (P, N): object p of the class on the background of image n.
        own: index of the image of each object, (P,); its own background is left out of the means.
        companion: which images show the companion, (N,).

    Returns:
        The effect; nan if there are no backgrounds of one kind, or no objects with the companion.

    Raises:
        ValueError: the shapes do not match.
    """
    if logits.shape != (len(own), len(companion)):
        raise ValueError(f"expected logits (objects, backgrounds), {len(own)} by {len(companion)}, got {logits.shape}")
    foreign = np.ones(logits.shape, dtype=np.bool_)
    foreign[np.arange(len(own)), own] = False
    there, elsewhere = foreign & companion, foreign & ~companion
    probability = sigmoid(logits)
    kept = logits[np.arange(len(own)), own], probability[np.arange(len(own)), own]
    usual = companion[own]
    away = (row_means(probability, elsewhere) - kept[1])[usual]
    return SwapEffect(
        lift_logits=mean(row_means(logits, there) - row_means(logits, elsewhere)),
        lift=mean(row_means(probability, there) - row_means(probability, elsewhere)),
        away=mean(away),
    )


@dataclass(frozen=True)
class Observed:
    """Mean probability of a class on unchanged images, by what they show; each in [0, 1]."""

    with_it: float
    """On images that show the class and the companion."""
    without_it: float
    """On images that show the class without the companion."""
    tempted: float
    """On images that show the companion without the class: the score is due to the companion or what occurs with it."""
    calm: float
    """On images that show neither."""


def observed(probability: NDArray[np.float64], tagged: NDArray[np.bool_], companion: NDArray[np.bool_]) -> Observed:
    """Mean scores of one class by what images show; nan for a kind without images.

    Args:
        probability: probability of the class, (N,).
        tagged: which images show the class, (N,).
        companion: which images show the companion, (N,).
    """
    return Observed(
        with_it=mean(probability[tagged & companion]),
        without_it=mean(probability[tagged & ~companion]),
        tempted=mean(probability[~tagged & companion]),
        calm=mean(probability[~tagged & ~companion]),
    )


def share_above(scores: NDArray[np.float64], among: NDArray[np.bool_], threshold: float = 0.5) -> float:
    """Share of the images ``among`` (N,) whose score (N,) is above a threshold; nan if there are none."""
    return mean((scores[among] > threshold).astype(np.float64))


def row_means(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean of the chosen entries of each row, (P,); nan for a row with none."""
    counts = chosen.sum(axis=1)
    sums = np.where(chosen, values, 0.0).sum(axis=1)
    means = np.full(len(values), _NAN)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def mean(values: NDArray[np.float64]) -> float:
    """Mean of the values that are not nan; nan if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else _NAN


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logistic function without overflow."""
    probability: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64)))
    return probability
