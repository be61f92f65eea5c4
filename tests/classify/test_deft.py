"""The DEFT head against literal loops, its invariants, and one step of training."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from deft.classify.deft import (
    Aggregator,
    DeftHead,
    DeftModule,
    aggregate,
    background_swap_loss,
    disentangling_losses,
    object_swap_loss,
    pooled_vector,
)
from deft.classify.readings import Eq7
from deft.classify.swap_forms import LinearSwap, MlpSwap, SharedSwap, SwapForm
from deft.contracts import InputError
from fakes import rng

N, C, K, H, W = 4, 6, 3, 5, 7


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(N, C, H, W, generator=rng), (torch.rand(N, K, generator=rng) > 0.5).float()


def build(settings: DeftHead) -> DeftModule:
    torch.manual_seed(1)
    return settings.build(C, K)


def bce(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Sigmoid cross-entropy, one element at a time."""
    total = 0.0
    for n in range(logits.shape[0]):
        for k in range(logits.shape[1]):
            p, y = torch.sigmoid(logits[n, k]), targets[n, k]
            total -= float(y * torch.log(p) + (1 - y) * torch.log(1 - p))
    return total / logits.numel()


def pooled(aggregator: Aggregator, z: torch.Tensor, settings: DeftHead, uniform: float) -> torch.Tensor:
    """Eq. 1 and 2 literally: M attention maps, M vectors, their mean; one image (C, h, w)."""
    scores = aggregator.scores
    assert scores.bias is not None
    vectors = []
    for m in range(settings.maps):
        logit = (scores.weight[m, :, 0, 0, None, None] * z).sum(0) + scores.bias[m]
        attention = torch.exp(logit / settings.temperature)
        attention = attention / attention.sum()
        attention = (1 - uniform) * attention + uniform / attention.numel()
        vectors.append((attention * z).sum(dim=(1, 2)))
    return torch.stack(vectors).mean(dim=0)


@pytest.mark.parametrize("literal", [False, True])
def test_disentangling_equals_a_literal_reading(literal: bool) -> None:
    settings = DeftHead(
        maps=4,
        temperature=2.0,
        uniform=0.25,
        object_weight=1.0,
        object_as_background=0.3,
        background_as_object=0.2,
        background_weight=0.1,
        eq3_literal=literal,
    )
    head, (features, labels) = build(settings), batch()
    with torch.no_grad():
        z_fg = torch.stack([pooled(head.m_fg, z, settings, 0.25) for z in features])
        z_bg = torch.stack([pooled(head.m_bg, z, settings, 0.0) for z in features])
        absent, nothing = 1 - labels, torch.zeros_like(labels)
        expected = {
            "classify": bce(head.f_fg(z_fg), labels),
            "object_as_background": 0.3 * bce(head.f_bg(z_fg), nothing if literal else absent),
            "background_as_object": 0.2 * bce(head.f_fg(z_bg), absent if literal else nothing),
            "background": 0.1 * bce(head.f_bg(z_bg), torch.ones(N, K)),
        }
        terms = head.loss(features, labels, settings.swap_epoch, rng())
    assert set(terms) == {*expected, "swap_background", "swap_object"}
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(value, abs=1e-5), name


@pytest.mark.parametrize("two", [False, True])
def test_swap_terms_equal_a_literal_loop(two: bool) -> None:
    head, (features, labels) = (
        build(DeftHead(two_permutations=two, swap_background_weight=0.5, swap_object_weight=0.5)),
        batch(),
    )
    generator = rng()
    first = torch.randperm(N, generator=generator)
    second = torch.randperm(N, generator=generator) if two else first
    with torch.no_grad():
        z_fg, z_bg = head.m_fg(features), head.m_bg(features)
        scene = torch.stack([head.swap_logits(torch.cat([z_fg[i], z_bg[first[i]]])[None])[0] for i in range(N)])
        thing = torch.stack([head.swap_logits(torch.cat([z_fg[second[i]], z_bg[i]])[None])[0] for i in range(N)])
        terms = head.loss(features, labels, head.settings.swap_epoch, rng())
    assert float(terms["swap_background"]) == pytest.approx(0.5 * bce(scene, labels), abs=1e-5)
    moved = torch.stack([labels[second[i]] for i in range(N)])
    assert float(terms["swap_object"]) == pytest.approx(0.5 * bce(thing, moved), abs=1e-5)


def test_swapping_starts_with_its_epoch() -> None:
    settings = DeftHead(swap_epoch=6)
    head, (features, labels) = build(settings), batch()
    assert "warm_start" in head.loss(features, labels, 5, rng())
    assert "swap_object" in head.loss(features, labels, 6, rng())
    cold = build(dataclasses.replace(settings, warm_start=False))
    assert set(cold.loss(features, labels, 5, rng())) == {
        "classify",
        "object_as_background",
        "background_as_object",
        "background",
    }


def test_zero_attention_weights_give_average_pooling() -> None:
    head, (features, _) = build(DeftHead(init_scale=0.0)), batch()
    torch.testing.assert_close(head.m_fg(features), features.mean(dim=(2, 3)))
    torch.testing.assert_close(head.m_bg(features), features.mean(dim=(2, 3)))


def test_attention_sums_to_one() -> None:
    head, (features, _) = build(DeftHead(uniform=0.5)), batch()
    torch.testing.assert_close(head.m_fg.attention(features).sum(dim=1), torch.ones(N))


def test_two_aggregators_at_once_are_each_on_its_own() -> None:
    head, (features, _) = build(DeftHead(maps=3, temperature=0.5, uniform=0.25)), batch()
    features = features.contiguous(memory_format=torch.channels_last).requires_grad_(True)
    for form in (features, features.contiguous()):
        z_fg, z_bg = aggregate(form, [head.m_fg, head.m_bg])
        torch.testing.assert_close(z_fg, torch.einsum("ncl,nl->nc", form.flatten(2), head.m_fg.attention(form)))
        torch.testing.assert_close(z_bg, torch.einsum("ncl,nl->nc", form.flatten(2), head.m_bg.attention(form)))


def test_aggregation_equals_the_papers_equations() -> None:
    """Averaging the maps first, and both aggregators as one product, gives Eq. 1 and 2."""
    head, (features, _) = build(DeftHead(maps=5)), batch()
    expected = [pooled_vector(features, aggregator.scores(features)) for aggregator in (head.m_fg, head.m_bg)]
    for found, vector in zip(aggregate(features, [head.m_fg, head.m_bg]), expected, strict=True):
        torch.testing.assert_close(found, vector)


def test_the_loss_is_the_papers_equations_weighted() -> None:
    head, (features, labels) = build(DeftHead()), batch()
    z_fg, z_bg = (pooled_vector(features, one.scores(features)) for one in (head.m_fg, head.m_bg))
    perm = torch.randperm(N, generator=rng())
    weights = {"classify": 1.0, "object_as_background": 0.3, "background_as_object": 0.3, "background": 0.3}
    losses = disentangling_losses(head.f_fg, head.f_bg, z_fg, z_bg, labels)
    assert losses.keys() == weights.keys()
    expected = {name: weight * losses[name] for name, weight in weights.items()}
    expected["swap_background"] = background_swap_loss(head.f_swap, z_fg, z_bg, labels, perm)
    expected["swap_object"] = object_swap_loss(head.f_swap, z_fg, z_bg, labels, perm)
    found = head.loss(features, labels, 6, rng())
    assert found.keys() == expected.keys()
    for name, term in expected.items():
        torch.testing.assert_close(found[name], term)


@pytest.mark.filterwarnings("ignore:CPU autocast")
def test_features_of_half_precision_are_taken_as_they_are() -> None:
    head, (features, labels) = build(DeftHead()), batch()
    expected = head.loss(features, labels, 6, rng())
    with torch.autocast("cpu", torch.bfloat16):
        found = head.loss(features.bfloat16(), labels, 6, rng())
    for name, term in expected.items():
        torch.testing.assert_close(found[name].float(), term, rtol=0.03, atol=0.03)


def test_image_score_is_the_class_map_pooled_by_attention() -> None:
    head, (features, _) = build(DeftHead()), batch()
    maps = torch.einsum("kc,nchw->nkhw", head.f_fg.weight, features).flatten(2)
    expected = (maps * head.m_fg.attention(features)[:, None]).sum(dim=2) + head.f_fg.bias
    torch.testing.assert_close(head.logits(features), expected)


@pytest.mark.parametrize("form", [LinearSwap(), SharedSwap(), MlpSwap()])
def test_the_swap_trains_no_background_attention(form: SwapForm) -> None:
    head, (features, labels) = build(DeftHead(swap_head=form)), batch()
    terms = head.loss(features, labels, head.settings.swap_epoch, rng())
    (terms["swap_background"] + terms["swap_object"]).backward()
    assert head.m_bg.scores.weight.grad is None or not head.m_bg.scores.weight.grad.any()
    assert head.m_fg.scores.weight.grad is not None and head.m_fg.scores.weight.grad.any()
    assert next(head.f_swap.parameters()).grad is not None
    assert (head.f_fg.weight.grad is not None) == (form == SharedSwap())


def test_the_warm_start_can_leave_the_features_alone() -> None:
    head, (features, labels) = build(DeftHead(warm_start_features=False)), batch()
    head.loss(features, labels, 1, rng())["warm_start"].backward()
    assert head.m_fg.scores.weight.grad is None or not head.m_fg.scores.weight.grad.any()
    assert next(head.f_swap.parameters()).grad is not None


def test_groups_hold_every_parameter_once() -> None:
    head = build(DeftHead(attention_rate=2.0, classifier_rate=3.0, swap_rate=4.0))
    grouped = [id(p) for parameters, _ in head.groups() for p in parameters]
    assert sorted(grouped) == sorted(id(p) for p in head.parameters())
    assert [rate for _, rate in head.groups()] == [2.0, 3.0, 4.0]


def test_background_reliance_is_the_ratio_of_the_halves() -> None:
    head = build(DeftHead())
    weight = next(head.f_swap.parameters())
    with torch.no_grad():
        weight[:, :C], weight[:, C:] = 2.0, 1.0
    assert head.background_reliance() == pytest.approx(0.5)


@pytest.mark.parametrize("epoch", [1, 6])
def test_one_step_lowers_the_loss(epoch: int) -> None:
    head, (features, labels) = build(DeftHead()), batch()
    optimiser = torch.optim.SGD([{"params": p, "lr": 0.01 * rate} for p, rate in head.groups()])
    before = torch.stack(list(head.loss(features, labels, epoch, rng()).values())).sum()
    optimiser.zero_grad()
    before.backward()
    optimiser.step()
    with torch.no_grad():
        after = torch.stack(list(head.loss(features, labels, epoch, rng()).values())).sum()
    assert float(after) < float(before.detach())


@pytest.mark.parametrize("words", [{"map": "eq7"}, {"swap_head": "linear"}, {"map": Eq7(), "swap_head": None}])
def test_words_in_the_place_of_objects_are_refused(words: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"such as LinearSwap\(\).*such as Eq7\(\)"):
        DeftHead(**words)
