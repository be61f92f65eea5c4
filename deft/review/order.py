"""Which images most need a look, and why, as :mod:`deft.suggest` says; the one place that asks it."""

from __future__ import annotations

from dataclasses import dataclass

from deft.export.source import Source
from deft.suggest.suggested import suggested as ranked


@dataclass(frozen=True)
class Suggested:
    """An image that needs a look."""

    name: str
    score: float
    """How much, in [0, 1]."""
    reason: str
    """One line for the page."""


def suggested(source: Source) -> list[Suggested]:
    """The training images that nobody has decided about, the one that most needs a look first.

    What has to be measured is kept in the review, so that only the first call on a run takes long.

    Raises:
        InputError: the run has no pseudo-masks, or its settings cannot be read.
    """
    return [Suggested(each.name, each.score, each.reason) for each in ranked(source.run, data=source.given)]
