"""Memory that a training step needs, counted by a forward pass that allocates and computes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from deft.backbone import build_backbone
from deft.engine.footprint import parts_for
from deft.pipeline import Pipeline

SIDE = 500
"""Long side of the photographs that steps are told for, in pixels: that of PASCAL VOC's."""
PROCESS = 900_000_000
"""Bytes of a process that has loaded its libraries and trains a network of next to no size."""


@dataclass(frozen=True)
class Need:
    """A training step of the classifier."""

    backbone: str
    batch: int
    """Images."""
    crop: int
    """Side of the crops, in pixels."""
    fixed: int
    """Bytes of weights, gradients and momentum."""
    image: int
    """Bytes that an image adds: what the forward pass keeps for the backward pass, in float32."""

    @property
    def whole(self) -> int:
        """Bytes of a step with the whole batch at once."""
        return self.fixed + self.batch * self.image

    def parts(self, available: int) -> int | None:
        """The least number of parts that the batch has to be computed in; None if nothing fits."""
        at_once = (available - self.fixed) // self.image
        return None if at_once < 1 else parts_for(self.batch, at_once)


def need(pipeline: Pipeline, backbone: str, side: int = SIDE) -> Need:
    """What training the pipeline's classifier needs with a pretrained backbone of that name."""
    settings = pipeline.own_classifier
    crop, _ = settings.pixels(side)
    network = build_backbone(backbone, "none", pipeline.stride).to("meta").train()
    if settings.freeze:
        network.freeze(until=network.stage_of_stride(settings.freeze_stride), batch_norm=True)
    weights = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    kept: dict[int, tuple[int, torch.UntypedStorage]] = {}  # holds them, so that no number is given twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes(), storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        maps = network(torch.empty(1, 3, crop, crop, device="meta"))
    image = sum(size for number, (size, _) in kept.items() if number not in weights)
    fixed = 3 * sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    del maps
    return Need(backbone, settings.plan.batch, crop, fixed, image)
