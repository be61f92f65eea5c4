"""Feature swapping keeps objects, exchanges backgrounds, and trains the object vectors only."""

from __future__ import annotations

import torch

from deft.augment.feature_swap import swap_background, swap_object


def vectors(n: int = 5, c: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    z_fg = torch.randn(n, c, generator=rng, requires_grad=True)
    z_bg = torch.randn(n, c, generator=rng, requires_grad=True)
    return z_fg, z_bg, torch.randperm(n, generator=rng)


def test_background_swap_keeps_objects_and_exchanges_backgrounds() -> None:
    z_fg, z_bg, perm = vectors()
    pair = swap_background(z_fg, z_bg, perm)
    for i in range(5):
        assert torch.equal(pair[i, :3], z_fg[i])
        assert torch.equal(pair[i, 3:], z_bg[perm[i]])


def test_object_swap_keeps_backgrounds_and_exchanges_objects() -> None:
    z_fg, z_bg, perm = vectors()
    pair = swap_object(z_fg, z_bg, perm)
    for i in range(5):
        assert torch.equal(pair[i, :3], z_fg[perm[i]])
        assert torch.equal(pair[i, 3:], z_bg[i])


def test_no_gradient_reaches_the_backgrounds() -> None:
    for swap in (swap_background, swap_object):
        z_fg, z_bg, perm = vectors()
        swap(z_fg, z_bg, perm).square().sum().backward()
        assert z_bg.grad is None
        assert z_fg.grad is not None and bool((z_fg.grad != 0).all())


def test_the_two_swaps_are_inverse_to_each_other() -> None:
    z_fg, z_bg, perm = vectors()
    inverse = torch.argsort(perm)
    assert torch.equal(swap_object(z_fg, z_bg, perm)[inverse], swap_background(z_fg, z_bg, inverse))


def test_identity_permutation_is_the_unswapped_pair() -> None:
    z_fg, z_bg, _ = vectors()
    same = torch.arange(5)
    assert torch.equal(swap_background(z_fg, z_bg, same), torch.cat([z_fg, z_bg], dim=1))
    assert torch.equal(swap_object(z_fg, z_bg, same), torch.cat([z_fg, z_bg], dim=1))
