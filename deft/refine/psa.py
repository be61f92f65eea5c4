"""PSA: walk class maps over an image along learned affinities (Ahn and Kwak, 2018, arXiv:1803.10464).

Labels that are sure are read off the seeds, a network learns from them which cells look as if they belonged together,
and a random walk spreads the seeds, and a background map with them, over those.

Differs from the authors' code in the backbone (:mod:`deft.refine.psa_network`); in the labels of cells, for which
they average the CRF's probabilities over a cell and this takes the label that more than half of its pixels have; in
counting all pairs of a grid, where they leave out first cells near the border; in a walk that takes its steps one by
one (the same numbers, :mod:`deft.refine.random_walk`), more of them on large images and fewer on small ones; in
clipping gradients; and in the form of the result, see :class:`PsaRefine`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from deft.backbone import Backbone, from_spec
from deft.contracts import BACKGROUND, IGNORE, InputError, Sample, SeedMaps
from deft.engine.fit import Plan
from deft.engine.infer import device
from deft.engine.layout import channels_last
from deft.engine.optimise import Sgd
from deft.engine.precision import EXACT
from deft.engine.reading import Examples
from deft.engine.workshop import Workshop, learn, make_labels, sure_of_something
from deft.refine.crf import DenseCrf, dense_crf, unary_from_probabilities
from deft.refine.labels import mask_of_places, upsample_seeds
from deft.refine.psa_network import AffinityNetwork
from deft.refine.random_walk import random_walk, steps_for

SEED_STRIDE = 4


@dataclass(frozen=True)
class AffinityLabels:
    """Masks of what is sure: objects, background, and 255 for the rest. Called with an image and its seeds.

    The background scores ``(1 - largest map) ** alpha``. A pixel is an object where the CRF keeps its class against a
    background of low alpha, which is strong, and background where the CRF keeps it at a high alpha, where it is weak.
    """

    alpha_low: float = 4.0
    """Of the background that a sure object has to beat (the authors' code; the paper has 4 too)."""
    alpha_high: float = 32.0
    """Of the background that beats every class where the background is sure (the authors' code; the paper has 24)."""
    crf: DenseCrf = field(default_factory=lambda: DenseCrf(bilateral_sxy=80.0, bilateral_srgb=13.0))
    """The CRF; it starts from the scores as they are."""

    def __post_init__(self) -> None:
        """Refuse a strong background that is the weaker one."""
        if not 0 < self.alpha_low <= self.alpha_high:
            raise InputError(
                "expected refine.labels.alpha_low above 0 and refine.labels.alpha_high not below it, got "
                f"{self.alpha_low} and {self.alpha_high}"
            )

    def __call__(self, image: NDArray[np.uint8], seeds: SeedMaps) -> NDArray[np.uint8]:
        """Mask (H, W) of an RGB image (H, W, 3): 0 background, k + 1 for class k, 255 unsure."""
        if not seeds.classes:
            return np.full(seeds.size, BACKGROUND, dtype=np.uint8)
        maps = upsample_seeds(seeds, SEED_STRIDE)
        scores = torch.stack([with_background(maps, alpha) for alpha in (self.alpha_low, self.alpha_high)])
        low, high = dense_crf(unary_from_probabilities(scores), image, self.crf).argmax(dim=1)
        mask = mask_of_places(low, seeds.classes)
        mask[(low == 0).cpu().numpy()] = IGNORE
        mask[(high == 0).cpu().numpy()] = BACKGROUND
        return mask


@dataclass(frozen=True)
class Psa:
    """Settings of PSA; the defaults are the authors' code."""

    labels: AffinityLabels = field(default_factory=AffinityLabels)
    """What the network learns from."""
    plan: Plan = field(
        default_factory=lambda: Plan(epochs=8, min_steps=120, batch=8, optimiser=Sgd(lr=0.1, momentum=0.0, decay=5e-4))
    )
    """Training of the network."""
    crop: float = 0.9
    """Side of the training crop as a multiple of the images' typical long side (448 for VOC's 500 pixels, PSA's)."""
    flip: bool = True
    jitter: float = 0.3
    """Strength of the colour jitter in training."""
    stride: int = 8
    """Output stride of the network, whatever the classifier's is; one that the backbone has or can be dilated to."""
    radius: int = 5
    """Pairs of cells closer than this are learned from and walked between."""
    beta: float = 8.0
    """Sharpens affinities before the walk."""
    steps: int = 256
    """Steps of the walk on images of 500 pixels (2^8); others take ``walk_steps`` of them."""
    alpha: float = 16.0
    """The background that walks with the classes scores ``(1 - largest map) ** alpha``."""
    background: float = 0.5
    """Share of class and background that a class has to exceed; 0.5 is the argmax of the paper."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained or walked."""
        if self.crop <= 0 or not 0 <= self.jitter <= 1:
            raise InputError(
                f"expected refine.crop above 0 and refine.jitter in 0 to 1, got {self.crop} and {self.jitter}"
            )
        if self.radius < 2 or self.beta <= 0 or self.steps < 1 or self.alpha <= 0:
            raise InputError(
                "expected refine.radius of at least 2, refine.beta and refine.alpha above 0, refine.steps of at least "
                f"1, got {self.radius}, {self.beta}, {self.alpha} and {self.steps}"
            )

    @property
    def learning(self) -> tuple[object, ...]:
        """The settings that training depends on; the others are the walk's and can be changed without training."""
        return (self.labels, self.plan, self.crop, self.flip, self.jitter, self.stride, self.radius)

    def walk_steps(self, side: int) -> int:
        """Steps for images of that long side, in pixels."""
        return steps_for(self.steps, side)

    def network(self, backbone: Backbone) -> AffinityNetwork:
        """The untrained network on a copy of a backbone, at this stride.

        Raises:
            InputError: the backbone cannot be dilated to it.
        """
        own = from_spec({**backbone.spec(), "stride": self.stride})
        own.load_state_dict(backbone.state_dict())
        return AffinityNetwork(own, radius=self.radius)

    def prepare(self, workshop: Workshop) -> Callable[[Sample, SeedMaps], SeedMaps]:
        """Make labels and train the network, as far as that is not done, and return the walk of one image.

        Raises:
            InputError: the labels hold no object at all, or the backbone has no such stride.
        """
        torch.manual_seed(workshop.seed)
        network = self.network(workshop.backbone)

        def examples() -> Examples:
            paths = make_labels(workshop, self.labels, workshop.seeds)
            useful = sure_of_something(paths, "raise refine.labels.alpha_low")
            return workshop.crops(paths, useful, crop=self.crop, scale=(1.0, 1.0), flip=self.flip, jitter=self.jitter)

        learn(workshop, network, examples, self.plan, "affinities")
        channels_last(network).to(device()).eval()
        refine = PsaRefine(network, self, self.walk_steps(workshop.side), workshop.precision)
        return lambda sample, seeds: refine(sample.image, seeds)


@dataclass(frozen=True)
class PsaRefine:
    """Seeds to refined maps, one image at a time.

    The paper ends with the argmax over the classes and the background that walked with them, and has no threshold. To
    keep maps that a threshold can be swept over, a class map here is its share of itself and the background,
    ``class / (class + background)``: above 0.5 where the class beats the background, and the largest share is that of
    the largest class, so that thresholding at 0.5 is the argmax.
    """

    network: AffinityNetwork
    """Trained, in eval mode; its device does the work."""
    settings: Psa
    steps: int
    """Of the walk."""
    precision: str = EXACT
    """Of the network; the walk is float32."""

    def __call__(self, image: NDArray[np.uint8], seeds: SeedMaps) -> SeedMaps:
        """Refine the seeds of one image.

        Args:
            image: RGB, (H, W, 3), any size.
            seeds: maps (P, ., .) on the stride-4 grid.

        Returns:
            Maps (P, h, w) in [0, 1] on the same grid.
        """
        if not seeds.classes:
            return seeds
        where = self.network.join.weight.device
        stride = self.network.backbone.stride
        view = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(where)
        affinities = self.network.affinities(view, self.precision)
        maps = upsample_seeds(seeds, SEED_STRIDE).to(where)
        scores = F.avg_pool2d(with_background(maps, self.settings.alpha), stride, ceil_mode=True)
        walked = random_walk(scores, affinities, self.settings.radius, beta=self.settings.beta, steps=self.steps)
        fine = F.interpolate(walked[None], scale_factor=float(stride), mode="bilinear", align_corners=False)[0]
        height, width = seeds.size
        shares = share_of_classes(fine[:, :height:SEED_STRIDE, :width:SEED_STRIDE])
        return replace(seeds, maps=shares.to(seeds.maps.device))


def with_background(maps: Tensor, alpha: float) -> Tensor:
    """Maps (P, H, W) in [0, 1] behind a map of the background, ``(1 - largest) ** alpha``: (P + 1, H, W)."""
    return torch.cat([(1 - maps.amax(dim=0, keepdim=True)).clamp(min=0) ** alpha, maps])


def share_of_classes(scores: Tensor) -> Tensor:
    """Share of each class of the sum of its score and the background's, 0 where both are 0.

    Args:
        scores: background first, non-negative, (P + 1, h, w).

    Returns:
        (P, h, w) in [0, 1].
    """
    total = scores[1:] + scores[:1]
    return scores[1:] / torch.where(total > 0, total, 1)
