from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

from deft.backbone import build_backbone
from deft.classify.classifier import Classifier
from deft.classify.deft import DeftHead, DeftModule
from deft.classify.sma import HierarchicalFeatures, SmaHead, SmaModule, dissimilarity
from deft.contracts import InputError

CHANNELS = (8, 12, 16, 20, 30)


def maps(count: int = 4) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(count, c, side, side) for c, side in zip(CHANNELS, (32, 16, 8, 4, 4), strict=True)]


def labels(count: int = 4) -> torch.Tensor:
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(2)) > 0.5).float()


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_side_maps_have_the_last_ones_shape_and_length_one() -> None:
    sides = HierarchicalFeatures(CHANNELS)
    seen = sides(maps())
    assert seen.shape == (4, 30, 4, 4)
    widths = [conv.out_channels for conv in sides.convs]
    assert sum(widths) == 30
    assert len(widths) == 4
    last = seen[:, -widths[-1] :]
    torch.testing.assert_close(last.norm(dim=1), torch.ones(4, 4, 4))


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
    settings = SmaHead(concat_weight=0.5, ramp_epochs=10, similarity_weight=0.2)
    head = settings.build_on(CHANNELS, 3)
    terms = head.loss_of_maps(maps(), labels(), 5, rng())
    features = maps()[-1]
    z_fg = torch.stack([(head.deft.m_fg.attention(features)[i] * features[i].flatten(1)).sum(1) for i in range(4)])
    deep = head.sides(maps())
    z_bg = torch.stack([(head.deft.m_bg.attention(deep)[i] * deep[i].flatten(1)).sum(1) for i in range(4)])
    pair = F.binary_cross_entropy_with_logits(head.deft.f_swap(torch.cat([z_fg, z_bg], dim=1)), labels())
    torch.testing.assert_close(terms["concat"], 0.5 * 0.5 * pair)
    cosine = (z_fg * z_bg).sum(1) / z_fg.norm(dim=1) / z_bg.norm(dim=1)
    torch.testing.assert_close(terms["similarity"], 0.2 * -(1 - cosine).log().mean())
    no_background = F.binary_cross_entropy_with_logits(head.deft.f_bg(z_bg), torch.zeros(4, 3))
    torch.testing.assert_close(terms["background"], 0.3 * no_background)
    assert "swap_background" not in terms  # before the sixth epoch
    later = head.loss_of_maps(maps(), labels(), 6, rng())
    assert {"swap_background", "swap_object", "concat"} <= later.keys()


def test_the_similarity_falls_as_the_vectors_part() -> None:
    a = torch.tensor([[1.0, 0.0]])
    assert dissimilarity(a, a) > dissimilarity(a, torch.tensor([[1.0, 1.0]])) > dissimilarity(a, -a)
    assert dissimilarity(a, -a).item() == pytest.approx(-math.log(2))


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
