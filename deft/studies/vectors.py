"""DEFT's object and background vectors of many images, for the studies `manifold` and `bias`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft.classify.classifier import ClassifierNetwork
from deft.classify.deft import DeftHead, DeftModule
from deft.classify.sma import SmaHead, SmaModule
from deft.contracts import Dataset, InputError, Sample
from deft.data.examples import without_truth
from deft.engine.infer import device, for_each
from deft.pipeline import Pipeline


@dataclass(frozen=True, eq=False)
class Vectors:
    """The two vectors of n images."""

    indices: tuple[int, ...]
    """Indices of the images in their dataset."""
    z_fg: Tensor
    """Object vectors, float32 (n, C), on the CPU."""
    z_bg: Tensor
    """Background vectors, float32 (n, C), on the CPU."""


def has_two_vectors(pipeline: Pipeline) -> bool:
    """Whether a pipeline's classifier computes an object and a background vector."""
    return pipeline.classifier is not None and isinstance(pipeline.classifier.head, DeftHead | SmaHead)


def deft_module(network: ClassifierNetwork) -> DeftModule:
    """The module of a classifier's head that computes both vectors.

    Raises:
        InputError: the head has none.
    """
    head = network.head.deft if isinstance(network.head, SmaModule) else network.head
    if not isinstance(head, DeftModule):
        raise InputError(
            "expected a classifier with DEFT's head, which computes object and background vectors, "
            f"got {type(head).__name__}; take irn_deft"
        )
    return head


@torch.no_grad()
def read_vectors(network: ClassifierNetwork, data: Dataset, indices: Sequence[int]) -> Vectors:
    """Both vectors of images at full size.

    Args:
        network: a trained classifier with DEFT's head, in eval mode; moved to the GPU if there is one.
        data: the dataset.
        indices: indices of the images.

    Raises:
        InputError: the classifier has another head.
    """
    head = deft_module(network)
    sides = network.head.sides if isinstance(network.head, SmaModule) else None
    network.to(device())
    found: dict[int, tuple[Tensor, Tensor]] = {}

    def work(index: int, sample: Sample) -> None:
        maps = network.backbone(as_batch(sample.image))
        features = maps[-1].float()
        z_bg = head.m_bg(features if sides is None else sides(maps))
        found[index] = head.m_fg(features)[0].cpu(), z_bg[0].cpu()

    for_each(without_truth(data), list(indices), work, title="object and background vectors")
    pairs = [found[index] for index in indices]
    z_fg, z_bg = (torch.stack([pair[part] for pair in pairs]) for part in range(2))
    return Vectors(tuple(indices), z_fg, z_bg)


def as_batch(image: NDArray[np.uint8]) -> Tensor:
    """An RGB image (H, W, 3) as a batch of one on the device, uint8 (1, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(device())
