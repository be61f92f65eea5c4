"""B-CAM's head is DEFT's without swaps, biases and unequal weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from deft.classify.bcam import BcamHead, BcamModule
from deft.classify.deft import DeftHead
from deft.classify.readings import MaskedObject
from deft.contracts import InputError
from fakes import rng


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = rng(4)
    return torch.randn(3, 6, 4, 5, generator=generator), torch.tensor([[1.0, 0], [1, 1], [0, 1]])


def head(**settings: float) -> BcamModule:
    torch.manual_seed(0)
    return BcamHead(maps=4, **settings).build(6, 2)


def test_terms_against_the_formulas() -> None:
    """In values, and in gradients: each term trains the features, its classifier and its attention."""
    features, labels = batch()
    features.requires_grad_(True)
    own = head()
    expected = {name: torch.zeros(()) for name in own.loss(features, labels, 1, rng())}
    for z, y in zip(features, labels, strict=True):
        vectors = []
        for pooled in (own.m_fg, own.m_bg):
            maps = torch.stack([score.flatten().softmax(0).view(4, 5) for score in pooled.scores(z[None])[0]])
            vectors.append((z * maps.mean(0)).sum((1, 2)))
        z_fg, z_bg = vectors
        for name, classifier, vector, target in (
            ("classify", own.f_fg, z_fg, y),
            ("object_as_background", own.f_bg, z_fg, 1 - y),
            ("background_as_object", own.f_fg, z_bg, torch.zeros(2)),
            ("background", own.f_bg, z_bg, torch.ones(2)),
        ):
            scores = classifier.weight @ vector
            expected[name] = expected[name] + F.binary_cross_entropy_with_logits(scores, target) / 3
    trained = [features, *own.parameters()]
    for name, term in own.loss(features, labels, 1, rng()).items():
        torch.testing.assert_close(term, expected[name])
        slopes = [
            torch.autograd.grad(one, trained, retain_graph=True, materialize_grads=True)
            for one in (term, expected[name])
        ]
        torch.testing.assert_close(*slopes)
        assert slopes[0][0].any()
    half = head(background_as_object=0.5).loss(features, labels, 1, rng())
    torch.testing.assert_close(half["background_as_object"], expected["background_as_object"] / 2)


def test_without_attention_it_pools_by_the_mean() -> None:
    features, _ = batch()
    own = head(init_scale=0.0)
    torch.testing.assert_close(own.logits(features), features.mean((2, 3)) @ own.f_fg.weight.T)


def test_maps_are_those_of_the_object_classifier() -> None:
    features, _ = batch()
    own = head()
    scores = torch.einsum("kc,nchw->nkhw", own.f_fg.weight, features)
    torch.testing.assert_close(own.cell_scores(features), scores)
    torch.testing.assert_close(own.activation(features), scores.relu()[:, None])
    background = torch.einsum("kc,nchw->nkhw", own.f_bg.weight, features).relu()
    masked = BcamHead(maps=4, map=MaskedObject()).build(6, 2)
    masked.load_state_dict(own.state_dict())
    found = masked.combine(masked.activation(features)[0])
    assert not found[background[0] > scores[0].relu()].any() and found.any()


def test_deft_without_swaps_and_biases_has_the_same_terms() -> None:
    features, labels = batch()
    own = head()
    deft = DeftHead(
        maps=4,
        object_as_background=1.0,
        background_as_object=1.0,
        background_weight=1.0,
        swap_background_weight=0.0,
        swap_object_weight=0.0,
    ).build(6, 2)
    deft.load_state_dict(own.state_dict(), strict=False)
    with torch.no_grad():
        deft.f_fg.bias.zero_()
        deft.f_bg.bias.zero_()
    expected = deft.loss(features, labels, 9, rng())
    for name, term in own.loss(features, labels, 9, rng()).items():
        torch.testing.assert_close(term, expected[name])


def test_one_step_lowers_the_loss() -> None:
    features, labels = batch()
    own = head()
    (parameters, rate), *rest = own.groups()
    assert not rest and rate == 10 and len(parameters) == len(list(own.parameters()))
    assert not any("bias" in name for name, _ in own.named_parameters() if name.startswith("f_"))
    optimiser = torch.optim.SGD(parameters, lr=0.05)
    before = torch.stack(list(own.loss(features, labels, 1, rng()).values())).sum()
    before.backward()
    optimiser.step()
    with torch.no_grad():
        after = torch.stack(list(own.loss(features, labels, 1, rng()).values())).sum()
    assert float(after) < before.item()


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match=r"BcamHead\.maps"):
        BcamHead(maps=0)
    with pytest.raises(InputError, match=r"classifier\.head\.map as a reading"):
        BcamHead(map="fg")  # type: ignore[arg-type]
