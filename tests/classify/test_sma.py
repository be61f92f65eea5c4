from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from deft.backbone import build_backbone
from deft.classify.classifier import Classifier
from deft.classify.deft import DeftHead, DeftModule
from deft.classify.sma import HierarchicalFeatures, SmaHead, SmaModule, similarity
from deft.contracts import InputError
from fakes import rng

CHANNELS = (8, 12, 16, 20, 30)


def maps(count: int = 4) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(count, c, side, side) for c, side in zip(CHANNELS, (32, 16, 8, 4, 4), strict=True)]


def labels(count: int = 4) -> torch.Tensor:
    return (torch.rand(count, 3, generator=rng(2)) > 0.5).float()


def test_side_maps_have_the_last_ones_shape_and_length_one() -> None:
    sides = HierarchicalFeatures(CHANNELS)
    seen = sides(maps())
    assert seen.shape == (4, 30, 4, 4)
    widths = [conv.out_channels for conv in sides.convs]
    assert sum(widths) == 30
    assert len(widths) == 4
    last = seen[:, -widths[-1] :]
    torch.testing.assert_close(last.norm(dim=1), torch.ones(4, 4, 4))
    finer = F.normalize(sides.convs[0](maps()[1]), dim=1)
    resized = F.interpolate(finer, size=(4, 4), mode="bilinear", align_corners=False)
    torch.testing.assert_close(seen[:, : widths[0]], resized)


def test_the_sides_train_nothing_behind_them() -> None:
    inputs = [one.requires_grad_(True) for one in maps()]
    HierarchicalFeatures(CHANNELS)(inputs).sum().backward()
    assert all(one.grad is None for one in inputs)


def test_without_its_options_it_is_deft() -> None:
    settings = SmaHead(DeftHead(), hierarchical=False, concat_weight=0, ramp_epochs=1, similarity_weight=0)
    head = settings.build(30, 3)
    plain = DeftModule(DeftHead(), 30, 3)
    plain.load_state_dict(head.deft.state_dict())
    features = maps()[-1]
    for epoch in (1, 7):
        expected = plain.loss(features, labels(), epoch, rng())
        found = head.loss(features, labels(), epoch, rng())
        assert found.keys() == expected.keys()
        for name, term in found.items():
            torch.testing.assert_close(term, expected[name])
    torch.testing.assert_close(head.activation(features), plain.activation(features))


def test_terms_against_the_formulas() -> None:
    settings = SmaHead(concat_weight=0.5, ramp_epochs=10, similarity_weight=0.7)
    head = settings.build_on(CHANNELS, 3)
    terms = head.loss_of_maps(maps(), labels(), 5, rng())
    features = maps()[-1]
    z_fg = torch.stack([(head.deft.m_fg.attention(features)[i] * features[i].flatten(1)).sum(1) for i in range(4)])
    deep = head.sides(maps())
    z_bg = torch.stack([(head.deft.m_bg.attention(deep)[i] * deep[i].flatten(1)).sum(1) for i in range(4)])
    shared = head.deft.f_fg(head.deft.f_swap(torch.cat([z_fg, z_bg], dim=1)))  # f_swap ends in the shared head
    pair = F.binary_cross_entropy_with_logits(shared, labels())
    torch.testing.assert_close(terms["concat"], 0.5 * 0.5 * pair)
    pairs = [F.cosine_similarity(b, f, dim=0).clamp(0.0005, 0.9995) for b in z_bg for f in z_fg]
    torch.testing.assert_close(terms["similarity"], 0.7 * -(1 - torch.stack(pairs)).log().mean())
    no_background = F.binary_cross_entropy_with_logits(head.deft.f_bg(z_bg), torch.zeros(4, 3))
    torch.testing.assert_close(terms["background"], 0.2 * no_background)
    assert "swap_background" not in terms  # before the sixth epoch
    later = head.loss_of_maps(maps(), labels(), 6, rng())
    assert {"swap_background", "swap_object", "concat"} <= later.keys()


def test_similarity_counts_every_pair_of_the_batch() -> None:
    z_fg, z_bg = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert similarity(z_bg, z_fg).item() == pytest.approx(3.80, abs=0.005)  # own pairs are orthogonal, the others equal


def test_vectors_that_point_apart_are_left_alone() -> None:
    z_fg = torch.tensor([[1.0, 0.0]], requires_grad=True)
    loss = similarity(torch.tensor([[-1.0, 0.2]]), z_fg)
    assert loss.item() == pytest.approx(0.0005, rel=1e-3)
    loss.backward()
    assert z_fg.grad is not None and not z_fg.grad.any()


def test_weights_and_rates_are_the_released_ones() -> None:
    settings = SmaHead()
    head = settings.deft
    weights = (head.object_weight, head.object_as_background, head.background_as_object, head.background_weight)
    assert weights == (1.0, 0.3, 0.3, 0.2)
    assert settings.similarity_weight == 1.0 and head.background_target == 0.0
    module = settings.build_on(CHANNELS, 3)
    assert {rate for _, rate in module.groups()} == {10.0}
    assert module.deft.f_swap[0].out_features == CHANNELS[-1]


def test_one_map_is_not_enough_for_a_hierarchy() -> None:
    with pytest.raises(ValueError, match="build_on"):
        SmaHead().build(30, 3)
    with pytest.raises(InputError, match="ramp_epochs"):
        SmaHead(ramp_epochs=0)


def test_a_classifier_with_it_learns() -> None:
    torch.manual_seed(0)
    settings = Classifier(head=SmaHead(DeftHead(maps=4, swap_epoch=1, warm_start=False)))
    network = settings.build(build_backbone("test_resnet"), 3)
    assert isinstance(network.head, SmaModule)
    batch = {"image": torch.randint(0, 255, (4, 3, 64, 64), dtype=torch.uint8), "labels": labels()}
    groups = [{"params": group.params, "lr": 0.005 * group.lr} for group in network.groups()]
    grouped = {id(p) for group in groups for p in group["params"]}
    assert grouped == {id(p) for p in network.parameters()}
    optimiser = torch.optim.SGD(groups)
    losses = []
    for _ in range(8):
        loss = sum(network.terms(batch, 10, rng()).values(), torch.zeros(()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert dataclasses.asdict(settings.head)["hierarchical"]
