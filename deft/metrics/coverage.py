"""Coverage: statistics of masks that need no ground truth.

Coverage, confidence and the share of ignored pixels reveal problems (a class that is found nowhere, or everywhere, or
with low confidence); they cannot confirm that a mask is correct.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft.contracts import IGNORE, MAX_CLASSES

# The rows of Coverage.sums; "tagged" counts only images tagged with the class.
_PIXELS, _TAGGED_PIXELS, _TAGGED_AREA, _TAGGED_IGNORED, _TAGGED, _FOUND, _MISSED, _CONFIDENCE = range(8)


@dataclass(frozen=True)
class ClassCoverage:
    """Statistics of one class; shares are in [0, 1], nan if their denominator is 0."""

    share: float
    """Share of all pixels that belong to the class."""
    tagged_share: float
    """Share of the pixels of images tagged with the class that belong to it."""
    confidence: float
    """Mean confidence over the pixels of the class."""
    ignored: float
    """Share of ignored (255) pixels in the images tagged with the class."""
    tagged: int
    """Number of images tagged with the class."""
    found: int
    """Number of images whose mask contains the class."""
    missed: int
    """Number of images tagged with the class whose mask does not contain it."""


class Coverage:
    """Running sums over images, for masks with values 0 to K and 255; two of them can be added with ``+``.

    Args:
        num_classes: K, without background.
    """

    def __init__(self, num_classes: int) -> None:
        if not 1 <= num_classes <= MAX_CLASSES:
            raise ValueError(f"expected 1 to {MAX_CLASSES} classes without background, got {num_classes}")
        self.num_classes = num_classes
        self.images = 0
        self.pixels = 0
        self.sums: NDArray[np.float64] = np.zeros((_CONFIDENCE + 1, num_classes + 1))

    def update(
        self,
        mask: NDArray[np.uint8],
        confidence: NDArray[np.float32] | None = None,
        labels: NDArray[np.bool_] | None = None,
        undecided: NDArray[np.bool_] | None = None,
    ) -> None:
        """Count one image.

        Args:
            mask: uint8 (H, W), 0 background, 255 ignored.
            confidence: confidence of the predicted class at each pixel, (H, W) in [0, 1]; the mean is nan without it.
            labels: multi-hot (K,); without them the classes in the mask are used.
            undecided: pixels that count as ignored although the mask has a class there, (H, W); for masks made from
                labels that left pixels undecided.

        Raises:
            ValueError: the shapes do not match, or the mask contains a value above K other than 255.
        """
        size = self.num_classes + 1
        if confidence is not None and confidence.shape != mask.shape:
            raise ValueError(f"expected confidence of the mask's size {mask.shape}, got {confidence.shape}")
        if labels is not None and labels.shape != (self.num_classes,):
            raise ValueError(f"expected multi-hot labels ({self.num_classes},), got {labels.shape}")
        kept = mask != IGNORE
        values = mask[kept].astype(np.intp)
        if len(values) and values.max() >= size:
            raise ValueError(f"expected mask values 0 to {self.num_classes} and {IGNORE}, got {values.max()}")
        here = np.bincount(values, minlength=size)
        found = here > 0
        tagged = found.copy() if labels is None else np.concatenate([[True], labels.astype(bool)])
        sums = self.sums
        sums[_PIXELS] += here
        sums[_TAGGED_PIXELS] += np.where(tagged, here, 0)
        sums[_TAGGED_AREA] += np.where(tagged, mask.size, 0)
        ignored = mask.size - len(values) if undecided is None else int((undecided | ~kept).sum())
        sums[_TAGGED_IGNORED] += np.where(tagged, ignored, 0)
        sums[_TAGGED] += tagged
        sums[_FOUND] += found
        sums[_MISSED] += tagged & ~found
        if confidence is not None:
            sums[_CONFIDENCE] += np.bincount(values, weights=confidence[kept], minlength=size)
        else:
            sums[_CONFIDENCE] += np.where(found, np.nan, 0.0)
        self.images += 1
        self.pixels += mask.size

    def ignored(self) -> float:
        """Share of ignored pixels, in [0, 1]; nan if no image was counted."""
        return _over(self.pixels - self.sums[_PIXELS].sum(), self.pixels)

    def of(self, value: int) -> ClassCoverage:
        """Statistics of one mask value: 0 for background, k + 1 for class k."""
        pixels, tagged_pixels, tagged_area, tagged_ignored, tagged, found, missed, confidence = self.sums[:, value]
        return ClassCoverage(
            share=_over(pixels, self.pixels),
            tagged_share=_over(tagged_pixels, tagged_area),
            confidence=_over(confidence, pixels),
            ignored=_over(tagged_ignored, tagged_area),
            tagged=int(tagged),
            found=int(found),
            missed=int(missed),
        )

    def to_json(self) -> dict[str, object]:
        """The sums as JSON values, for :meth:`from_json`; an unknown confidence is null."""
        rows = [[None if np.isnan(value) else float(value) for value in row] for row in self.sums]
        return {"images": self.images, "pixels": self.pixels, "sums": rows}

    @classmethod
    def from_json(cls, state: Mapping[str, object]) -> Coverage:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: the state does not come from :meth:`to_json`.
        """
        images, pixels = state.get("images"), state.get("pixels")
        sums = np.array(state.get("sums"), dtype=np.float64)
        if not isinstance(images, int) or not isinstance(pixels, int) or sums.ndim != 2 or len(sums) != _CONFIDENCE + 1:
            raise ValueError(
                f"expected images, pixels and sums as written by Coverage.to_json, got {sorted(state)}; count the "
                "masks again"
            )
        coverage = cls(sums.shape[1] - 1)
        coverage.images, coverage.pixels, coverage.sums = images, pixels, sums
        return coverage

    def __add__(self, other: Coverage) -> Coverage:
        if self.num_classes != other.num_classes:
            raise ValueError(
                f"expected counts of the same number of classes, got {self.num_classes} and {other.num_classes}"
            )
        total = Coverage(self.num_classes)
        total.images, total.pixels = self.images + other.images, self.pixels + other.pixels
        total.sums = self.sums + other.sums
        return total


def _over(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")
