from __future__ import annotations

import pytest
import torch
from torch import nn

from deft.classify.swap_forms import SWAP_FORMS, LinearSwap, MlpSwap, ObjectSwap, SharedSwap

C, K = 6, 3


def made(name: str) -> tuple[nn.Sequential, nn.Linear, torch.Tensor]:
    torch.manual_seed(0)
    return SWAP_FORMS[name]().build(C, K), nn.Linear(C, K), torch.randn(5, 2 * C)


def test_scores_are_the_layers_by_hand() -> None:
    f_swap, f_fg, pair = made("linear")
    assert torch.equal(LinearSwap().logits(f_swap, f_fg, pair), pair @ f_swap[0].weight.T + f_swap[0].bias)

    f_swap, f_fg, pair = made("shared")
    hidden = pair @ f_swap[0].weight.T + f_swap[0].bias
    expected = hidden @ f_fg.weight.T + f_fg.bias
    torch.testing.assert_close(SharedSwap().logits(f_swap, f_fg, pair), expected)

    f_swap, f_fg, pair = made("mlp")
    hidden = (pair @ f_swap[0].weight.T + f_swap[0].bias).clamp(min=0)
    expected = hidden @ f_swap[2].weight.T + f_swap[2].bias
    torch.testing.assert_close(MlpSwap().logits(f_swap, f_fg, pair), expected)


@pytest.mark.parametrize("name", SWAP_FORMS)
def test_additive_forms_give_every_object_the_same_lift(name: str) -> None:
    form, (f_swap, f_fg, pair) = SWAP_FORMS[name](), made(name)
    objects, backgrounds = pair[:, :C], pair[:, C:]

    def lift(one: torch.Tensor) -> torch.Tensor:
        """What the second background adds to the first, for one object."""
        pairs = torch.stack([torch.cat([one, ground]) for ground in backgrounds[:2]])
        first, second = form.logits(f_swap, f_fg, pairs)
        return second - first

    assert torch.allclose(lift(objects[0]), lift(objects[1]), atol=1e-5) == form.additive


def test_the_control_sees_no_background_and_learns_nothing_of_it() -> None:
    form, (f_swap, f_fg, pair) = ObjectSwap(), made("object")
    other = torch.cat([pair[:, :C], torch.randn(5, C)], dim=1)
    scores = form.logits(f_swap, f_fg, pair)
    assert torch.equal(scores, form.logits(f_swap, f_fg, other))
    layer = f_swap[0]
    torch.testing.assert_close(scores, pair[:, :C] @ layer.weight[:, :C].T + layer.bias)
    scores.sum().backward()
    assert layer.weight.grad[:, :C].any() and not layer.weight.grad[:, C:].any() and not layer.weight[:, C:].any()
