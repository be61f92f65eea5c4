"""Networks and photographs that the benchmarks of networks share.

Weights are random unless the environment variable ``DEFT_WEIGHTS`` names a folder of weights: times do not depend on
them, but how far a precision moves a map does, and a network that was never trained moves more than one that was.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import os
import sys
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from measure import peak_mb
from numpy.typing import NDArray
from torch import Tensor, nn

from deft.backbone import Backbone, build_backbone
from deft.classify.classifier import Classifier, ClassifierNetwork
from deft.contracts import InputError
from deft.engine.head import Head, HeadModule
from deft.engine.layout import channels_last
from deft.engine.plan import Plan

Module = TypeVar("Module", bound=nn.Module)

CLASSES = 20
"""VOC's."""


def backbone(name: str) -> Backbone:
    """A network in eval mode at stride 16, of trained weights where there are any."""
    torch.manual_seed(0)
    folder = os.environ.get("DEFT_WEIGHTS")
    if folder:
        try:
            return build_backbone(name, folder, 16).eval()
        except InputError:
            pass  # the folder has none for this one
    network = build_backbone(name, "none", 16)
    _settle(network)
    return network.eval()


def kind(network: Backbone) -> str:
    """What to say about the weights."""
    return "trained weights" if network.pretrained else "random weights"


def classifier(name: str, head: Head, device: torch.device) -> ClassifierNetwork:
    """A classifier in float32 and contiguous, in eval mode, trained as far as :func:`backbone` is; its head is not."""
    network = ClassifierNetwork(backbone(name), _untrained(head, backbone(name)))
    return network.to(device).eval()


def trainee(name: str, head: Head, device: torch.device) -> ClassifierNetwork:
    """A classifier that is trained as published: no gradient up to layer2, statistics of batch norm fixed."""
    own = backbone(name)
    own.pretrained = True  # else nothing would be frozen
    plan = Plan(epochs=10, min_steps=0, batch=16)  # as many epochs as DEFT swaps after
    torch.manual_seed(1)
    return Classifier(head=head, plan=plan).build(own, CLASSES).to(device).train()


def laid_out(network: Module) -> Module:
    """A copy with channels last."""
    return channels_last(copy.deepcopy(network))


def photo(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Smooth shapes and some noise, RGB (H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, 9, 9), dtype=np.float32)) * 255
    smooth = F.interpolate(coarse, size=(height, width), mode="bicubic")[0].permute(1, 2, 0).numpy()
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def tags(*classes: int) -> NDArray[np.bool_]:
    """Multi-hot labels of one image."""
    return np.isin(np.arange(CLASSES), classes)


def batch(count: int, side: int, seed: int, device: torch.device) -> dict[str, Tensor]:
    """A training batch with one or two tags an image."""
    images = np.stack([photo(side, side, seed * 1000 + number).transpose(2, 0, 1) for number in range(count)])
    rng = np.random.default_rng(seed)
    labels = np.stack([tags(*rng.integers(0, CLASSES, 2)) for _ in range(count)]).astype(np.float32)
    return {"image": torch.from_numpy(images).to(device), "labels": torch.from_numpy(labels).to(device)}


def peak(work: Callable[[], object], device: torch.device) -> float:
    """As ``measure.peak_mb``, once what earlier work freed has gone back to the system: it would hide the rise."""
    gc.collect()
    if device.type == "cpu" and sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)
    return peak_mb(work, device)


def _untrained(head: Head, own: Backbone) -> HeadModule:
    torch.manual_seed(1)
    return head.build(own.channels[-1], CLASSES)


def _settle(network: Backbone) -> None:
    """Let batch norm measure what it sees, as in a trained network; without it signals die out on their way."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    with torch.no_grad():
        network(torch.stack([torch.from_numpy(photo(161, 161, n).transpose(2, 0, 1).copy()) for n in range(4)]))
