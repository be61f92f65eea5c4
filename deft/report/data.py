"""The content of a report as plain values, which :func:`deft.report.html.render` turns into a page.

All parts except the title are optional; the page leaves out those that are missing. Names, tags and notes come from
users and must be treated as hostile until they are rendered. Scores are fractions in [0, 1].
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
    "swept": "best threshold {:.2f} (chosen on the ground truth)",
}
"""Description of a threshold, by how it was chosen."""


@dataclass(frozen=True)
class SplitFacts:
    """Numbers of images and labels in one split of the dataset."""

    name: str
    """``train`` or ``val``."""
    images: int
    """Number of images."""
    scored: int
    """Number of images with a ground-truth mask."""
    per_class: tuple[int, ...]
    """Number of images tagged with each class, (K,)."""
    labels: str = ""
    """Source of the tags, in a few words."""


@dataclass(frozen=True)
class StageRow:
    """One stage of the run."""

    name: str
    seconds: float
    status: str = "done"
    """``done``, or ``kept`` for a stage whose output was up to date."""
    note: str = ""
    """The output of the stage, in a few words."""


@dataclass(frozen=True)
class Score:
    """One score, computed with ground truth."""

    what: str
    """The object of the score: ``seeds``, ``pseudo-masks``, ``segmentation network`` or ``classification``."""
    split: str
    value: float
    measure: str = "mIoU"
    """``mIoU`` or ``mAP``."""
    threshold: float | None = None
    """Background threshold of the maps; None if there is none."""
    chosen: str = "fixed"
    """How the threshold was chosen: ``fixed`` to a number in advance, ``auto`` without masks, ``tuned`` on drawn masks
    of images that are not scored, or ``swept`` on the ground truth, which gives an upper bound."""
    per_class: tuple[float, ...] = ()
    """Background first for mIoU, (K + 1,); (K,) for mAP; nan for a class that does not occur; empty if unknown."""
    images: int | None = None
    """Number of images scored."""
    headline: bool = False
    """True for the main score, shown at the top of the page."""

    @property
    def chosen_on_truth(self) -> bool:
        """Whether the threshold was chosen on the same ground truth that scores it."""
        return self.chosen == "swept"

    @property
    def title(self) -> str:
        """Name of the score with its threshold and how that was chosen."""
        if self.threshold is None:
            return self.what
        return f"{self.what}, {HOW[self.chosen].format(self.threshold)}"


@dataclass(frozen=True, eq=False)
class Curve:
    """Mean IoU against the background threshold."""

    thresholds: tuple[float, ...]
    miou: tuple[float, ...]
    used: float | None = None
    """The threshold in use, marked by a dot."""
    auto: float | None = None
    """The threshold chosen without masks, marked by a diamond."""


@dataclass(frozen=True, eq=False)
class PictureRow:
    """One image and the outputs of the stages for it."""

    name: str
    tags: tuple[str, ...]
    pictures: tuple[tuple[str, NDArray[np.uint8]], ...]
    """(caption, RGB (H, W, 3)); preferably with the same captions in every row."""
    score: float | None = None
    """IoU of this image alone, if the row was chosen by it."""


@dataclass(frozen=True, eq=False)
class DoubtfulTag:
    """A tag of a training image that is likely wrong or missing."""

    image: str
    name: str
    """The class."""
    given: bool
    """Whether the image is tagged with it, and so likely wrongly."""
    picture: NDArray[np.uint8] | None = None
    """The image, RGB (H, W, 3); None for those that are only named."""


@dataclass(frozen=True)
class Comparison:
    """A table of scores: systems or measures in rows, groups or splits in columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    """(name, one fraction per column); nan if unknown."""
    explain: str = ""
    """One sentence that explains the numbers."""
    images: tuple[int, ...] = ()
    """Number of images of each column."""


@dataclass(frozen=True, eq=False)
class ReportData:
    """The content of one page."""

    title: str
    recipe: str = ""
    classes: tuple[str, ...] = ()
    """K names, without background."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What is needed to reproduce the run: command, data, versions, hardware, date."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Fields of the recipe, as nested mappings."""
    products: Mapping[str, str] = field(default_factory=dict)
    """Output files: path in the run folder -> description."""
    splits: tuple[SplitFacts, ...] = ()
    stages: tuple[StageRow, ...] = ()
    scores: tuple[Score, ...] = ()
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """Threshold curves, by label."""
    pictures: tuple[PictureRow, ...] = ()
    worst: tuple[PictureRow, ...] = ()
    best: tuple[PictureRow, ...] = ()
    losses: Mapping[str, Mapping[str, tuple[tuple[int, float], ...]]] = field(default_factory=dict)
    """Stage -> loss term -> (step, value)."""
    together: Cooccurrence | None = None
    """Co-occurrence of classes with each other."""
    contexts: Cooccurrence | None = None
    """Co-occurrence of classes with contexts."""
    groups: Comparison | None = None
    """Scores of this run on named parts of a split (aligned, conflicting)."""
    comparisons: tuple[Comparison, ...] = ()
    """Scores of several systems."""
    doubtful: tuple[DoubtfulTag, ...] = ()
    """Tags to look at again, the most doubtful first."""
    doubted: int = 0
    """Number of doubtful tags, with those that are not listed."""
    coverage: Coverage | None = None
    """Coverage of the final masks, if there is no ground truth to score them with."""
    warnings: tuple[str, ...] = ()
    """Warnings, one sentence each."""
