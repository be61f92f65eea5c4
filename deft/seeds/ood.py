"""W-OoD: a classifier trained on with images that show none of the classes (Lee et al., CVPR 2022, arXiv:2203.03860).

A classifier takes what often surrounds an object for a part of it, rails for a part of the train. Photographs of rails
without a train are cheap, since their only label is that there is none: the finished classifier is trained on beside
such negatives, which are made harder by one step that raises their highest score, and whose clusters the features of
tagged images are kept away from. The class maps of the result are read by any other seed method.

Differs from the published code: negatives are rows without tags and photographs of a folder, and none of them is left
out because of the class that it resembles; no checkpoint is chosen with ground truth; the distance to a class is
averaged over the tags of the batch, and that to negatives over each image's nearest clusters; and distances are of
directions, see :attr:`Ood.normalised`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.artifacts import load_tensors, save_tensors, told_damaged
from deft.artifacts.contents import whole
from deft.backbone import Backbone
from deft.contracts import Dataset, DigestFiles, Sample, SeedMaps, Splits
from deft.engine import ranks
from deft.engine.head import HeadModule, maps_for, soft_margin
from deft.engine.infer import device, for_each
from deft.engine.layout import channels_last
from deft.engine.method import Localiser, MethodContext, learn
from deft.engine.negatives import WithNegatives, check_negatives, negatives_digest, with_negatives
from deft.engine.optimise import ParamGroup, Sgd
from deft.engine.plan import Plan
from deft.ranges import Count, Multiple, MultipleRange, Range, Share, Weight, check_ranges
from deft.seeds.advcam import AdvCam
from deft.seeds.base import AFTER, Base, check_base
from deft.seeds.cam import Cam
from deft.seeds.views import last_map, pixels, resize
from deft.settings import place


@dataclass(frozen=True)
class Ood:
    """Settings of W-OoD; the defaults are the released code's."""

    base: Cam | AdvCam | Base = field(default_factory=Cam)
    """Reads the maps of the classifier that was trained on."""
    folder: str = field(default="", metadata=place())
    """Folder of photographs that show none of the classes, beside the rows without tags; never written to."""
    plan: Plan = field(default_factory=lambda: Plan(epochs=5, min_steps=360, batch=16, optimiser=Sgd()))
    """Training; each step has as many negatives as tagged images."""
    crop: Multiple = 1.0
    """Side of the training crop as a multiple of the images' typical long side."""
    long_side: MultipleRange = (0.64, 1.28)
    """Range of the resized image's long side, likewise."""
    negative_weight: Weight = 0.25
    """Weight of the loss of negatives, whose labels are all 0."""
    climb: Weight = 0.07
    """Largest change of a negative in the step that raises its highest score, in units of the normalised image."""
    distance_weight: Weight = 0.007
    """Weight of the distances of tagged images to the means of their classes, minus those to clusters of negatives."""
    clusters: Count = 50
    """Number of clusters of the negatives, at most one for each negative."""
    normalised: bool = True
    """Scale all vectors to the mean length of the classes' means before their distances are measured, and take means
    over an image's tags and over its nearest clusters. False is the published code, whose means are over all classes
    and clusters, and whose term has no lower bound: features that grow are farther from everything, and on a network
    whose features are not pooled from a ReLU this outweighs the loss of the tags."""
    nearest: Share = 0.2
    """Share of the clusters, the nearest ones to an image, that it is kept away from."""
    freeze_stride: Annotated[int, Range(0, 64)] = 8
    """Layers up to this stride are not trained."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)
        check_base(self.base)

    @property
    def learning(self) -> tuple[object, ...]:
        """The settings that training depends on; the way the maps are read is not among them."""
        return (
            *(self.plan, self.crop, self.long_side, self.negative_weight, self.climb),
            *(self.distance_weight, self.normalised, self.clusters, self.nearest, self.freeze_stride),
        )

    @property
    def _root(self) -> Path | None:
        return Path(self.folder).expanduser() if self.folder else None

    def check(self, splits: Splits) -> None:
        """Refuse data without negatives, and a folder that holds tagged images, before the run starts."""
        check_negatives(splits, self._root, "seeds.folder")

    def fingerprint(self) -> str:
        """Digest of the photographs of the folder; empty without one."""
        return negatives_digest(self._root, whole)

    def fingerprint_of(self, names: Sequence[str], digests: DigestFiles) -> str:
        """As :meth:`fingerprint`: the seeds of every image depend on all of them."""
        return negatives_digest(self._root, digests)

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps]:
        """Train the classifier on, unless that is done, and return the function of one image and its tags.

        Raises:
            InputError: there are no negatives, or no tagged images.
        """
        start = context.classifier
        torch.manual_seed(context.seed)
        network = OodNetwork(copy.deepcopy(start.backbone), copy.deepcopy(start.head), self)
        learn(context, network.train(), lambda: self._examples(network, context), self.plan, "classifier and negatives")
        channels_last(network).to(device()).eval()
        return self.base.prepare(replace(context, network=network, backbone=network.backbone))

    def _examples(self, network: OodNetwork, context: MethodContext) -> WithNegatives:
        examples = with_negatives(context.tagged(crop=self.crop, long_side=self.long_side), self._root)
        if self.distance_weight:
            network.inside, network.outside = self._centres(context, examples)
        return examples

    def _centres(self, context: MethodContext, examples: WithNegatives) -> tuple[Tensor, Tensor]:
        """Mean features of each class (K, C), and clusters of the negatives (M, C), by the finished classifier.

        They are measured by one process and kept, so that a training that goes on after a kill has the same ones.
        """
        path = context.folder / "centres.safetensors"
        if not ranks.agreed(path.exists()):
            with ranks.first_alone() as mine:
                if mine:
                    save_tensors(path, self._measured(context, examples), {"made_by": context.made_by})
        tensors, _ = load_tensors(path)
        with told_damaged(path):
            return tensors["inside"], tensors["outside"]

    def _measured(self, context: MethodContext, examples: WithNegatives) -> dict[str, Tensor]:
        start, others = context.classifier.to(device()), examples.negatives
        vectors = _vectors(start, context.data, examples.indices, "features of tagged images")
        labels = torch.from_numpy(context.data.labels[list(examples.indices)].astype(np.float32))
        outside = _vectors(start, others, range(len(others)), "features of negatives")
        return {"inside": class_means(vectors, labels), "outside": k_means(outside, self.clusters)}


class OodNetwork(nn.Module):
    """A classifier that is trained on beside negatives; a :class:`deft.engine.plan.Trainee`."""

    parts: int = 1
    """Parts that a batch is computed in, see :mod:`deft.engine.parts`."""

    def __init__(self, backbone: Backbone, head: HeadModule, settings: Ood) -> None:
        super().__init__()
        self.backbone, self.head, self.settings = backbone, head.requires_grad_(True), settings
        backbone.freeze(until=backbone.stage_of_stride(settings.freeze_stride), batch_norm=True)
        self.inside = self.outside = torch.zeros(0, 0)

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The head's own terms, ``distance`` and ``negatives``.

        Args:
            batch: ``image`` and ``negative``, uint8 (N, 3, H, W), and ``labels`` of the image, float (N, K).
            epoch: 1-based; the head is told that its own training is over.
            rng: the only source of randomness.
        """
        s, labels = self.settings, batch["labels"]
        maps = self._maps(self.backbone.normalise(batch["image"]))
        terms = self.head.loss_of_views(maps, self._maps, labels, AFTER, rng)
        if s.distance_weight:
            vectors = maps[-1].float().mean(dim=(2, 3))
            inside, outside = self.inside.to(vectors), self.outside.to(vectors)
            if s.normalised:
                lengths = inside.norm(dim=1)
                length = lengths[lengths > 0].mean()  # classes without images have no mean
                vectors, inside, outside = (length * F.normalize(each, dim=1) for each in (vectors, inside, outside))
            terms["distance"] = s.distance_weight * distance(vectors, labels, inside, outside, s.nearest, s.normalised)
        if s.negative_weight:
            negatives = self.hardened(self.backbone.normalise(batch["negative"]))
            scores = self.head.logits(self._maps(negatives)[-1])
            terms["negatives"] = s.negative_weight * soft_margin(scores, torch.zeros_like(scores))
        return terms

    def hardened(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W), after one step that raises the highest score of each.

        The change of an image is its gradient, divided by its largest absolute value, times :attr:`Ood.climb`.
        """
        if not self.settings.climb:
            return images
        changed = []
        for part in images.detach().chunk(self.parts):
            x = part.clone().requires_grad_(True)
            with torch.enable_grad():
                score = self.head.logits(self._last(x)).float().amax(dim=1).sum()
            (gradient,) = torch.autograd.grad(score, x)
            largest = gradient.abs().amax(dim=(1, 2, 3), keepdim=True)
            changed.append(part + self.settings.climb * gradient / (largest + 1e-12))
        return torch.cat(changed)

    def _maps(self, x: Tensor) -> Sequence[Tensor]:
        return maps_for(self.head, self.backbone, x, self.parts)

    def _last(self, x: Tensor) -> Tensor:
        return self.backbone.features(x)[-1]

    def groups(self) -> list[ParamGroup]:
        """The backbone at the base learning rate, the head at its own multiples of it."""
        head = [ParamGroup(params, lr) for params, lr in self.head.groups()]
        depths, spared = self.backbone.depths(), self.backbone.undecayed()
        return [ParamGroup(list(self.backbone.parameters()), depths=depths, spared=spared), *head]

    def logits(self, images: Tensor) -> Tensor:
        """Class scores before the sigmoid, (N, K), of uint8 images (N, 3, H, W)."""
        return self.head.logits(self.backbone(images)[-1]).float()


def distance(vectors: Tensor, labels: Tensor, inside: Tensor, outside: Tensor, nearest: float, chosen: bool) -> Tensor:
    """Mean distance to the means of an image's classes times K / M, minus that to its nearest clusters of negatives.

    Args:
        vectors: features of tagged images, (N, C).
        labels: float multi-hot, (N, K).
        inside: mean features of each class, (K, C).
        outside: clusters of negatives, (M, C).
        nearest: share of the clusters that count for an image, at least one of them.
        chosen: means are over what counts; else over all K classes and M clusters, as in the published code, with 0 for
            what does not count.

    Returns:
        Scalar; distances are Euclidean.
    """
    own = torch.cdist(vectors, inside) * labels
    count = max(1, round(nearest * len(outside)))
    away = torch.cdist(vectors, outside).topk(count, dim=1, largest=False).values
    if not chosen:
        return (own.sum(dim=1) - away.sum(dim=1)).mean() / len(outside)
    tags = ranks.mean_over_ranks(labels.sum()).clamp(min=1 / ranks.world())
    return own.sum() / tags * (len(inside) / len(outside)) - away.mean()


def class_means(vectors: Tensor, labels: Tensor) -> Tensor:
    """Mean vector of the images of each class, (K, C), of vectors (N, C) and labels float (N, K); 0 without images."""
    return labels.T @ vectors / labels.sum(dim=0).clamp(min=1)[:, None]


def k_means(vectors: Tensor, clusters: int, iterations: int = 10) -> Tensor:
    """Centres of at most ``clusters`` clusters, (M, C), by Lloyd's algorithm from the first vectors of (N, C).

    A cluster that loses all its vectors keeps its centre.
    """
    centres = vectors[:clusters].clone()
    for _ in range(iterations):
        own = torch.cdist(vectors, centres).argmin(dim=1)
        counts = own.bincount(minlength=len(centres)).to(vectors)
        sums = torch.zeros_like(centres).index_add_(0, own, vectors)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
    return centres


def _vectors(network: Localiser, data: Any, indices: Sequence[int], title: str) -> Tensor:
    """Mean features of whole images, (N, C) on the CPU."""
    found: dict[int, Tensor] = {}
    backbone = network.backbone
    where = next(backbone.parameters()).device

    def work(index: int, sample: Sample) -> None:
        view = resize(pixels(sample.image, where), 1.0, backbone.stride, backbone.extra)
        found[index] = last_map(backbone, view).float().mean(dim=(2, 3))[0].cpu()

    images: Dataset = data
    for_each(images, list(indices), work, title=title)
    return torch.stack([found[index] for index in indices])
