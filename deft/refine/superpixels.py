"""Superpixels of scikit-image as masks, where no tool has made better ones (extra ``superpixels``).

Each gives a label map of an image, whose values from 1 on are the masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.contracts import InputError
from deft.guards.words import first_line, shown
from deft.ranges import Count, Factor, Weight, check_ranges


@dataclass(frozen=True)
class Slic:
    """SLIC: k-means over colour and place (Achanta et al., 2012)."""

    count: Count = 200
    """About how many superpixels an image has."""
    compactness: Factor = 10.0
    """Weight of place against colour."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Label map (H, W) of an RGB image (H, W, 3), from 1 on.

        Raises:
            InputError: scikit-image is not installed.
        """
        made = segmentation().slic(image, n_segments=self.count, compactness=self.compactness, start_label=1)
        return np.asarray(made, dtype=np.int64)


@dataclass(frozen=True)
class Felzenszwalb:
    """Felzenszwalb and Huttenlocher, 2004: regions that grow while their edges are weak."""

    scale: Factor = 100.0
    """Larger values give larger superpixels."""
    sigma: Weight = 0.8
    """Standard deviation of the blur before, in pixels."""
    smallest: Count = 50
    """Fewest pixels of a superpixel."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Label map (H, W) of an RGB image (H, W, 3), from 1 on.

        Raises:
            InputError: scikit-image is not installed.
        """
        made = segmentation().felzenszwalb(image, scale=self.scale, sigma=self.sigma, min_size=self.smallest)
        return np.asarray(made, dtype=np.int64) + 1


def segmentation() -> Any:
    """The module ``skimage.segmentation``.

    Raises:
        InputError: scikit-image is not installed.
    """
    try:
        from skimage import segmentation as found
    except ImportError as error:
        raise InputError(
            f"superpixels need scikit-image, which cannot be imported ({shown(first_line(error))}): pip install "
            "'deft-wsss[superpixels]', or name a folder of masks"
        ) from None
    return found
