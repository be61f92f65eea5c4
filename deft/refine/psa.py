"""PSA: propagate class maps along learned affinities by a random walk (Ahn and Kwak, 2018, arXiv:1803.10464).

Confident labels are derived from the seeds, a network is trained on them to predict affinities between cells, and a
random walk propagates the seeds, together with a background map, along these.

Differs from the authors' code in the backbone (:mod:`deft.refine.psa_network`); in the labels of cells, for which the
authors average the CRF's probabilities over a cell and here the label of more than half of its pixels is taken; in
using all pairs of a grid, where the authors leave out first cells near the border; in applying the random walk step by
step (with the same result, :mod:`deft.refine.random_walk`), with more steps on large images and fewer on small ones; in
clipping gradients; and in the form of the result, see :class:`PsaRefine`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from deft.backbone import Backbone, from_spec
from deft.contracts import BACKGROUND, IGNORE, InputError, Sample, SeedMaps
from deft.engine.infer import device
from deft.engine.layout import channels_last
from deft.engine.method import MethodContext, confident_indices, learn, make_labels, statistics_of
from deft.engine.optimise import Sgd
from deft.engine.plan import Plan
from deft.engine.precision import EXACT
from deft.engine.reading import Examples
from deft.ranges import Factor, Multiple, Range, Share, check_ranges
from deft.refine.crf import DenseCrf, dense_crf, unary_from_probabilities
from deft.refine.psa_network import AffinityNetwork
from deft.refine.random_walk import random_walk, steps_for
from deft.seedmaps import STRIDE, mask_values, upsample
from deft.thresholds import AUTO, MapStatistics, Threshold, check_threshold, choose, choose_confident, needed, number

Alpha = float | Literal["auto"]
"""An exponent above 0, or ``auto`` for one that is chosen from the seeds."""


@dataclass(frozen=True)
class AffinityLabels:
    """Confident labels of PSA: objects, background, and 255 for other pixels. Called with an image and its seeds.

    The background score is ``(1 - largest map) ** alpha``. A pixel is labelled as an object if the CRF assigns it a
    class at a low alpha, which makes the background strong, and as background if the CRF assigns it to the background
    at a high alpha, which makes the background weak.
    """

    alpha_low: Alpha = AUTO
    """Exponent of the background for confident objects (paper and authors' code: 4); ``auto`` chooses it from the
    seeds, see :func:`alpha_of`."""
    alpha_high: Alpha = AUTO
    """Exponent of the background for confident background (authors' code: 32, paper: 24); ``auto`` chooses it from the
    seeds."""
    crf: DenseCrf = field(default_factory=lambda: DenseCrf(bilateral_sxy=80.0, bilateral_srgb=13.0))
    """The CRF; its unary energies are those of the scores themselves."""

    def __post_init__(self) -> None:
        """Refuse exponents that are not positive or in the wrong order."""
        low, high = (1.0 if alpha == AUTO else number(alpha) for alpha in (self.alpha_low, self.alpha_high))
        if min(low, high) <= 0 or (AUTO not in (self.alpha_low, self.alpha_high) and low > high):
            raise InputError(
                "expected refine.labels.alpha_low above 0 and refine.labels.alpha_high of at least that, or auto, got "
                f"{self.alpha_low} and {self.alpha_high}"
            )

    @property
    def open(self) -> bool:
        """Whether an alpha is ``auto`` and has not been chosen yet."""
        return AUTO in (self.alpha_low, self.alpha_high)

    def settled(self, statistics: MapStatistics) -> AffinityLabels:
        """The same settings with ``auto`` replaced by alphas chosen from statistics of the seeds.

        Raises:
            InputError: the seeds have one value everywhere.
        """
        if not self.open:
            return self
        objects, background = choose_confident(statistics)
        low = alpha_of(objects) if self.alpha_low == AUTO else number(self.alpha_low)
        high = alpha_of(background) if self.alpha_high == AUTO else number(self.alpha_high)
        # An alpha given as a number is kept; a chosen one is moved if the two would be in the wrong order.
        low = min(low, high) if self.alpha_low == AUTO else low
        return replace(self, alpha_low=low, alpha_high=max(low, high))

    def __call__(self, image: NDArray[np.uint8], seeds: SeedMaps) -> NDArray[np.uint8]:
        """Mask (H, W) of an RGB image (H, W, 3): 0 background, k + 1 for class k, 255 not confident."""
        if not seeds.classes:
            return np.full(seeds.size, BACKGROUND, dtype=np.uint8)
        maps = upsample(seeds)
        alphas = number(self.alpha_low), number(self.alpha_high)
        scores = torch.stack([with_background(maps, alpha) for alpha in alphas])
        low, high = dense_crf(unary_from_probabilities(scores), image, self.crf).argmax(dim=1)
        mask: NDArray[np.uint8] = mask_values(seeds.classes)[low.cpu().numpy()]
        mask[(low == 0).cpu().numpy()] = IGNORE
        mask[(high == 0).cpu().numpy()] = BACKGROUND
        return mask


@dataclass(frozen=True)
class Psa:
    """Settings of PSA; defaults are those of the authors' code, except alphas, which are chosen from the maps."""

    labels: AffinityLabels = field(default_factory=AffinityLabels)
    """Confident labels on which the network is trained."""
    plan: Plan = field(
        default_factory=lambda: Plan(epochs=8, min_steps=120, batch=8, optimiser=Sgd(lr=0.1, momentum=0.0, decay=5e-4))
    )
    """Training of the network."""
    crop: Multiple = 0.9
    """Side of the training crop as a multiple of the images' typical long side (448 for VOC's 500 pixels, PSA's)."""
    flip: bool = True
    jitter: Share = 0.3
    """Strength of the colour jitter in training."""
    stride: Annotated[int, Range(1, 64)] = 8
    """Output stride of the network, independent of the classifier's; one that the backbone has or can be dilated to."""
    radius: Annotated[int, Range(2, 256)] = 5
    """Maximum distance of the pairs of cells used in training and in one step of the random walk (exclusive)."""
    beta: Factor = 8.0
    """Exponent of the affinities in the random walk; larger values sharpen them."""
    steps: Annotated[int, Range(1, 1_000_000)] = 256
    """Number of steps on images of 500 pixels (2^8); see :meth:`walk_steps` for others."""
    alpha: Alpha = AUTO
    """Exponent of the background map ``(1 - largest map) ** alpha`` that is propagated with the classes (authors' code:
    16); ``auto`` chooses it from the seeds, see :func:`alpha_of`."""
    background: Threshold = AUTO
    """Background threshold of the refined maps, see :class:`PsaRefine`: 0.5 is the argmax of the paper, ``auto``
    chooses it from the maps."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_threshold("refine.background", self.background)
        check_ranges(self)
        if self.alpha != AUTO and number(self.alpha) <= 0:
            raise InputError(f"expected refine.alpha above 0, or auto, got {self.alpha}")

    @property
    def learning(self) -> tuple[object, ...]:
        """The settings that training depends on; those of the random walk can be changed without training again."""
        return (self.labels, self.plan, self.crop, self.flip, self.jitter, self.stride, self.radius)

    def walk_steps(self, side: int) -> int:
        """Number of steps for images of a given long side, in pixels."""
        return steps_for(self.steps, side)

    def network(self, backbone: Backbone) -> AffinityNetwork:
        """The untrained network on a copy of a backbone, at :attr:`stride`.

        Raises:
            InputError: the backbone cannot be dilated to this stride.
        """
        own = from_spec({**backbone.spec(), "stride": self.stride})
        own.load_state_dict(backbone.state_dict())
        return AffinityNetwork(own, radius=self.radius)

    def prepare(self, context: MethodContext) -> Callable[[Sample, SeedMaps], SeedMaps]:
        """Make labels and train the network, unless that is done, and return the refinement of one image.

        Raises:
            InputError: no confident label is an object, or the backbone has no such stride.
        """
        torch.manual_seed(context.seed)
        network = self.network(context.backbone)

        def examples() -> Examples:
            paths = make_labels(context, self.labels, context.seeds)
            useful = confident_indices(paths, "raise refine.labels.alpha_low", context.remedy)
            return context.crops(paths, useful, crop=self.crop, scale=(1.0, 1.0), flip=self.flip, jitter=self.jitter)

        learn(context, network, examples, self.plan, "affinities")
        channels_last(network).to(device()).eval()
        settings = self
        if self.alpha == AUTO:
            found = statistics_of(context, context.seeds)
            choice = needed(choose(found), "refine.alpha", found.images, context.remedy)
            settings = replace(self, alpha=alpha_of(choice.threshold))
        refine = PsaRefine(network, settings, self.walk_steps(context.side), context.precision)
        return lambda sample, seeds: refine(sample.image, seeds)


@dataclass(frozen=True)
class PsaRefine:
    """Refines the seeds of one image at a time.

    The paper takes the argmax over the propagated class and background maps and has no threshold. To obtain maps to
    which a threshold can be applied, a refined map here is ``class / (class + background)``: it is above 0.5 where the
    class exceeds the background, and the largest map is that of the largest class, so that a threshold of 0.5 gives the
    argmax.
    """

    network: AffinityNetwork
    """Trained network in eval mode; refinement runs on its device."""
    settings: Psa
    steps: int
    """Number of steps of the random walk."""
    precision: str = EXACT
    """Numerical precision of the network; the maps are float32."""

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
        device = self.network.join.weight.device
        stride = self.network.backbone.stride
        view = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(device)
        affinities = self.network.affinities(view, self.precision)
        maps = upsample(seeds).to(device)
        scores = F.avg_pool2d(with_background(maps, number(self.settings.alpha)), stride, ceil_mode=True)
        propagated = random_walk(scores, affinities, self.settings.radius, beta=self.settings.beta, steps=self.steps)
        fine = F.interpolate(propagated[None], scale_factor=float(stride), mode="bilinear", align_corners=False)[0]
        height, width = seeds.size
        shares = share_of_classes(fine[:, :height:STRIDE, :width:STRIDE])
        return replace(seeds, maps=shares.to(seeds.maps.device))


def alpha_of(threshold: float) -> float:
    """The alpha for which a map equals its background ``(1 - map) ** alpha`` at a threshold.

    So a pixel belongs to the class if its map is above the threshold, as with a constant background score: a threshold
    of 0.5 corresponds to alpha 1, 0.28 to alpha 4, 0.12 to alpha 16.

    Args:
        threshold: in [0, 1); values below 0.01 count as 0.01, since alpha is infinite at 0.
    """
    at = max(threshold, 0.01)
    return math.log(at) / math.log(1 - at)


def with_background(maps: Tensor, alpha: float) -> Tensor:
    """Maps (P, H, W) in [0, 1], preceded by the background map ``(1 - largest) ** alpha``: (P + 1, H, W)."""
    return torch.cat([(1 - maps.amax(dim=0, keepdim=True)).clamp(min=0) ** alpha, maps])


def share_of_classes(scores: Tensor) -> Tensor:
    """Score of each class divided by the sum of its score and that of the background, 0 where both are 0.

    Args:
        scores: non-negative scores, background first, (P + 1, h, w).

    Returns:
        (P, h, w) in [0, 1].
    """
    total = scores[1:] + scores[:1]
    return scores[1:] / torch.where(total > 0, total, 1)
