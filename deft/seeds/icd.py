"""ICD: one direction inside each class parts its object from the rest (Fan et al., CVPR 2020).

*Learning Integral Objects with Intra-Class Discriminator for Weakly-Supervised Semantic Segmentation*. A classifier
looks for what tells classes apart, and leaves out parts of an object that many classes share. Within the images of one
class, cells differ most between the object and its surroundings: the first principal direction of their features
splits them, and the class map only says which side is the object.

The published code finds the direction by gradient ascent on the variance, with batch norm before it and w of length 1.
That is the first principal component of standardised features, which is computed here from the sums of features and of
their products over the images of one class, in one pass.

Differs from the published code: features are standardised within each class, so that the direction is about the mean of
the class and not about that of all classes; the sides are told apart by the covariance of score and class map, not by
the means of the map on both sides; and the published second branch, a network that is trained on the signs averaged
over superpixels, is left out: scores are summed over scales and mirror images instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deft.artifacts import load_tensors, save_tensors, told_damaged
from deft.contracts import Sample, SeedMaps
from deft.engine import ranks
from deft.engine.head import normalise
from deft.engine.infer import device, for_each
from deft.engine.method import Localiser, MethodContext
from deft.engine.precision import EXACT, autocast
from deft.ranges import Multiples, Range, check_ranges
from deft.seedmaps import grid
from deft.seeds.views import last_map, on_grid, pixels, resize

BLOCK = 256
"""Rows of the matrix of products that are computed at a time."""
KEPT = 16
"""Images whose products are summed in float32 before they are added to those in float64."""


@dataclass(frozen=True)
class Icd:
    """Settings of ICD."""

    scales: Multiples = (0.5, 1.0, 1.5, 2.0)
    """Factors by which the image is resized; scores are summed over them."""
    flip: bool = True
    """Add the scores of the mirror image."""
    iterations: Annotated[int, Range(1, 100_000)] = 1000
    """Most power iterations for the direction of a class; they end earlier once it no longer turns."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)

    @property
    def learning(self) -> tuple[object, ...]:
        """What the directions depend on."""
        return (self.iterations,)

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps]:
        """Measure the direction of each class, unless that is done, and return the function of one image."""
        network = context.classifier.to(device())
        path = context.folder / "model.safetensors"
        if not ranks.agreed(path.exists()):
            with ranks.first_alone() as mine:
                if mine:
                    save_tensors(path, self._measure(network, context), {"made_by": context.made_by})
        tensors, _ = load_tensors(path)
        with told_damaged(path):
            weight, offset = tensors["weight"].to(device()), tensors["offset"].to(device())
        return lambda sample: self.maps(network, sample, weight, offset, context.precision)

    def _measure(self, network: Localiser, context: MethodContext) -> dict[str, Tensor]:
        """Directions of all classes, ``weight`` (K, C) and ``offset`` (K,); class by class, to bound memory."""
        labels, channels = context.data.labels, network.backbone.channels[-1]
        weight, offset = torch.zeros(labels.shape[1], channels), torch.zeros(labels.shape[1])
        for k in range(labels.shape[1]):
            moments = Moments(channels)

            def work(index: int, sample: Sample, k: int = k, moments: Moments = moments) -> None:
                view = resize(pixels(sample.image, device()), 1.0, network.backbone.stride, network.backbone.extra)
                with autocast(context.precision, view.device):
                    features = last_map(network.backbone, view).float()
                activation = normalise(network.head.activation(features).float()[0, 0])[k]
                moments.add(features[0].flatten(1), activation.flatten())

            indices = images_of(labels, k)
            # One thread: sums in another order would differ in their last bits from run to run.
            for_each(context.data, indices, work, title=f"directions ({context.data.classes[k]})", threads=1)
            if indices:
                weight[k], offset[k] = moments.direction(self.iterations)
        return {"weight": weight, "offset": offset}

    @torch.no_grad()
    def maps(
        self, network: Localiser, sample: Sample, weight: Tensor, offset: Tensor, precision: str = EXACT
    ) -> SeedMaps:
        """Maps of the tags of one image.

        Args:
            network: the classifier, in eval mode.
            sample: image and tags.
            weight: direction of each class, (K, C).
            offset: score of the mean features of each class, (K,).
            precision: numerical precision of the backbone.

        Returns:
            Maps in [0, 1] on the strided grid, and the classifier's probability of every class.
        """
        size = (sample.image.shape[0], sample.image.shape[1])
        where, head = weight.device, network.head
        whole = pixels(sample.image, where)
        classes = tuple(int(index) for index in np.flatnonzero(sample.labels))
        total = activation = None
        once = _features(
            network, resize(whole, 1.0, network.backbone.stride, network.backbone.extra), self.flip, precision
        )
        probability = tuple(head.logits(once).float().mean(0).sigmoid().cpu().tolist())
        if not classes:
            return SeedMaps((), torch.zeros(0, *grid(size)), size, probability)
        for scale in self.scales:
            view = resize(whole, scale, network.backbone.stride, network.backbone.extra)
            seen = (view.shape[-2], view.shape[-1])
            features = once if scale == 1.0 else _features(network, view, self.flip, precision)
            scores = on_grid(_merged(cell_scores(features, weight, offset)), seen, size, network.backbone.extra)
            active = on_grid(_merged(head.activation(features).float()), seen, size, network.backbone.extra)
            total = scores if total is None else total + scores
            activation = active if activation is None else activation + active
        if total is None or activation is None:
            raise AssertionError("scales are never empty")
        present = list(classes)
        cam = head.combine(activation)[present]
        found = without_conflicts(total[present], cam)
        measured = (weight[present] != 0).any(dim=1)
        maps = torch.where(measured[:, None, None], normalise(found), cam)
        return SeedMaps(classes, maps.clamp(0, 1).cpu(), size, probability)


class Moments:
    """Sums over the cells of images of one class, from which its direction follows.

    Features are taken around the mean of the first image, so that products in float32 are exact enough for a variance;
    of the symmetric matrix of products only the blocks on and above the diagonal are computed.
    """

    def __init__(self, channels: int) -> None:
        """Begin with no cells of ``channels`` features."""
        self.cells = 0
        self.centre = torch.zeros(channels)
        self.features = torch.zeros(channels, dtype=torch.float64)
        self.products = torch.zeros(channels, channels, dtype=torch.float64)
        self.active = torch.zeros((), dtype=torch.float64)
        self.weighted = torch.zeros(channels, dtype=torch.float64)
        self._recent = torch.zeros(channels, channels)
        self._images = 0

    def add(self, features: Tensor, activation: Tensor) -> None:
        """Add the cells of an image: features (C, n), and the class map at each, (n,)."""
        values, active = features.float().cpu(), activation.float().cpu()
        if not self.cells:
            self.centre = values.mean(dim=1)
        values = values - self.centre[:, None]
        self.cells += values.shape[1]
        self.features += values.sum(dim=1, dtype=torch.float64)
        self.active += active.sum(dtype=torch.float64)
        self.weighted += values @ active
        for first in range(0, len(values), BLOCK):
            rows = values[first : first + BLOCK]
            self._recent[first : first + BLOCK, first:].addmm_(rows, values[first:].T)
        self._images += 1
        if self._images % KEPT == 0:
            self._settle()

    def _settle(self) -> None:
        """Add what was summed in float32: over many images the small summands would be lost."""
        self.products += self._recent
        self._recent.zero_()

    def direction(self, iterations: int) -> tuple[Tensor, Tensor]:
        """The first principal direction of standardised features, towards where the class map is high.

        Args:
            iterations: most power iterations.

        Returns:
            Weight float32 (C,) and offset (): ``weight . z - offset`` is the score of a cell z, with mean 0 and
            variance 1 over the cells. Channels that are constant have no weight; if all are, the weight is 0.
        """
        self._settle()
        products = self.products.triu() + self.products.triu(1).T
        apart = self.features / self.cells
        covariance = products / self.cells - torch.outer(apart, apart)
        variance, mean = covariance.diagonal().clamp(min=0), self.centre + apart
        deviation = variance.sqrt()
        varies = deviation > 1e-6 * (variance + mean * mean).sqrt()
        scale = torch.where(varies, 1 / deviation.clamp(min=1e-300), 0)
        correlation = covariance * torch.outer(scale, scale)
        towards = (self.weighted / self.cells - apart * (self.active / self.cells)) * scale
        vector = first_eigenvector(correlation, towards, iterations)
        spread = vector @ correlation @ vector
        if spread <= 0:
            return torch.zeros(len(mean)), torch.zeros(())
        sign = -1.0 if float(vector @ towards) < 0 else 1.0
        weight = sign * vector * scale / spread.sqrt()
        return weight.float(), (weight @ mean).float()


def first_eigenvector(matrix: Tensor, start: Tensor, iterations: int) -> Tensor:
    """Eigenvector of the largest eigenvalue of a symmetric positive matrix (C, C), of length 1, by power iteration.

    Args:
        matrix: float64.
        start: where to begin, (C,); ones are added to it, so that it is never 0 nor, but by chance, orthogonal.
        iterations: most of them; it ends once the vector no longer turns.
    """
    vector = F.normalize(F.normalize(start, dim=0) + 1 / len(start) ** 0.5, dim=0)
    for _ in range(iterations):
        found = F.normalize(matrix @ vector, dim=0)
        turned = float((found - vector).norm())
        vector = found
        if turned < 1e-12:
            break
    return vector


def images_of(labels: np.ndarray[tuple[int, int], np.dtype[np.bool_]], k: int) -> list[int]:
    """Indices of the images tagged with class k alone; of all that are tagged with it if it is never alone.

    Args:
        labels: multi-hot, (N, K).
        k: index of the class.
    """
    alone = np.flatnonzero(labels[:, k] & (labels.sum(axis=1) == 1))
    return [int(index) for index in (alone if len(alone) else np.flatnonzero(labels[:, k]))]


def cell_scores(features: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
    """Score of each cell along the direction of each class, (N, K, h, w), of features (N, C, h, w)."""
    return F.conv2d(features, weight[:, :, None, None]) - offset.view(1, -1, 1, 1)


def without_conflicts(scores: Tensor, cam: Tensor) -> Tensor:
    """Positive scores, each cell for one class: that with the highest class map among those with a positive score.

    Args:
        scores: of the classes present, (P, h, w), positive on the object.
        cam: their class maps in [0, 1], (P, h, w).
    """
    positive = scores.relu()
    chosen = torch.where(scores > 0, cam, -1.0).argmax(dim=0, keepdim=True)
    own = torch.arange(len(scores), device=scores.device).view(-1, 1, 1) == chosen
    return positive * own


def _features(network: Localiser, view: Tensor, flip: bool, precision: str) -> Tensor:
    """Last feature map of a view and, with ``flip``, of its mirror image, float32."""
    batch = torch.cat([view, view.flip(-1)]) if flip else view
    with autocast(precision, view.device):
        return last_map(network.backbone, batch).float()


def _merged(values: Tensor) -> Tensor:
    """Values of a view plus those of its mirror image, mirrored back: (1 or 2, ...) to (...)."""
    return values[0] + values[1].flip(-1) if len(values) == 2 else values[0]
