"""AdvCAM: maps that grow while the image climbs (Lee, Kim and Yoon, 2021, arXiv:2103.08896).

The image is changed step by step so that the score of one class rises, the reverse of an adversarial attack, and its
class map is summed on the way: parts of the object that said little at first join in. A regularisation holds the map
where it is strong already, so that the rest catches up.

Sizes of steps and terms are those of the released code. It climbs one class at a time; here each class of an image has
its own copy of image and mirror image, and the copies go through the network as one batch. They share nothing but the
weights, since batch norm is in eval mode, so their gradients come apart and the maps are the same. What else differs:

* At scales below 1 the released code takes half the iterations and doubles their weight, but never sets the weight
  back, so that every scale is doubled and the small one counts half. ``small_weight=1`` is what it does.
* Its map is Grad-CAM's, ``relu(sum_k a_k z_k)`` with a_k the gradient of the summed map of the class by feature k,
  summed over the cells of a view and divided by the number of positive gradients in both views. Under a linear head
  the gradient is w_k on the s_v cells where the map of view v is positive and 0 elsewhere, so that
  a_k = w_k s_v / (S C+), with S the sum of s_v over the views and C+ the number of positive w_k. The map therefore
  *is* the head's own activation, ``relu(w . z)``, times a number, and it is computed as such: other heads can be
  climbed too. The factor 1 / C+ scales the regularisation and is kept there; the share s_v / S of a view weighs all
  branches of its activation.
* Views are resized as for :class:`deft.seeds.cam.Cam`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft.backbone import Backbone
from deft.contracts import InputError, Sample, SeedMaps
from deft.engine.fused import fused
from deft.engine.head import HeadModule
from deft.engine.infer import device
from deft.engine.method import Localiser, MethodContext
from deft.seedmaps import grid
from deft.seeds.views import on_grid, pixels, resize


@dataclass
class Fused:
    """A classifier whose backbone was made faster; see :func:`deft.engine.fused.fused`."""

    backbone: Backbone
    head: HeadModule


@dataclass(frozen=True)
class AdvCam:
    """Settings of anti-adversarial climbing; the defaults are the released code's."""

    scales: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    """As for ``Cam``: the image is resized, and climbs at each scale from its beginning."""
    flip: bool = True
    """The mirror image climbs beside the image."""
    iterations: int = 27
    """Maps that are summed, the first of which is the plain one; half as many at scales below 1."""
    small_weight: float = 2.0
    """Weight of the maps at scales below 1, of which there are half as many."""
    step: float = 0.08
    """Largest change of a pixel in one step, in units of the normalised image (standard deviations)."""
    threshold: float = 0.5
    """The map is held where it is above this share of its maximum."""
    coefficient: float = 7.0
    """Weight of the change of the map where it is held; 0 climbs freely."""
    rectified: bool = True
    """Climb the mean of the rectified class map, as the released code does. False climbs the head's logit, as the
    paper writes it: for a DEFT head f_fg(z_fg), pooled by attention."""
    batch: int = 8
    """Views of the image's own size through the network at once, at scale s 1 / s^2 of that, but at least those of one
    class: memory does not grow with the scale."""
    present: float = 0.5
    """On images without tags, a class is present when its probability is above this."""

    def __post_init__(self) -> None:
        """Refuse what cannot be climbed."""
        if not self.scales or min(self.scales) <= 0:
            raise InputError(f"expected seeds.scales as one or more positive factors, got {self.scales}")
        if self.iterations < 1 or self.batch < 1:
            raise InputError(
                f"expected seeds.iterations and seeds.batch of at least 1, got {self.iterations} and {self.batch}"
            )
        if self.step <= 0 or self.small_weight <= 0 or self.coefficient < 0 or not 0 <= self.threshold <= 1:
            raise InputError(
                "expected seeds.step and seeds.small_weight above 0, seeds.coefficient of at least 0 and "
                f"seeds.threshold in 0 to 1, got {self.step}, {self.small_weight}, {self.coefficient} and "
                f"{self.threshold}"
            )

    @property
    def learning(self) -> None:
        """Nothing is trained beyond the classifier."""

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps]:
        """The maps of one image for its own tags."""
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
            labels: multi-hot (K,); None takes the classes that the classifier finds.

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
        """Maps of several images of one size, whose classes all climb in common batches: what a GPU needs to be busy.

        Args:
            network: a trained classifier, in eval mode.
            images: RGB (H, W, 3), one or more.
            labels: of each image, multi-hot (K,) or None, as for one image.

        Raises:
            ValueError: the images differ in size.
        """
        size = (images[0].shape[0], images[0].shape[1])
        if any(image.shape[:2] != size for image in images):
            raise ValueError(f"expected images of one size, got {sorted({image.shape[:2] for image in images})}")
        head, device = network.head, next(network.backbone.parameters()).device
        whole = torch.cat([pixels(image, device) for image in images])
        views = self._views(network, whole, 1.0)
        # Row by row, because a batch of several images could be more than memory holds.
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
        """Normalised images (I, 3, H, W) at a scale and, where asked for, their mirror images: (I, V, 3, H', W')."""
        view = network.backbone.normalise(resize(whole, scale, network.backbone.stride))
        return torch.stack([view, view.flip(-1)], dim=1) if self.flip else view[:, None]

    def _at_scale(self, network: Localiser, whole: Tensor, at: Tensor, classes: Tensor, scale: float) -> Tensor:
        """Summed activation (R, B, gh, gw) of ``classes`` (R,), each climbed in the image ``at`` (R,) its place."""
        views = self._views(network, whole, scale)
        iterations, weight = (max(1, self.iterations // 2), self.small_weight) if scale < 1 else (self.iterations, 1.0)
        rows = max(1, int(self.batch / scale**2) // views.shape[1])
        parts = [
            self.climb(network, views[at[start : start + rows]], classes[start : start + rows], iterations)
            for start in range(0, len(classes), rows)
        ]
        return weight * on_grid(
            torch.cat(parts), (views.shape[-2], views.shape[-1]), (whole.shape[-2], whole.shape[-1])
        )

    def climb(self, network: Localiser, views: Tensor, classes: Tensor, iterations: int) -> Tensor:
        """Climb with all rows as one batch, each for itself: classes of one image, or of several images of one size.

        Args:
            network: a trained classifier, in eval mode.
            views: normalised images, (R, V, 3, H, W): V is 1, or 2 where the second is the mirror image of the first.
            classes: the class that each row climbs, int64 (R,).
            iterations: maps that are summed, at least 1.

        Returns:
            The head's activation of the row's class, summed over iterations and over views weighted by their shares,
            that of the mirror image mirrored back: (R, B, h, w).
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
    """Of values (R V, K, ...) those of each row's class, (R, V, ...)."""
    rows = torch.arange(len(classes), device=values.device)
    return values.reshape(len(classes), views, *values.shape[1:])[rows, :, classes]


def _merge(own: Tensor, on: Tensor) -> Tensor:
    """Sum over views of (R, V, B, h, w), weighted by their shares of the cells that are ``on`` (R, V): (R, B, h, w)."""
    share = (on + 1e-6) / (on + 1e-6).sum(1, keepdim=True)
    weighted = own * share.to(own)[:, :, None, None, None]
    return weighted[:, 0] + weighted[:, 1].flip(-1) if own.shape[1] == 2 else weighted[:, 0]


def _grad_cam_factor(own: Tensor, on: Tensor, features: Tensor) -> Tensor:
    """What makes Grad-CAM's map of an activation, 1 / C+ under a linear head: (R, 1, 1)."""
    (gradient,) = torch.autograd.grad(own.sum(), features, retain_graph=True)
    positive = (gradient > 0).reshape(len(own), -1).sum(1)
    factor = on.sum(1) / positive.clamp(min=1)
    return factor.to(own)[:, None, None]


def _ascended(scores: Tensor, classes: Tensor) -> Tensor:
    """Sum over rows and views of y_c - sum of y_k over the other classes, from scores (R V, K).

    Others count as far as they are positive: rectified scores are so anyway, and pushing a class that is not seen
    further down would outweigh everything else.
    """
    own = _of_class(scores, classes, len(scores) // len(classes))
    return (own + own.relu()).sum() - scores.relu().sum()


def _combined(head: HeadModule, total: Tensor, classes: NDArray[np.intp], count: int) -> Tensor:
    """One image's maps (P, h, w) in [0, 1] of its classes, of ``count``, from their sums (P, B, h, w)."""
    if not len(classes):
        return total.new_zeros(0, *total.shape[-2:]).float().cpu()
    # A head combines all classes at once, each by itself; those that are absent are not read.
    every = total.new_zeros(total.shape[1], count, *total.shape[-2:])
    every[:, classes] = total.transpose(0, 1)
    return head.combine(every)[classes].float().clamp(0, 1).cpu()
