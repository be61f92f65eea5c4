"""A custom seed method in one file: LayerCAM (Jiang et al., 2021, doi:10.1109/TIP.2021.3089943).

    deft run examples/layer_cam.py --data folder:PHOTOS --out runs/layer --set seeds.long_side=256

Each feature cell is weighted by the positive part of the gradient of the class score; weighted features are summed
over channels, and negative values are set to 0. Here the features are those of the last layer, as in the paper's
baseline, at one scale. Only the classifier is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deft import MethodContext, Pipeline, Sample, SeedMaps, recipes
from deft.seedmaps import grid


@dataclass(frozen=True)
class LayerCam:
    """Settings; ``prepare`` is all that a seed method must have in addition."""

    long_side: int = 512
    """Long side, in pixels, to which images are resized for the network."""

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps]:
        """Called once, after the classifier is trained."""
        network = context.classifier.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        head: Any = network.head

        def locate(sample: Sample) -> SeedMaps:
            """Called for each image, from several threads: maps of the classes it is tagged with."""
            height, width = sample.image.shape[:2]
            classes = tuple(int(k) for k in np.flatnonzero(sample.labels))
            image = torch.from_numpy(sample.image).permute(2, 0, 1)[None].float().to(network.backbone.mean.device)
            image = F.interpolate(image, scale_factor=self.long_side / max(height, width), mode="bilinear")
            features = network.backbone(image)[-1].float()
            maps = self.maps(features, head, classes)
            size = grid((height, width))  # all maps are stored on a grid of stride 4
            maps = F.interpolate(maps[:, None], size=size, mode="bilinear")[:, 0]
            scores = head.logits(features)[0].sigmoid()
            return SeedMaps(classes, maps.cpu(), (height, width), tuple(scores.tolist()))

        return locate

    def maps(self, features: Tensor, head: Any, classes: tuple[int, ...]) -> Tensor:
        """Maps (P, h, w) in [0, 1] of the classes; features (1, C, h, w)."""
        maps = features.new_zeros(len(classes), *features.shape[2:])
        for index, k in enumerate(classes):
            with torch.enable_grad():  # gradients are off by default
                leaf = features.detach().requires_grad_()
                score: Tensor = head.logits(leaf)[0, k]
                (slope,) = torch.autograd.grad(score, leaf)
            maps[index] = F.relu((F.relu(slope) * leaf.detach()).sum(dim=1))[0]
        return maps / maps.amax(dim=(1, 2), keepdim=True).clamp(min=1e-5)


def recipe() -> Pipeline:
    """IRN on the maps of LayerCAM.

    Paper: Jiang et al., 2021, doi:10.1109/TIP.2021.3089943.
    """
    return replace(recipes.irn(), seeds=LayerCam())
