"""Class activation maps over scales and flips (Zhou et al., 2016, arXiv:1512.04150; as used by IRN, arXiv:1904.05044).

Serves any head: a head says what its maps are and how a sum over scales becomes maps in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from deft.backbone import Backbone
from deft.contracts import InputError, Sample, SeedMaps
from deft.engine.infer import device

STRIDE = 4
"""Of the grid the maps are kept on, in pixels of the image."""


class Localiser(Protocol):
    """What seeds are read from: a classifier network."""

    backbone: Backbone
    head: nn.Module


class Workshop(Protocol):
    """What class maps need of a run; part of :class:`deft.stages.Workshop`."""

    @property
    def classifier(self) -> Any:
        """The trained classifier, an ``nn.Module`` and a :class:`Localiser`."""


@dataclass(frozen=True)
class Cam:
    """Multi-scale, flipped class activation maps."""

    scales: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    """IRN's. The image is resized, not the features."""
    flip: bool = True
    present: float = 0.5
    """On images without tags, a class is present when its probability is above this."""

    def __post_init__(self) -> None:
        """Refuse scales that cannot be read."""
        if 1.0 not in self.scales or min(self.scales) <= 0:
            raise InputError(
                f"seeds.scales must be positive and hold 1.0, at which classes are scored, got {self.scales}"
            )

    @property
    def learning(self) -> None:
        """Nothing is trained beyond the classifier."""

    def prepare(self, workshop: Workshop) -> Callable[[Sample], SeedMaps]:
        """The maps of one image for its own tags."""
        network = workshop.classifier.to(device())
        return lambda sample: self(network, sample.image, sample.labels)

    @torch.no_grad()
    def __call__(
        self, network: Localiser, image: NDArray[np.uint8], labels: NDArray[np.bool_] | None = None
    ) -> SeedMaps:
        """Maps of the classes present.

        Args:
            network: a trained classifier, in eval mode.
            image: RGB (H, W, 3).
            labels: multi-hot (K,); None takes the classes that the classifier finds.

        Returns:
            Maps in [0, 1] on the strided grid, and the classifier's probability of every class.
        """
        height, width = image.shape[:2]
        grid = ((height - 1) // STRIDE + 1, (width - 1) // STRIDE + 1)
        where = next(network.backbone.parameters()).device
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(where).permute(2, 0, 1)[None].float()
        head = cast(Any, network.head)
        total: Tensor | None = None
        logits: list[Tensor] = []
        for scale in self.scales:
            view = _resize(pixels, scale, network.backbone.stride)
            batch = torch.cat([view, view.flip(-1)]) if self.flip else view
            features = network.backbone(batch)[-1]
            activation = head.activation(features).float()
            if self.flip:
                activation = activation[:1] + activation[1:].flip(-1)
            rows, columns = (
                _sampling(cells, seen, side, STRIDE).to(where)
                for cells, seen, side in zip(activation.shape[-2:], view.shape[-2:], (height, width), strict=True)
            )
            branches = rows @ activation[0] @ columns.T
            total = branches if total is None else total + branches
            if scale == 1.0:
                logits.append(head.logits(features).float().mean(0))
        if total is None:
            raise AssertionError("scales are never empty")
        probability = logits[0].sigmoid().cpu()
        chosen = np.flatnonzero(labels) if labels is not None else (probability > self.present).nonzero().flatten()
        classes = tuple(int(index) for index in chosen)
        maps = head.combine(total)[list(classes)] if classes else total.new_zeros(0, *grid)
        return SeedMaps(classes, maps.clamp(0, 1).cpu(), (height, width), tuple(probability.tolist()))


def _resize(pixels: Tensor, scale: float, stride: int) -> Tensor:
    """Resize to about ``scale``, with sides of k * stride + 1.

    At such sizes cell j of a convolutional network is centred on pixel j * stride whether it pads like torch or like
    TensorFlow, and the cells of the mirrored view lie on those of the straight one; at other sizes the two are up to
    a cell apart, and their sum is blurred by that.
    """
    size = [max(1, round(side * scale / stride)) * stride + 1 for side in pixels.shape[-2:]]
    return F.interpolate(pixels, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)


def _sampling(cells: int, seen: int, side: int, stride: int) -> Tensor:
    """Weights (g, cells) that read a row of cells at every ``stride``-th of ``side`` pixels, linear between cells.

    Args:
        cells: of the feature map; the first and last lie on the first and last of the pixels seen.
        seen: pixels of the resized view.
        side: pixels of the image.
        stride: of the points read, in pixels of the image.
    """
    pixel = torch.arange(0, side, stride)
    place = ((pixel + 0.5) * seen / side - 0.5) * (cells - 1) / (seen - 1)
    return (1 - (place.clamp(0, cells - 1)[:, None] - torch.arange(cells)).abs()).clamp(min=0)
