"""Hide-and-Seek hides whole patches of a raster, about half of them, and keeps the labels."""

from __future__ import annotations

import pytest
import torch

from deft.augment.hide_and_seek import HideAndSeek
from deft.contracts import InputError
from fakes import rng


@pytest.mark.parametrize(("size", "height", "width", "side"), [(56, 32, 32, 8), (44, 32, 48, 6), (1, 20, 20, 1)])
def test_patch_by_patch_it_is_what_the_paper_says(size: int, height: int, width: int, side: int) -> None:
    x = torch.rand(3, 3, height, width, generator=rng(1)) + 1
    hidden, _ = HideAndSeek(sizes=(size,))(x, torch.zeros(3, 2), rng(2))
    again = rng(2)
    for n in range(3):
        torch.randint(1, (), generator=again)
        chance = torch.rand(-(-height // side), -(-width // side), generator=again)
        for top in range(0, height, side):
            for left in range(0, width, side):
                patch = (n, slice(None), slice(top, top + side), slice(left, left + side))
                expected = torch.zeros_like(x[patch]) if chance[top // side, left // side] < 0.5 else x[patch]
                assert torch.equal(hidden[patch], expected)


def test_half_is_hidden_and_each_image_draws_its_own_size() -> None:
    x, labels = torch.ones(60, 3, 224, 224), torch.eye(60)
    hidden, same = HideAndSeek()(x, labels, rng())
    assert torch.equal(same, torch.eye(60)) and torch.equal(x, torch.ones_like(x))
    shares = (hidden[:, 0] == 0).float().mean((1, 2))
    untouched = shares == 0
    assert 3 <= int(untouched.sum()) <= 24
    assert abs(float(shares[~untouched].mean()) - 0.5) < 0.05


@pytest.mark.parametrize(("hide", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_nothing_and_everything_can_be_hidden(hide: float, share: float) -> None:
    hidden, _ = HideAndSeek(sizes=(16,), hide=hide)(torch.ones(2, 3, 30, 30), torch.zeros(2, 1), rng())
    assert float((hidden == 0).float().mean()) == share


def test_the_memory_format_stays() -> None:
    x = torch.ones(2, 3, 30, 30).to(memory_format=torch.channels_last)
    assert HideAndSeek()(x, torch.zeros(2, 1), rng())[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("sizes", "hide"), [((), 0.5), ((-1,), 0.5), ((225,), 0.5), ((16,), 1.5)])
def test_no_patches_are_refused(sizes: tuple[int, ...], hide: float) -> None:
    with pytest.raises(InputError, match=r"^HideAndSeek\.(sizes|hide): expected .* 0 to (224|1), got"):
        HideAndSeek(sizes=sizes, hide=hide)
