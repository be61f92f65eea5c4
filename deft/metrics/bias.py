"""How much a class leans on its company: what its score does when only the background changes.

No published code has this; the idea follows from DEFT's two vectors. An image is an object vector and a background
vector, and a score is read from the pair, so that every object can be scored on every background of the data without
a single new photograph or mask. Two figures need no such pair and serve any classifier: how the score of a class
differs between its photographs with and without a companion, and how the companion alone tempts the classifier where
the class is not.

Everything is in probability, [0, 1], and the swap also in logits. With an additive score, which the paper's linear
f_swap is, the change in logits does not depend on the object: it is a property of the class and the companion alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NAN = math.nan


@dataclass(frozen=True)
class Swap:
    """What another background does to the score of a class."""

    lift_logits: float
    """Mean logit on backgrounds with the companion minus that on backgrounds without it: the figure that ranks."""
    lift: float
    """The same in probability, in [-1, 1]."""
    away: float
    """Of the class's photographs with the companion: mean probability on backgrounds without it minus that on their
    own, in [-1, 1]; negative where the class is lost on other ground."""


def swap_effect(logits: NDArray[np.float64], own: NDArray[np.intp], companion: NDArray[np.bool_]) -> Swap:
    """Score every object of a class on the backgrounds with a companion and on those without.

    Args:
        logits: of the class, (P, N): object p of the class on the background of image n.
        own: which image each object is from, (P,); its own background is no other background.
        companion: which images show the companion, (N,).

    Returns:
        The change; nan where either kind of background, or an object with the companion, is missing.

    Raises:
        ValueError: shapes do not fit.
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
    return Swap(
        lift_logits=mean(row_means(logits, there) - row_means(logits, elsewhere)),
        lift=mean(row_means(probability, there) - row_means(probability, elsewhere)),
        away=mean(away),
    )


@dataclass(frozen=True)
class Observed:
    """How a classifier's score of a class goes with a companion, on the photographs as they are."""

    with_it: float
    """Mean probability of the class on its photographs that show the companion, in [0, 1]."""
    without_it: float
    """On its photographs that do not."""
    tempted: float
    """Mean probability of the class on photographs of the companion that do not show the class."""
    calm: float
    """On photographs that show neither."""


def observed(probability: NDArray[np.float64], tagged: NDArray[np.bool_], companion: NDArray[np.bool_]) -> Observed:
    """Scores of one class by what the photograph shows; nan where there is no such photograph.

    Args:
        probability: of the class, (N,).
        tagged: which images show the class, (N,).
        companion: which show the companion, (N,).
    """
    return Observed(
        with_it=mean(probability[tagged & companion]),
        without_it=mean(probability[tagged & ~companion]),
        tempted=mean(probability[~tagged & companion]),
        calm=mean(probability[~tagged & ~companion]),
    )


def taken_for(alone: NDArray[np.float64], among: NDArray[np.bool_], above: float = 0.5) -> float:
    """Share of the images ``among`` (N,) whose background alone scores a class, (N,), higher than ``above``."""
    return mean((alone[among] > above).astype(np.float64))


def row_means(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean of the chosen entries of each row, (P,); nan for a row with none."""
    counts = chosen.sum(axis=1)
    sums = np.where(chosen, values, 0.0).sum(axis=1)
    means = np.full(len(values), _NAN)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def mean(values: NDArray[np.float64]) -> float:
    """Mean of the values that are known; nan where none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else _NAN


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of logits of any size, without overflow."""
    probability: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64)))
    return probability
