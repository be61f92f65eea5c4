"""Class activation maps over scales and flips (Zhou et al., 2016, arXiv:1512.04150; as used by IRN, arXiv:1904.05044).

Works with any head: a head defines its activation, and how a sum over scales becomes maps in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft.contracts import InputError, Sample, SeedMaps
from deft.engine.infer import device
from deft.engine.method import Localiser, MethodContext
from deft.engine.precision import EXACT, autocast
from deft.ranges import Multiples, Share, check_ranges
from deft.seedmaps import grid
from deft.seeds.views import all_maps, last_map, on_grid, pixels, resize


@dataclass(frozen=True)
class Cam:
    """Multi-scale, flipped class activation maps."""

    scales: Multiples = (0.5, 1.0, 1.5, 2.0)
    """Factors by which the image is resized, IRN's."""
    flip: bool = True
    present: Share = 0.5
    """On images without tags, a class is present if its probability is above this."""

    def __post_init__(self) -> None:
        """Refuse scales that are not positive or lack 1.0."""
        check_ranges(self)
        if 1.0 not in self.scales:
            raise InputError(f"expected seeds.scales including 1.0, at which classes are scored, got {self.scales}")

    @property
    def learning(self) -> None:
        """None: only the classifier is trained."""

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps]:
        """Function that returns the maps of an image for its tags."""
        network = context.classifier.to(device())
        return lambda sample: self(network, sample.image, sample.labels, context.precision)

    @torch.no_grad()
    def __call__(
        self,
        network: Localiser,
        image: NDArray[np.uint8],
        labels: NDArray[np.bool_] | None = None,
        precision: str = EXACT,
    ) -> SeedMaps:
        """Maps of the classes present.

        Args:
            network: a trained classifier, in eval mode.
            image: RGB (H, W, 3).
            labels: multi-hot (K,); None takes the classes that the classifier predicts.
            precision: precision of the backbone, see :mod:`deft.engine.precision`; the head and all sums are float32.

        Returns:
            Maps in [0, 1] on the strided grid, and the classifier's probability of every class.
        """
        size = (image.shape[0], image.shape[1])
        device = next(network.backbone.parameters()).device
        whole = pixels(image, device)
        head = network.head
        total: Tensor | None = None
        logits: list[Tensor] = []
        present = None if labels is None else torch.from_numpy(labels)
        # A head that reads the tags needs those that the classifier finds before its first map.
        scales = sorted(self.scales, key=lambda scale: scale != 1.0) if head.reads_maps else self.scales
        with autocast(precision, device):  # one for all scales: weights are rounded once per image
            for scale in scales:
                view = resize(whole, scale, network.backbone.stride, network.backbone.extra)
                batch = torch.cat([view, view.flip(-1)]) if self.flip else view
                every = all_maps(network.backbone, batch) if head.reads_maps else [last_map(network.backbone, batch)]
                features = every[-1].float()
                with autocast(EXACT, device):
                    if head.reads_maps:
                        if present is None:
                            present = head.logits(features).float().mean(0).sigmoid() > self.present
                        given = [network.backbone.normalise(batch), *every] if head.with_images else every
                        activation = head.activation_of_maps([one.float() for one in given], present.to(device)).float()
                    else:
                        activation = head.activation(features).float()
                    if self.flip:
                        activation = activation[:1] + activation[1:].flip(-1)
                    seen = (view.shape[-2], view.shape[-1])
                    branches = on_grid(activation[0], seen, size, network.backbone.extra)
                    total = branches if total is None else total + branches
                    if scale == 1.0:
                        logits.append(head.logits(features).float().mean(0))
        if total is None:
            raise AssertionError("scales are never empty")
        probability = logits[0].sigmoid().cpu()
        chosen = np.flatnonzero(labels) if labels is not None else (probability > self.present).nonzero().flatten()
        classes = tuple(int(index) for index in chosen)
        maps = head.combine(total)[list(classes)] if classes else total.new_zeros(0, *grid(size))
        return SeedMaps(classes, maps.clamp(0, 1).cpu(), size, tuple(probability.tolist()))
