"""A dense CRF on the probabilities of a segmentation network, as in DeepLab (Chen et al., 2016, arXiv:1606.00915).

It works on a grid of bounded size, so that neither time nor memory grows with the photograph. The coarser a network's
own grid, the more edges gain: that of a frozen backbone has one cell for some ten pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from deft.engine.features import seen_pixels, seen_size
from deft.refine.crf import DenseCrf, dense_crf, unary_from_probabilities

LIKELY = 0.1
"""Labels that are nowhere as probable as this are left out: the cost of a CRF grows with their number."""


def smoothed(probabilities: Tensor, image: NDArray[np.uint8], crf: DenseCrf, side: int) -> Tensor:
    """Probabilities that follow the edges of a photograph.

    Args:
        probabilities: float32 (L, h, w) on a grid that covers the photograph; they sum to 1 over L.
        image: RGB uint8 (H, W, 3).
        crf: its standard deviations are in pixels of the grid it works on.
        side: longer side of that grid; a smaller photograph has its own size.

    Returns:
        Probabilities on the CRF's grid, on the device of those given; 0 for labels that are nowhere likely.
    """
    shape = image.shape[0], image.shape[1]
    size = seen_size(shape, min(side, max(shape)), 1)
    found = F.interpolate(probabilities[None], size, mode="bilinear", align_corners=False)[0]
    likely = found.amax(dim=(1, 2)) >= LIKELY
    if int(likely.sum()) < 2:
        return found
    small = seen_pixels(image, size).permute(1, 2, 0).contiguous().numpy()
    belief = dense_crf(unary_from_probabilities(found[likely]), small, crf)
    result = torch.zeros_like(found)
    result[likely] = belief
    return result
