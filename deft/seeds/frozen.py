"""Class activation maps of a classifier whose backbone is frozen, read from stored features.

The views of an image, over whose scales and mirror images the maps of :class:`deft.seeds.cam.Cam` are summed, are
averaged in the features already (:mod:`deft.backbone.frozen`): a head without a nonlinearity sees the same sum. New
photographs are looked at in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from deft.backbone import frozen_net
from deft.contracts import Sample, SeedMaps
from deft.engine.features import find_features
from deft.engine.infer import device
from deft.engine.method import MethodContext
from deft.ranges import Share, check_ranges
from deft.seedmaps import from_cells, grid


@dataclass(frozen=True)
class FrozenCam:
    """Class activation maps from the features of a frozen backbone."""

    present: Share = 0.5
    """On images without tags, a class is present if its probability is above this."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)

    @property
    def learning(self) -> None:
        """None: only the classifier is trained."""

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps]:
        """The function that returns the maps of an image for its tags.

        Raises:
            InputError: the recipe's backbone is trained.
        """
        network = context.classifier.to(device())
        net = frozen_net(network.backbone)

        @torch.no_grad()
        def locate(sample: Sample) -> SeedMaps:
            features = context.stored(sample) or find_features(network.backbone, sample.image, context.precision)
            deep = net.standardised(features.deep[None].to(device()).float())
            size = (sample.image.shape[0], sample.image.shape[1])
            classes = tuple(int(index) for index in np.flatnonzero(sample.labels))
            probability = network.head.logits(deep)[0].sigmoid().cpu()
            maps = network.head.combine(from_cells(network.head.activation(deep)[0].float(), size))[list(classes)]
            if not classes:
                maps = maps.new_zeros(0, *grid(size))
            return SeedMaps(classes, maps.clamp(0, 1).cpu(), size, tuple(probability.tolist()))

        return locate
