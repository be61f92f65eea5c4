"""Everything a report shows, as plain values: stages fill it in, :func:`deft.report.html.render` draws it.

Every part but the title may be missing; the page leaves out what is missing. Names, tags and notes come from users and
are hostile until rendered. Scores are fractions in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deft.metrics.cooccurrence import Cooccurrence
from deft.metrics.coverage import Coverage

HOW: Mapping[str, str] = {
    "fixed": "fixed threshold {:.2f}",
    "auto": "threshold {:.2f} (chosen without masks)",
    "tuned": "threshold {:.2f} (tuned on drawn masks)",
    "swept": "best threshold {:.2f} (chosen on the truth)",
}
"""A threshold and how it was chosen, in words."""


@dataclass(frozen=True)
class SplitFacts:
    """What one split of the data holds."""

    name: str
    """``train``, ``val``."""
    images: int
    scored: int
    """Images that have a ground-truth mask."""
    per_class: tuple[int, ...]
    """Images tagged with each class, (K,)."""
    labels: str = ""
    """Where the tags come from, in a few words."""


@dataclass(frozen=True)
class StageRow:
    """One stage of the run."""

    name: str
    seconds: float
    status: str = "done"
    """``done``, or ``kept`` for a stage whose product was current."""
    note: str = ""
    """What it made, in a few words."""


@dataclass(frozen=True)
class Score:
    """One number that needed ground truth."""

    what: str
    """What is scored: ``seeds``, ``pseudo-masks``, ``segmentation network``, ``classification``."""
    split: str
    value: float
    measure: str = "mIoU"
    """``mIoU`` or ``mAP``."""
    threshold: float | None = None
    """Background threshold of the maps; None for what has none."""
    chosen: str = "fixed"
    """How the threshold was chosen: ``fixed`` as a number beforehand, ``auto`` without masks, ``tuned`` on drawn masks
    of images that are not scored, or ``swept`` on the ground truth: what the maps could give at best."""
    per_class: tuple[float, ...] = ()
    """Background first for mIoU, (K + 1,); (K,) for mAP; nan for a class that does not occur; empty if unknown."""
    images: int | None = None
    """Images counted."""
    headline: bool = False
    """True for the number the page opens with."""

    @property
    def chosen_on_truth(self) -> bool:
        """Whether the threshold was swept on the very truth that is scored."""
        return self.chosen == "swept"

    @property
    def title(self) -> str:
        """What it is, with its threshold; two ways of choosing it never read the same."""
        if self.threshold is None:
            return self.what
        return f"{self.what}, {HOW[self.chosen].format(self.threshold)}"


@dataclass(frozen=True, eq=False)
class Curve:
    """Mean IoU against the background threshold."""

    thresholds: tuple[float, ...]
    miou: tuple[float, ...]
    used: float | None = None
    """The threshold that masks are made at, marked by a dot."""
    auto: float | None = None
    """The one chosen without masks, marked by a diamond."""


@dataclass(frozen=True, eq=False)
class PictureRow:
    """One image as it went through the stages."""

    name: str
    tags: tuple[str, ...]
    pictures: tuple[tuple[str, NDArray[np.uint8]], ...]
    """(caption, RGB (H, W, 3)); the same captions in every row read best."""
    score: float | None = None
    """IoU of this image alone, where the row was chosen by it."""


@dataclass(frozen=True)
class Comparison:
    """Numbers side by side: systems or measures down, groups or splits across."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    """(name, one fraction per column); nan where unknown."""
    explain: str = ""
    """One sentence: what the numbers are."""
    images: tuple[int, ...] = ()
    """Images behind each column."""


@dataclass(frozen=True, eq=False)
class ReportData:
    """The content of one page."""

    title: str
    recipe: str = ""
    classes: tuple[str, ...] = ()
    """K names, without background."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Command, data, version, hardware, date: what a reader needs to repeat the run."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Fields of the recipe, nested mappings."""
    products: Mapping[str, str] = field(default_factory=dict)
    """What the run left behind: path inside the run folder -> what it is, one sentence."""
    splits: tuple[SplitFacts, ...] = ()
    stages: tuple[StageRow, ...] = ()
    scores: tuple[Score, ...] = ()
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """By label."""
    pictures: tuple[PictureRow, ...] = ()
    worst: tuple[PictureRow, ...] = ()
    best: tuple[PictureRow, ...] = ()
    losses: Mapping[str, Mapping[str, tuple[tuple[int, float], ...]]] = field(default_factory=dict)
    """Stage -> loss term -> (step, value)."""
    together: Cooccurrence | None = None
    """Classes with classes."""
    contexts: Cooccurrence | None = None
    """Classes with contexts."""
    groups: Comparison | None = None
    """This run on named parts of a split: aligned, conflicting."""
    comparisons: tuple[Comparison, ...] = ()
    """Several systems side by side."""
    coverage: Coverage | None = None
    """Of the final masks, where there is no ground truth to score them with."""
    warnings: tuple[str, ...] = ()
    """What the reader should know before trusting the rest, one sentence each."""
