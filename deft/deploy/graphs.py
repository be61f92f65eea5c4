"""What is exported of a run: graphs from the pixels of photographs of any size to masks, or to class maps.

Each resizes photographs inside, as ``deft predict`` and ``deft seeds`` do, with one scale and without a mirrored view,
so that whoever runs it needs to know neither sizes nor means. The backbone normalises inside, too.

Shapes: image uint8 (N, 3, H, W), RGB and upright, each of any size. Sizes in the graph are tensors: it is traced once,
and none of its operations depends on the size that it was traced with.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.backbone import Backbone, frozen_net, views_of
from deft.classify.classifier import ClassifierNetwork
from deft.deploy.resampling import cubic, resize
from deft.deploy.smoothing import smoothed
from deft.refine.pamr import Pamr
from deft.seedmaps import from_cells
from deft.seeds.views import on_grid
from deft.segment.deeplab import SegmentationNetwork
from deft.segment.inference import Inference


class SegmentationGraph(nn.Module):
    """Masks of photographs, as :class:`deft.segment.inference.Inference` makes them with one scale, no flip and no CRF.

    Where the inference has a CRF, PAMR takes its place, see :mod:`deft.deploy.smoothing`.

    Args:
        network: in eval mode.
        inference: of the run; its scales and flip are not used.
    """

    title = "segmentation network"
    file = "segment"
    outputs = ("probabilities", "mask")
    least_side = 1

    def __init__(self, network: SegmentationNetwork, inference: Inference) -> None:
        super().__init__()
        self.network = network
        self.side = min(network.side, inference.max_side)
        self.smooth_side = None if inference.crf is None else inference.crf_side

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Masks of a batch.

        Returns:
            Probabilities of background and each class, float (N, K + 1, h, w), on a grid that covers the photograph;
            and the mask, uint8 (N, H, W): 0 background, k + 1 for class k.
        """
        seen = _seen(image, self.side, self.network.backbone.reductions[-1])
        if views_of(self.network.backbone) is None:
            logits = self.network.coarse(seen)
        else:
            logits = self.network.decode([_frozen_map(self.network.backbone, seen)])
        probabilities = logits.softmax(dim=1)
        if self.smooth_side is not None:
            small = _seen(image, _sizes(image).max().clamp(max=self.smooth_side), 1)
            fine = F.interpolate(probabilities, size=small.shape[-2:], mode="bilinear", align_corners=False)
            probabilities = smoothed(fine, small / 255, Pamr())
        full = F.interpolate(probabilities, size=image.shape[-2:], mode="bilinear", align_corners=False)
        return probabilities, full.argmax(dim=1).to(torch.uint8)


class ClassifierGraph(nn.Module):
    """Class scores and class maps of photographs, as :class:`deft.seeds.cam.Cam` reads them at scale 1 without flips.

    The maps are those of the classifier's head: for DEFT's, its reading of Eq. 7. With a frozen backbone they are those
    of :class:`deft.seeds.frozen.FrozenCam`.

    Args:
        network: in eval mode.
    """

    title = "classifier"
    file = "classifier"
    outputs = ("scores", "maps")
    least_side = 5  # two cells of the grid: torch treats a size of 1 as fixed

    def __init__(self, network: ClassifierNetwork) -> None:
        super().__init__()
        self.network = network
        self._extra = network.backbone.extra if views_of(network.backbone) is None else 0  # found out before tracing

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and maps of a batch.

        Returns:
            The probability of each class, float (N, K); and its map in [0, 1], float (N, K, h, w), with cell i of a row
            or column centred on pixel 4 i of the photograph.
        """
        head, stride, views = self.network.head, self.network.backbone.stride, views_of(self.network.backbone)
        if views is not None:
            features = _frozen_map(self.network.backbone, _seen(image, views.side, views.stride))
            maps = from_cells(head.activation(features), (image.shape[-2], image.shape[-1]))
            return head.logits(features).sigmoid(), torch.vmap(head.combine)(maps).clamp(0, 1)
        rows, columns = _whole(torch.round(_sizes(image) / stride), at_least=1)
        size = (image.shape[-2], image.shape[-1])
        view = (rows * stride + self._extra, columns * stride + self._extra)
        seen = resize(image.float(), view)
        features = self.network.backbone(seen)[-1]
        activation = head.activation(features)
        maps = torch.vmap(head.combine)(on_grid(activation, view, size, self._extra))
        return head.logits(features).sigmoid(), maps.clamp(0, 1)


Graph = SegmentationGraph | ClassifierGraph
"""A graph to export: ``title`` in messages, ``file`` without suffix, names of the ``outputs``, the smallest side."""


def _seen(image: Tensor, side: float | Tensor, stride: int) -> Tensor:
    """Photographs at the size of :func:`deft.engine.features.seen_size`."""
    size = _sizes(image)
    height, width = _whole(torch.round(size * (side / size.max()) / stride), at_least=2)
    return resize(image.float(), (height * stride, width * stride), whole=True)


def _frozen_map(backbone: Backbone, seen: Tensor) -> Tensor:
    """The standardised map of a frozen backbone, (N, C, h, w), of resized photographs."""
    net = frozen_net(backbone)
    stride = net.inner.reductions[-1]

    def resized(x: Tensor, scale: float) -> Tensor:
        rows, columns = _whole(torch.round(_sizes(x) * scale / stride), at_least=net.least_cells)
        return cubic(x, (rows * stride + net.extra, columns * stride + net.extra))

    return net.standardised(net.look(backbone.normalise(seen), resized).deep)


def _sizes(image: Tensor) -> Tensor:
    """Height and width of images, float64 (2,): Python's own numbers, so that they round as in our inference."""
    return torch.stack([torch.full((), side, dtype=torch.float64) for side in image.shape[-2:]])


def _whole(numbers: Tensor, at_least: int) -> tuple[int, int]:
    """Two numbers of a tensor, at least so large, as sizes that the graph computes when it runs."""
    numbers = numbers.clamp(min=at_least).long()
    rows, columns = cast(tuple[int, int], (numbers[0].item(), numbers[1].item()))  # int() would ask for their values
    torch._check(rows >= at_least)  # a size computed inside is otherwise assumed to be anything
    torch._check(columns >= at_least)
    return rows, columns
