"""RIB: class maps of a network that is fine-tuned for each image (Lee et al., NeurIPS 2021, arXiv:2110.06530).

The sigmoid behind a classifier's scores saturates, so that training ends as soon as a small part of an object explains
its tag. For each image the late layers and the head are therefore trained for a few more steps without the sigmoid, on
the cells where the class map is still weak, beside images that show none of its classes; the maps of all steps are
summed. The next image starts from the classifier again.

Each image has weights of its own: every thread holds one copy of the network, whose late layers are set back before an
image. What precedes them is never trained, so that its feature map is computed once per image, and not in every step;
and the maps of a step come from the forward pass that the step is computed with. Images do not share batches: their
weights differ from the first step on, and the views of one image and its companions fill a batch already.

Differs from the published code: companions come from a fixed bank of training crops, so that new photographs have them
too; the map of the step at which the fine-tuning stops is counted; and cells of the stride-4 grid stand for pixels in
the rule that stops it. With a DEFT head, the pooled cells are those of f_fg's map, in the place of its attention.
"""

from __future__ import annotations

import copy
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from deft.artifacts import load_tensors, save_tensors, told_damaged
from deft.backbone import Backbone
from deft.contracts import InputError, Sample, SeedMaps
from deft.engine import ranks
from deft.engine.head import HeadModule, normalise
from deft.engine.infer import device
from deft.engine.method import Localiser, MethodContext
from deft.engine.precision import EXACT, autocast
from deft.ranges import Count, Factor, Multiple, MultipleRange, Multiples, Range, Rate, Share, check_ranges
from deft.seedmaps import grid
from deft.seeds.views import on_grid, pixels, resize


@dataclass(frozen=True)
class Rib:
    """Settings of RIB; the defaults are the released code's, except that the size of the bank is chosen here."""

    scales: Multiples = (0.5, 1.0, 1.5, 2.0)
    """Factors by which the image is resized for its maps; 1.0 is one of them. Those of at least 1 are trained on."""
    flip: bool = True
    """Also process the mirror image."""
    steps: Annotated[int, Range(0, 1000)] = 10
    """Most steps of fine-tuning; 0 gives the plain class maps."""
    rate: Rate = 8e-6
    """Learning rate of the backbone; the head has its own multiples of it."""
    decay: Rate = 1e-4
    """Weight decay."""
    threshold: Share = 0.4
    """The score of a class is averaged over the cells where its map is below this share of its maximum."""
    trained: Annotated[int, Range(0, 64)] = 2
    """How many of the deepest feature maps have layers that are fine-tuned: 2 are layer3 and layer4 of a ResNet, as
    many as IRN's classifier trains; 0 trains the head alone."""
    companions: Annotated[int, Range(0, 4096)] = 20
    """Images in each step that share no class with the image."""
    bank: Count = 128
    """Crops of training images, drawn once, from which companions are taken."""
    crop: Multiple = 1.0
    """Side of these crops as a multiple of the images' typical long side."""
    long_side: MultipleRange = (0.64, 1.28)
    """Range of the long side to which these images are resized, likewise."""
    batch: Annotated[int, Range(1, 4096)] = 8
    """Companions computed together, which bounds memory; it does not change the maps."""
    stop_loss: Factor = 600.0
    """Stop once the scores of the image's own views, summed over views and tags, exceed this in absolute value."""
    stop_score: Share = 0.3
    """A cell counts as active if the map of a tag is above this share of its maximum."""
    stop_share: Share = 0.7
    """Stop once more than this share of the cells is active."""

    def __post_init__(self) -> None:
        """Refuse values out of range, and scales without 1.0."""
        check_ranges(self)
        if 1.0 not in self.scales:
            raise InputError(f"expected seeds.scales including 1.0, at which classes are scored, got {self.scales}")

    @property
    def learning(self) -> tuple[object, ...]:
        """What the bank of companions depends on; the fine-tuning of an image is part of its seeds."""
        return (self.bank, self.crop, self.long_side)

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps]:
        """Draw the companions, unless that is done, and return the function of one image and its tags."""
        images, labels = self._bank(context)
        network = context.classifier.to(device())
        local = threading.local()

        def locate(sample: Sample) -> SeedMaps:
            if not hasattr(local, "tuned"):
                local.tuned = Tuned(network, self, context.precision)
            chosen = self.chosen(sample, labels)
            return self.maps(local.tuned, sample, images[chosen], labels[chosen])

        return locate

    def _bank(self, context: MethodContext) -> tuple[Tensor, Tensor]:
        """Crops uint8 (n, 3, side, side) and their labels float (n, K), kept in the stage's folder."""
        path = context.folder / "model.safetensors"
        if not ranks.agreed(path.exists()):
            with ranks.first_alone() as mine:
                if mine:
                    save_tensors(path, self._draw(context), {"made_by": context.made_by})
        tensors, _ = load_tensors(path)
        with told_damaged(path):
            return tensors["image"], tensors["labels"]

    def _draw(self, context: MethodContext) -> dict[str, Tensor]:
        examples = context.tagged(crop=self.crop, long_side=self.long_side)
        rng = np.random.default_rng([context.seed, 1_000_003])
        order = rng.permutation(np.flatnonzero(context.data.labels.any(axis=1)))[: self.bank]
        drawn = [examples.example(int(index), np.random.default_rng([context.seed, int(index)])) for index in order]
        if not drawn:
            raise InputError("expected training images with tags, found none; add tags to labels.csv")
        return {key: torch.stack([one[key] for one in drawn]) for key in ("image", "labels")}

    def chosen(self, sample: Sample, labels: Tensor) -> Tensor:
        """Indices of the companions of an image, a function of its pixels and tags: those that share no class.

        Args:
            sample: image and tags.
            labels: of the bank, float (n, K).

        Returns:
            int64, as many as there are, at most :attr:`companions`.
        """
        apart = np.flatnonzero((labels.numpy() @ sample.labels.astype(np.float32)) == 0)
        rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(sample.image).tobytes()))
        return torch.from_numpy(rng.permutation(apart)[: self.companions])

    def maps(self, tuned: Tuned, sample: Sample, images: Tensor, labels: Tensor) -> SeedMaps:
        """Maps of the tags of one image, summed over the steps of its fine-tuning.

        Args:
            tuned: the copy of the classifier to fine-tune; it is set back first.
            sample: image and tags.
            images: companions, uint8 (n, 3, side, side).
            labels: their labels, float (n, K).

        Returns:
            Maps in [0, 1] on the strided grid, and the probabilities of the classifier before the fine-tuning.
        """
        size = (sample.image.shape[0], sample.image.shape[1])
        tuned.restore()
        whole, backbone = pixels(sample.image, tuned.device), tuned.network.backbone
        views = {}
        for scale in self.scales:
            view = resize(whole, scale, backbone.stride, backbone.extra)
            seen = (view.shape[-2], view.shape[-1])
            views[scale] = seen, tuned.before(torch.cat([view, view.flip(-1)]) if self.flip else view)
        classes = tuple(int(index) for index in np.flatnonzero(sample.labels))
        with torch.no_grad():
            scores = tuned.head.logits(tuned.after(views[1.0][1])).float().mean(0).sigmoid().cpu()
        probability = tuple(scores.tolist())
        if not classes:
            return SeedMaps((), torch.zeros(0, *grid(size)), size, probability)
        own = torch.from_numpy(sample.labels.astype(np.float32)).to(tuned.device)[None]
        rows = zip(torch.split(images, self.batch), torch.split(labels, self.batch), strict=True)
        others = [(tuned.before(part.to(tuned.device).float()), tags.to(tuned.device)) for part, tags in rows]
        total: Tensor | None = None
        for left in reversed(range(self.steps + 1)):
            gradients = Gradients(tuned.parameters)
            seen_now: Tensor | None = None
            score = 0.0
            for scale, (seen, stored) in views.items():
                with torch.set_grad_enabled(left > 0 and scale >= 1):
                    features = tuned.after(stored)
                    activation = tuned.head.activation(features).detach().float()
                    if scale >= 1:
                        loss = self.loss(tuned.head, features, own.expand(len(features), -1))
                        score += float(loss.detach())
                        gradients.add(loss)
                merged = activation[:1] + activation[1:].flip(-1) if self.flip else activation
                part = on_grid(merged[0], seen, size, backbone.extra)
                seen_now = part if seen_now is None else seen_now + part
            if seen_now is None:
                raise AssertionError("scales are never empty")
            total = seen_now if total is None else total + seen_now
            if left == 0 or self.stops(score, seen_now[0, list(classes)]):
                break
            for stored, tags in others:
                with torch.enable_grad():
                    gradients.add(self.loss(tuned.head, tuned.after(stored), tags))
            tuned.step(gradients.total)
        if total is None:
            raise AssertionError("there is at least one step")
        maps = tuned.head.combine(total)[list(classes)]
        return SeedMaps(classes, maps.clamp(0, 1).cpu(), size, probability)

    def loss(self, head: HeadModule, features: Tensor, labels: Tensor) -> Tensor:
        """Minus the scores of the tags, without a sigmoid, each averaged over the cells where its map is weak.

        Args:
            head: gives the score of each class in each cell.
            features: (N, C, h, w).
            labels: float multi-hot, (N, K).

        Returns:
            Scalar, summed over images and tags.
        """
        scores = head.cell_scores(features).float()
        weak = (normalise(scores.detach().relu()) < self.threshold).to(scores)
        pooled = (scores * weak).sum((-2, -1)) / weak.sum((-2, -1)).clamp(min=1)
        return -(pooled * labels).sum()

    def stops(self, loss: float, maps: Tensor) -> bool:
        """Whether the fine-tuning of an image ends with this step.

        Args:
            loss: of the image's own views.
            maps: activation of its tags in this step, (P, h, w).
        """
        active = (normalise(maps) > self.stop_score).any(dim=0).float().mean()
        return abs(loss) > self.stop_loss or float(active) > self.stop_share


class Gradients:
    """Sum of the gradients of several terms, so that each term's graph is freed before the next is computed."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.total: list[Tensor | None] = [None] * len(parameters)

    def add(self, loss: Tensor) -> None:
        """Add the gradients of a term; one that was computed without gradients adds nothing."""
        if not loss.requires_grad:
            return
        found = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        for place, (one, new) in enumerate(zip(self.total, found, strict=True)):
            if new is not None:
                self.total[place] = new if one is None else one + new


class Tuned:
    """A copy of a classifier whose late layers are fine-tuned and set back."""

    def __init__(self, network: Localiser, settings: Rib, precision: str = EXACT) -> None:
        self.network = _Pair(copy.deepcopy(network.backbone), copy.deepcopy(network.head))
        self.settings, self.precision = settings, precision
        backbone = self.network.backbone
        self.cut = max(-1, len(backbone.channels) - 1 - settings.trained)
        backbone.freeze(self.cut, batch_norm=True)
        self.head: HeadModule = self.network.head.requires_grad_(True)
        self.device = next(backbone.parameters()).device
        late = [(parameter, 1.0) for parameter in backbone.parameters() if parameter.requires_grad]
        rated = late + [(parameter, rate) for group, rate in self.head.groups() for parameter in group]
        self.parameters = [parameter for parameter, _ in rated]
        self.rates = [settings.rate * rate for _, rate in rated]
        self.start = [parameter.detach().clone() for parameter in self.parameters]
        self.separable = self._separable()

    @torch.no_grad()
    def restore(self) -> None:
        """Set the weights back to those of the classifier."""
        for parameter, start in zip(self.parameters, self.start, strict=True):
            parameter.copy_(start)

    @torch.no_grad()
    def step(self, gradients: list[Tensor | None]) -> None:
        """One step of gradient descent with weight decay; a parameter without a gradient keeps its value."""
        for parameter, rate, gradient in zip(self.parameters, self.rates, gradients, strict=True):
            if gradient is not None:
                parameter.sub_(gradient + self.settings.decay * parameter, alpha=rate)

    @torch.no_grad()
    def before(self, images: Tensor) -> Tensor:
        """What is computed once: the feature map before the layers that are trained, of pixels (N, 3, H, W).

        Normalised images if all layers are trained, or the network cannot be entered in the middle.
        """
        x = self.network.backbone.normalise(images).contiguous(memory_format=torch.channels_last)
        if not self.separable:
            return x
        with autocast(self.precision, self.device):
            return self.network.backbone.features(x)[self.cut].float()

    def after(self, stored: Tensor) -> Tensor:
        """The last feature map, float32 (N, C, h, w), from what :meth:`before` returned."""
        backbone = self.network.backbone
        if self.cut == len(backbone.channels) - 1 and self.separable:
            return stored
        with autocast(self.precision, self.device):  # one per pass: weights are rounded again after each step
            if not self.separable:
                return backbone.features(stored)[-1].float()
            # The early layers see a few grey pixels, and their map is replaced by the stored one.
            probe = stored.new_zeros(1, 3, *[2 * max(backbone.reductions)] * 2)
            return backbone.features(probe, (self.cut, lambda _: stored))[-1].float()

    def _separable(self) -> bool:
        """Whether the late layers can be given a feature map."""
        if self.cut < 0:
            return False
        probe = torch.zeros(1, 3, *[2 * max(self.network.backbone.reductions)] * 2, device=self.device)
        try:
            with torch.no_grad():
                self.network.backbone.features(probe, (self.cut, lambda found: found))
        except InputError:
            return False
        return True


@dataclass
class _Pair:
    backbone: Backbone
    head: HeadModule
