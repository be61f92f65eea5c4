"""AdvCAM: class maps summed over gradient ascent on the image (Lee, Kim and Yoon, 2021, arXiv:2103.08896).

The image is changed step by step so that the score of one class rises, the reverse of an adversarial attack, and the
class maps of all steps are summed: less discriminative parts of the object become active. A regularisation keeps the
map from changing where it is already strong, so that weak regions catch up.

Step sizes and loss terms are those of the released code, which processes one class at a time; here each class of an
image has its own copy of image and mirror image, and the copies form one batch. They share only the weights, since
batch norm is in eval mode, so their gradients are independent and the maps are the same. Other differences:

* At scales below 1 the released code halves the iterations and doubles the weight of their maps, but never resets the
  weight, so that all scales are doubled and the small one counts half. ``small_weight=1`` reproduces this.
* Its map is Grad-CAM's, ``relu(sum_k a_k z_k)`` with a_k the gradient of the summed map of the class by feature k,
  summed over the cells of a view and divided by the number of positive gradients in both views. With a linear head
  the gradient is w_k on the s_v cells where the map of view v is positive and 0 elsewhere, so that
  a_k = w_k s_v / (S C+), with S the sum of s_v over the views and C+ the number of positive w_k. The map therefore
  *is* the head's own activation, ``relu(w . z)``, times a number, and it is computed as such, which also works for
  other heads. The factor 1 / C+ scales the regularisation and is kept there; the share s_v / S of a view weights all
  branches of its activation.
* Views are resized as for :class:`deft.seeds.cam.Cam`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft.backbone import Backbone
from deft.contracts import Sample, SeedMaps
from deft.engine.fused import fused
from deft.engine.head import HeadModule
from deft.engine.infer import device
from deft.engine.method import Localiser, MethodContext
from deft.ranges import Factor, Multiples, Range, Share, Weight, check_ranges
from deft.seedmaps import grid
from deft.seeds.views import on_grid, pixels, resize


@dataclass
class Fused:
    """A classifier with a faster backbone, see :func:`deft.engine.fused.fused`."""

    backbone: Backbone
    head: HeadModule


@dataclass(frozen=True)
class AdvCam:
    """Settings of anti-adversarial climbing; the defaults are the released code's."""

    scales: Multiples = (0.5, 1.0, 1.5, 2.0)
    """Factors by which the image is resized; the ascent starts from the original image at each scale."""
    flip: bool = True
    """Also process the mirror image."""
    iterations: Annotated[int, Range(1, 100_000)] = 27
    """Number of maps to sum, the first of which is the plain CAM; half as many at scales below 1."""
    small_weight: Factor = 2.0
    """Weight of the maps at scales below 1, of which there are half as many."""
    step: Factor = 0.08
    """Largest change of a pixel in one step, in units of the normalised image (standard deviations)."""
    threshold: Share = 0.5
    """The map is regularised where it is above this share of its maximum."""
    coefficient: Weight = 7.0
    """Weight of the regularisation; 0 switches it off."""
    rectified: bool = True
    """Maximise the mean of the rectified class map, as the released code does. False maximises the head's logit, as in
    the paper: for a DEFT head f_fg(z_fg), pooled by attention."""
    batch: Annotated[int, Range(1, 65_536)] = 8
    """Number of views per batch at scale 1, and 1 / s^2 times that at scale s, so that memory does not grow with the
    scale; at least the views of one class."""
    present: Share = 0.5
    """On images without tags, a class is present if its probability is above this."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)

    @property
    def learning(self) -> None:
        """None: only the classifier is trained."""

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps]:
        """Function that returns the maps of an image for its tags."""
        network = context.classifier.to(device())
        faster = Fused(fused(network.backbone).requires_grad_(False), network.head)  # only images get gradients
        return lambda sample: self(faster, sample.image, sample.labels)

    def __call__(
        self, network: Localiser, image: NDArray[np.uint8], labels: NDArray[np.bool_] | None = None
    ) -> SeedMaps:
        """Maps of the classes present.

        Args:
            network: a trained classifier, in eval mode.
            image: RGB (H, W, 3).
            labels: multi-hot (K,); None takes the classes that the classifier predicts.

        Returns:
            Maps in [0, 1] on the strided grid, and the classifier's probability of every class.
        """
        return self.together(network, [image], [labels])[0]

    @torch.no_grad()
    def together(
        self,
        network: Localiser,
        images: Sequence[NDArray[np.uint8]],
        labels: Sequence[NDArray[np.bool_] | None],
    ) -> list[SeedMaps]:
        """Maps of several images of one size, whose classes share batches, so that a GPU is fully used.

        Args:
            network: a trained classifier, in eval mode.
            images: RGB (H, W, 3), one or more.
            labels: for each image, multi-hot (K,) or None, as for one image.

        Raises:
            ValueError: the images differ in size.
        """
        size = (images[0].shape[0], images[0].shape[1])
        if any(image.shape[:2] != size for image in images):
            raise ValueError(f"expected images of one size, got {sorted({image.shape[:2] for image in images})}")
        head, device = network.head, next(network.backbone.parameters()).device
        whole = torch.cat([pixels(image, device) for image in images])
        views = self._views(network, whole, 1.0)
        # Row by row, because a batch of several images might not fit into memory.
        scores = [head.logits(network.backbone.features(view)[-1]).float().mean(0) for view in views]
        probability = torch.stack(scores).sigmoid().cpu()
        chosen = [
            np.flatnonzero(own) if own is not None else np.flatnonzero((found > self.present).numpy())
            for own, found in zip(labels, probability, strict=True)
        ]
        rows = [(number, int(index)) for number, own in enumerate(chosen) for index in own]
        at, classes = torch.tensor(rows, dtype=torch.int64, device=device).reshape(-1, 2).unbind(1)
        parts = [self._at_scale(network, whole, at, classes, scale) for scale in self.scales] if rows else []
        total = torch.stack(parts).sum(0) if parts else whole.new_zeros(0, 1, *grid(size))
        return [
            SeedMaps(tuple(own.tolist()), _combined(head, total[at == number], own, len(p)), size, tuple(p.tolist()))
            for number, (own, p) in enumerate(zip(chosen, probability, strict=True))
        ]

    def _views(self, network: Localiser, whole: Tensor, scale: float) -> Tensor:
        """Normalised images (I, 3, H, W) at a scale and, with ``flip``, their mirror images: (I, V, 3, H', W')."""
        view = network.backbone.normalise(resize(whole, scale, network.backbone.stride, network.backbone.extra))
        return torch.stack([view, view.flip(-1)], dim=1) if self.flip else view[:, None]

    def _at_scale(self, network: Localiser, whole: Tensor, at: Tensor, classes: Tensor, scale: float) -> Tensor:
        """Summed activation (R, B, gh, gw) at a scale; row r is for class ``classes[r]`` in image ``at[r]``."""
        views = self._views(network, whole, scale)
        iterations, weight = (max(1, self.iterations // 2), self.small_weight) if scale < 1 else (self.iterations, 1.0)
        rows = max(1, int(self.batch / scale**2) // views.shape[1])
        parts = [
            self.climb(network, views[at[start : start + rows]], classes[start : start + rows], iterations)
            for start in range(0, len(classes), rows)
        ]
        seen, size = (views.shape[-2], views.shape[-1]), (whole.shape[-2], whole.shape[-1])
        return weight * on_grid(torch.cat(parts), seen, size, network.backbone.extra)

    def climb(self, network: Localiser, views: Tensor, classes: Tensor, iterations: int) -> Tensor:
        """Gradient ascent on a batch of independent rows: classes of one image, or of several images of one size.

        Args:
            network: a trained classifier, in eval mode.
            views: normalised images, (R, V, 3, H, W): V is 1, or 2 if the second is the mirror image of the first.
            classes: the class of each row, int64 (R,).
            iterations: number of maps to sum, at least 1.

        Returns:
            The head's activation of the row's class, summed over iterations and over views weighted by their shares,
            with the mirror image mirrored back: (R, B, h, w).
        """
        head = network.head
        x, whole = views, (1, 2, 3, 4)
        total, start = views.new_zeros(()), None
        for left in reversed(range(iterations)):
            with torch.set_grad_enabled(left > 0):
                x = x.detach().requires_grad_(left > 0)
                features = network.backbone.features(x.flatten(0, 1))[-1]
                activation = head.activation(features)
                own = _of_class(activation.transpose(1, 2), classes, x.shape[1])
                on = (own[:, :, 0] > 0).sum((-2, -1))
                seen = _merge(own, on)
                total = total + seen.detach()
                if left == 0:
                    break
                grown = seen[:, 0] * _grad_cam_factor(own[:, :, 0], on, features)
                start = grown.detach() if start is None else start
                held = grown.detach() > self.threshold * grown.detach().amax((-2, -1), keepdim=True)
                change = ((grown - start).abs() * held).sum()
                scores = activation[:, 0].mean((-2, -1)) if self.rectified else head.logits(features)
                (gradient,) = torch.autograd.grad(_ascended(scores, classes) - self.coefficient * change, x)
            x = x.detach()
            largest = gradient.abs().amax(whole, keepdim=True)
            lowest, highest = x.amin(whole, keepdim=True), x.amax(whole, keepdim=True)
            x = (x + self.step * gradient / (largest + 1e-12)).clamp(lowest, highest)
        return total


def _of_class(values: Tensor, classes: Tensor, views: int) -> Tensor:
    """Select from values (R V, K, ...) those of each row's class, (R, V, ...)."""
    rows = torch.arange(len(classes), device=values.device)
    return values.reshape(len(classes), views, *values.shape[1:])[rows, :, classes]


def _merge(own: Tensor, on: Tensor) -> Tensor:
    """Sum (R, V, B, h, w) over views, weighted by their shares of the active cells ``on`` (R, V): (R, B, h, w)."""
    share = (on + 1e-6) / (on + 1e-6).sum(1, keepdim=True)
    weighted = own * share.to(own)[:, :, None, None, None]
    return weighted[:, 0] + weighted[:, 1].flip(-1) if own.shape[1] == 2 else weighted[:, 0]


def _grad_cam_factor(own: Tensor, on: Tensor, features: Tensor) -> Tensor:
    """Factor that turns an activation into Grad-CAM's map, 1 / C+ for a linear head: (R, 1, 1)."""
    (gradient,) = torch.autograd.grad(own.sum(), features, retain_graph=True)
    positive = (gradient > 0).reshape(len(own), -1).sum(1)
    factor = on.sum(1) / positive.clamp(min=1)
    return factor.to(own)[:, None, None]


def _ascended(scores: Tensor, classes: Tensor) -> Tensor:
    """Objective of the ascent: y_c minus the sum of y_k over other classes, summed over rows and views, of (R V, K).

    Other classes count only where they are positive: rectified scores always are, and pushing the logits of absent
    classes further down would outweigh everything else.
    """
    own = _of_class(scores, classes, len(scores) // len(classes))
    return (own + own.relu()).sum() - scores.relu().sum()


def _combined(head: HeadModule, total: Tensor, classes: NDArray[np.intp], count: int) -> Tensor:
    """Maps (P, h, w) in [0, 1] of one image's P of ``count`` classes, from their sums (P, B, h, w)."""
    if not len(classes):
        return total.new_zeros(0, *total.shape[-2:]).float().cpu()
    # A head combines all classes at once but independently; those that are absent are not used.
    every = total.new_zeros(total.shape[1], count, *total.shape[-2:])
    every[:, classes] = total.transpose(0, 1)
    return head.combine(every)[classes].float().clamp(0, 1).cpu()
