"""DEFT for frozen features: its terms are those of its formulas, and the background is where the maps are low."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from deft.classify.frozen_deft import FrozenDeftHead, FrozenDeftModule
from deft.contracts import InputError
from deft.engine.head import soft_margin
from fakes import rng

LABELS = torch.tensor([[1.0, 0, 1.0], [0, 1.0, 0], [0, 0, 0], [1.0, 1.0, 0]])


def module(head: FrozenDeftHead | None = None) -> FrozenDeftModule:
    torch.manual_seed(0)
    return (head or FrozenDeftHead()).build(7, 3)


def features(count: int = 4) -> Tensor:
    return torch.randn(count, 7, 3, 5, generator=rng(1))


def slow_attention(own: FrozenDeftModule, z: Tensor, tags: Tensor) -> list[float]:
    """Of one image, cell by cell."""
    weight = own.classifier.weight[:, :, 0, 0].detach()
    present = [k for k in range(3) if tags[k]]
    low = [max((float(weight[k] @ z[:, y, x]) for k in present), default=0.0) for y in range(3) for x in range(5)]
    mean = sum(low) / len(low)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in low) / (len(low) - 1)) or 1.0
    raised = [math.exp(-value / (own.deft.softness * deviation)) for value in low]
    return [value / sum(raised) for value in raised]


def test_terms_equal_those_of_one_image_at_a_time() -> None:
    own, z = module(FrozenDeftHead(background_as_object=0.4, swap_background_weight=0.7, softness=0.8)), features()
    found = own.loss(z, LABELS, epoch=3, rng=rng(5))
    perm = torch.randperm(4, generator=rng(5))
    cells = z.flatten(2)
    backgrounds = [cells[i] @ torch.tensor(slow_attention(own, z[i], LABELS[i])) for i in range(4)]
    wholes = [cells[i].mean(dim=1) for i in range(4)]
    weight = own.classifier.weight[:, :, 0, 0]

    def mean(vectors: list[Tensor], targets: Tensor) -> float:
        terms = []
        for vector, row in zip(vectors, targets, strict=True):
            chance = (weight @ vector).detach().sigmoid()
            terms += [-math.log(chance[k] if row[k] else 1 - chance[k]) for k in range(3)]
        return sum(terms) / len(terms)

    composites = [wholes[i] - backgrounds[i] + backgrounds[int(perm[i])] for i in range(4)]
    expected = {
        "classify": mean(wholes, LABELS),
        "background_as_object": 0.4 * mean(backgrounds, torch.zeros(4, 3)),
        "swap_background": 0.7 * mean(composites, LABELS),
    }
    assert {name: float(term.detach()) for name, term in found.items()} == pytest.approx(expected, rel=1e-5)


def test_the_background_is_where_maps_are_low_whatever_their_scale() -> None:
    own, z = module(), features()
    attention = own.background_attention(z, LABELS)
    assert attention.shape == (4, 3, 5)
    torch.testing.assert_close(attention.sum(dim=(1, 2)), torch.ones(4))
    torch.testing.assert_close(attention[2], torch.full((3, 5), 1 / 15))  # no tag, no object
    lowest = own.cell_scores(z)[1, 1].flatten().argmin()
    assert attention[1].flatten().argmax() == lowest
    torch.testing.assert_close(own.background_attention(9 * z, LABELS), attention)
    assert not attention.requires_grad
    torch.testing.assert_close(own.background_attention(z[:, :, :1, :1], LABELS), torch.ones(4, 1, 1))


def test_an_image_alone_swaps_with_itself() -> None:
    own, z = module(FrozenDeftHead(swap_background_weight=1.0)), features(1)
    found = own.loss(z, LABELS[:1], epoch=3, rng=rng(0))
    torch.testing.assert_close(found["swap_background"], found["classify"])
    torch.testing.assert_close(found["classify"], soft_margin(own.logits(z), LABELS[:1]))


def test_first_epochs_have_no_background() -> None:
    assert set(module().loss(features(), LABELS, epoch=2, rng=rng(0))) == {"classify"}
    assert len(module().loss(features(), LABELS, epoch=3, rng=rng(0))) == 3


def test_a_scene_is_no_longer_scored() -> None:
    """A class that is always seen on one scene: plain maps are high on both, these on the object alone."""
    z = torch.zeros(16, 4, 2, 2)
    tags = torch.zeros(16, 2)
    z[:8, 0, 0, 0], z[:8, 1, 1, :] = 2.0, 1.0  # channel 0 is the object of class 0, channel 1 its scene
    z[8:, 2, 0, 1], z[8:, 3, 1, :] = 2.0, 1.0
    tags[:8, 0], tags[8:, 1] = 1, 1

    def share(head: FrozenDeftHead) -> float:
        own = module_of(head)
        optimiser = torch.optim.AdamW(own.parameters(), lr=0.05)
        generator = rng(0)
        for step in range(200):
            optimiser.zero_grad()
            torch.stack(list(own.loss(z, tags, 1 + step // 20, generator).values())).sum().backward()
            optimiser.step()
        maps = own.combine(own.activation(z[:1])[0]).detach()[0]
        return float(maps[1].mean())

    def module_of(head: FrozenDeftHead) -> FrozenDeftModule:
        torch.manual_seed(0)
        return head.build(4, 2)

    plain = share(FrozenDeftHead(background_as_object=0.0, swap_background_weight=0.0))
    assert plain > 0.5
    assert share(FrozenDeftHead()) < plain / 2


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="softness"):
        FrozenDeftHead(softness=0.0)
