from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from deft.backbone import build_backbone
from deft.classify.classifier import ClassifierNetwork
from deft.classify.linear import LinearHead
from deft.contracts import InputError, Sample
from deft.engine.features import Features, Frozen
from deft.seedmaps import grid
from deft.seeds.frozen import FrozenCam
from fakes import Scenes, method_context, noise


def network(frozen: bool = True) -> ClassifierNetwork:
    torch.manual_seed(0)
    inner = build_backbone("test_resnet", "none", 16)
    backbone = Frozen(side=64, scales=(1.0,)).on(inner) if frozen else inner
    return ClassifierNetwork(backbone, LinearHead().build(backbone.channels[-1], 3)).eval()


def locate(stored: Any = None) -> Any:
    context = method_context(Scenes(), Path("nowhere"), network=network())
    return FrozenCam().prepare(context if stored is None else replace(context, stored=stored))


def test_maps_are_the_heads_on_the_features() -> None:
    """A ramp of features: the map of a linear head is one too, divided by its maximum."""
    channels = network().backbone.channels
    ramp = torch.arange(8.0).expand(8, 8)
    deep = torch.zeros(channels[-1], 8, 8)
    weights = network().head.get_parameter("classifier.weight")[:, :, 0, 0]
    deep[int(weights[1].argmax())] = ramp
    features = Features(deep)
    found = locate(stored=lambda sample: features)(Sample("x", noise(64, 64), np.array([False, True, False])))
    assert found.classes == (1,) and found.maps.shape == (1, *grid((64, 64)))
    # Grid cell 2 k + 1 is centred half a pixel beside the edge between cells k and k + 1.
    expected = ((torch.arange(16) * 4 + 0.5) / 8 - 0.5).clamp(0, 7) / 7
    torch.testing.assert_close(found.maps[0, 3], expected, atol=1e-3, rtol=1e-3)
    assert len(found.scores) == 3


def test_new_photographs_are_looked_at() -> None:
    """Stored features give what the image gives, up to their 16 bits."""
    from deft.engine.features import find_features

    sample = Sample("x", noise(48, 80), np.array([True, True, False]))
    known = find_features(network().backbone, sample.image)
    half = Features(known.deep.half())
    one, other = locate()(sample), locate(stored=lambda _: half)(sample)
    torch.testing.assert_close(one.maps, other.maps, atol=5e-3, rtol=5e-3)
    none = locate()(Sample("x", noise(48, 80), np.zeros(3, dtype=bool)))
    assert none.classes == () and none.maps.shape == (0, *grid((48, 80)))


def test_training_on_features_is_training_of_the_head() -> None:
    """One step: the loss of features is that of the head on standardised features, and nothing else gets a gradient."""
    one = network().train()
    features = torch.randn(4, one.backbone.channels[-1], 8, 8).half()
    labels = torch.eye(3)[[0, 1, 2, 0]]
    terms = one.terms({"features": features, "labels": labels}, 1, torch.Generator())
    expected = F.binary_cross_entropy_with_logits(one.head.logits(features.float()), labels)
    torch.testing.assert_close(terms["classify"], expected)
    terms["classify"].backward()
    assert {name for name, each in one.named_parameters() if each.grad is not None} == {"head.classifier.weight"}


def test_a_trained_backbone_is_refused() -> None:
    with pytest.raises(InputError, match="frozen"):
        FrozenCam().prepare(method_context(Scenes(), Path("nowhere"), network=network(frozen=False)))
