"""What can be said of masks when there is no ground truth to score them with.

Coverage, confidence and the ignored share tell when something is wrong (a class that is found nowhere, or everywhere,
or that the maps are unsure of); they cannot tell that a mask is right.
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
    """One class's line of the table; shares in [0, 1], nan where there is nothing to divide by."""

    share: float
    """Pixels of the class among all pixels."""
    tagged_share: float
    """Pixels of the class among the pixels of the images tagged with it."""
    confidence: float
    """Mean confidence over the pixels of the class."""
    ignored: float
    """Undecided (255) pixels among the pixels of the images tagged with the class."""
    tagged: int
    """Images tagged with the class."""
    found: int
    """Images whose mask holds the class."""
    missed: int
    """Images tagged with the class whose mask does not hold it."""


class Coverage:
    """Sums over images, for masks with values 0 to K and 255; summable with ``+``.

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
            confidence: of the mask's answer at each pixel, (H, W) in [0, 1]; without it no mean is known.
            labels: multi-hot (K,); without it the classes in the mask stand in for the tags.
            undecided: pixels that count as ignored although the mask has an answer, (H, W); for masks whose teacher
                left pixels open.

        Raises:
            ValueError: shapes do not fit, or the mask holds a value above K other than 255.
        """
        size = self.num_classes + 1
        if confidence is not None and confidence.shape != mask.shape:
            raise ValueError(f"confidence is {confidence.shape}, the mask {mask.shape}: they must be the same size")
        if labels is not None and labels.shape != (self.num_classes,):
            raise ValueError(f"expected multi-hot labels ({self.num_classes},), got {labels.shape}")
        kept = mask != IGNORE
        values = mask[kept].astype(np.intp)
        if len(values) and values.max() >= size:
            raise ValueError(f"the mask holds the value {values.max()}; expected 0 to {self.num_classes} and {IGNORE}")
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
        """Undecided pixels among all, in [0, 1]; nan if nothing was counted."""
        return _over(self.pixels - self.sums[_PIXELS].sum(), self.pixels)

    def of(self, value: int) -> ClassCoverage:
        """The line of one mask value: 0 for background, k + 1 for class k."""
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
        """Plain numbers, for :meth:`from_json`; an unknown confidence is null."""
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
            raise ValueError("expected the images, pixels and sums that Coverage.to_json gives; count the masks again")
        coverage = cls(sums.shape[1] - 1)
        coverage.images, coverage.pixels, coverage.sums = images, pixels, sums
        return coverage

    def __add__(self, other: Coverage) -> Coverage:
        if self.num_classes != other.num_classes:
            raise ValueError(
                f"only counts of the same classes can be summed, got {self.num_classes} and {other.num_classes}"
            )
        total = Coverage(self.num_classes)
        total.images, total.pixels = self.images + other.images, self.pixels + other.pixels
        total.sums = self.sums + other.sums
        return total


def _over(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")
