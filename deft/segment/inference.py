"""Masks of whole photographs: the network at several scales and mirrored, averaged, as in DeepLabV3+; a CRF after it.

Photographs are resized to the size the network was trained at, and probabilities are enlarged band by band, so that
memory does not grow with the photograph: 4000 x 3000 pixels and 1 x 1 are processed alike.

Shapes: image (H, W, 3), probabilities (K + 1, h, w), background first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from deft.backbone import frozen_net
from deft.contracts import BACKGROUND, InputError, LabelMap
from deft.engine.features import Features, seen_pixels, seen_size
from deft.engine.parts import large_in_parts
from deft.engine.precision import EXACT, autocast
from deft.ranges import Multiples, Range, check_ranges
from deft.refine.crf import DenseCrf
from deft.seedmaps import bands
from deft.segment.deeplab import SegmentationNetwork
from deft.segment.smoothing import smoothed
from deft.settings import later


@dataclass(frozen=True)
class Inference:
    """Settings of inference with a trained network."""

    scales: Multiples = (0.75, 1.0, 1.25)
    """Long sides, as multiples of the training images' long side; probabilities are averaged over them."""
    flip: bool = True
    """Average with the mirrored photograph."""
    max_side: Annotated[int, Range(1, 65_536)] = 2048
    """Upper limit of the long side at any scale, in pixels; limits memory."""
    crf: DenseCrf | None = field(default=None, metadata=later())
    """CRF on the probabilities, its standard deviations in pixels of its grid; None leaves it out. Tiles have none."""
    crf_side: Annotated[int, Range(8, 65_536)] = field(default=160, metadata=later())
    """Longer side of the grid that the CRF works on, in pixels."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)

    def predict(
        self,
        network: SegmentationNetwork,
        image: NDArray[np.uint8],
        classes: tuple[str, ...],
        allowed: Collection[int] | None = None,
        precision: str = EXACT,
        size: tuple[int, int] | None = None,
        features: Features | None = None,
    ) -> LabelMap:
        """Mask of one photograph.

        Args:
            network: in eval mode, on any device.
            image: RGB uint8 (H, W, 3), of any size.
            classes: names of the network's K classes.
            allowed: indices of the classes that are allowed besides background; None allows all.
            precision: precision of the network, see :mod:`deft.engine.precision`; probabilities are float32.
            size: (H, W) of the mask, for an image that was scaled down; None takes that of the image.
            features: of the image, if the network's backbone is frozen and they are stored.

        Returns:
            The mask (H, W), and the mean probability of each class over its pixels.
        """
        if len(classes) != network.classes:
            raise InputError(
                f"expected the names of the network's {network.classes} classes, got {len(classes)}; give one for each"
            )
        probabilities = self.probabilities(network, image, allowed, precision, features)
        return labelled(probabilities, classes, size or (image.shape[0], image.shape[1]))

    def probabilities(
        self,
        network: SegmentationNetwork,
        image: NDArray[np.uint8],
        allowed: Collection[int] | None = None,
        precision: str = EXACT,
        features: Features | None = None,
    ) -> Tensor:
        """Probability of background and of each class, on a grid that covers the whole photograph.

        Returns:
            float32 (K + 1, h, w) on the network's device; sums to 1 over the first axis. h and w depend on the
            network's side and stride and on the aspect ratio, but not on H and W; with a CRF, on ``crf_side`` and on
            those of a smaller photograph.
        """
        found = self._unsmoothed(network, image, allowed, precision, features)
        return found if self.crf is None else smoothed(found, image, self.crf, self.crf_side)

    def _unsmoothed(
        self,
        network: SegmentationNetwork,
        image: NDArray[np.uint8],
        allowed: Collection[int] | None,
        precision: str,
        features: Features | None,
    ) -> Tensor:
        """As :meth:`probabilities`, without the CRF."""
        network_device = next(network.parameters()).device
        absent = absent_classes(network.classes, allowed).to(network_device)
        if features is not None:
            deep = features.deep[None].to(network_device).float()
            with torch.inference_mode():
                with autocast(precision, network_device):
                    known = network.decode([frozen_net(network.backbone).standardised(deep)]).float()
                known[:, absent] = -torch.inf
                return known.softmax(dim=1)[0]
        sizes = [self._size(network, (image.shape[0], image.shape[1]), scale) for scale in self.scales]
        # The result has the grid of the middle scale, so that an extreme scale costs only its own pass.
        middle = sorted(sizes)[len(sizes) // 2]
        grid: tuple[int, ...] | None = None
        total: Tensor | None = None
        with torch.inference_mode():
            for size in sorted(sizes, key=lambda size: size != middle):
                with autocast(precision, network_device):
                    logits = self._logits(network, image, size).float()
                logits[:, absent] = -torch.inf
                shares = logits.softmax(dim=1)
                grid = grid or tuple(shares.shape[-2:])
                if tuple(shares.shape[-2:]) != grid:
                    shares = F.interpolate(shares, size=grid, mode="bilinear", align_corners=False, antialias=True)
                mean = shares[0] if len(shares) == 1 else (shares[0] + shares[1].flip(-1)) / 2
                total = mean if total is None else total + mean
        if total is None:
            raise AssertionError("scales are never empty")
        return total / total.sum(dim=0)

    def _size(self, network: SegmentationNetwork, size: tuple[int, int], scale: float) -> tuple[int, int]:
        """(H, W) to resize to: multiples of the stride, so that the network's grid covers the photograph exactly."""
        return seen_size(size, min(network.side * scale, self.max_side), network.backbone.reductions[-1])

    def _logits(self, network: SegmentationNetwork, image: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
        """Logits (1 or 2, K + 1, h, w) at one scale; the second is of the mirrored photograph, not mirrored back."""
        pixels = seen_pixels(image, size)
        batch = torch.stack([pixels, pixels.flip(-1)]) if self.flip else pixels[None]
        batch = batch.to(next(network.parameters()).device).contiguous(memory_format=torch.channels_last)
        logits: Tensor = large_in_parts(network.coarse, batch)
        return logits


def labelled(probabilities: Tensor, classes: tuple[str, ...], size: tuple[int, int]) -> LabelMap:
    """The mask of probabilities (K + 1, h, w), enlarged to (H, W), and the mean probability of each class in it."""
    mask = np.empty(size, dtype=np.uint8)
    sums = np.zeros(len(classes) + 1)
    counts = np.zeros(len(classes) + 1)
    for rows, band in bands(probabilities, size):
        best, values = band.max(dim=0)
        mask[rows] = values.byte().cpu().numpy()
        flat = values.flatten().cpu().numpy()
        sums += np.bincount(flat, best.flatten().double().cpu().numpy(), minlength=len(sums))
        counts += np.bincount(flat, minlength=len(sums))
    found = [value for value in range(1, len(counts)) if counts[value]]
    return LabelMap(mask, classes, {classes[value - 1]: float(sums[value] / counts[value]) for value in found})


def absent_classes(classes: int, allowed: Collection[int] | None) -> Tensor:
    """Bool (K + 1,): classes that are not allowed."""
    absent = torch.zeros(classes + 1, dtype=torch.bool)
    if allowed is not None:
        unknown = [index for index in allowed if not 0 <= index < classes]
        if unknown:
            raise InputError(f"allowed classes must be indices from 0 to {classes - 1}, got {unknown[0]}")
        absent[:] = True
        absent[[BACKGROUND, *(index + 1 for index in allowed)]] = False
    return absent
