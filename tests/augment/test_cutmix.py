"""CutMix pastes one box from the partner; counted pixels give the labels."""

from __future__ import annotations

import pytest
import torch

from deft.augment.cutmix import CutMix
from deft.contracts import InputError
from fakes import rng


def numbered(n: int = 5, height: int = 12, width: int = 18) -> torch.Tensor:
    """Images that are constant: each pixel says which image it came from."""
    return torch.arange(float(n)).view(n, 1, 1, 1).expand(n, 3, height, width).clone()


@pytest.mark.parametrize("seed", range(12))
def test_labels_follow_from_the_pixels_counted_one_by_one(seed: int) -> None:
    x, labels = numbered(), (torch.rand(5, 4, generator=rng(9)) < 0.5).float()
    pasted, soft = CutMix()(x, labels, rng(seed))
    united = CutMix(union=True)(x, labels, rng(seed))[1]
    for n in range(5):
        owners = pasted[n, 0].flatten().long().tolist()
        assert len(set(owners)) <= 2
        area = torch.stack([labels[owner] for owner in owners]).mean(0)
        assert torch.allclose(soft[n], area, atol=1e-5)
        if len(set(owners)) == 2:  # else a partner that is the image itself, or a box that is empty or all
            assert torch.equal(united[n], torch.stack([labels[owner] for owner in set(owners)]).amax(0))


def test_what_is_pasted_is_one_box_for_the_whole_batch_and_in_place() -> None:
    x = torch.randn(5, 3, 12, 18, generator=rng(1))
    pasted, _ = CutMix()(x, torch.zeros(5, 2), rng(4))
    changed = (pasted != x).all(1)
    boxes = {tuple(image.flatten().tolist()) for image in changed if image.any()}
    assert len(boxes) == 1
    box = torch.tensor(boxes.pop()).view(12, 18)
    assert torch.equal(box, box.any(1)[:, None] & box.any(0)[None])
    rows, columns = box.any(1).nonzero().flatten(), box.any(0).nonzero().flatten()
    assert torch.equal(rows, torch.arange(int(rows[0]), int(rows[-1]) + 1))
    assert torch.equal(columns, torch.arange(int(columns[0]), int(columns[-1]) + 1))
    for n in range(5):
        assert any(torch.equal(pasted[n][:, box], other[:, box]) for other in x)


def test_an_empty_box_and_one_that_covers_all(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = numbered(3, 8, 8), torch.eye(3)
    for kept, whole in ((1.0, True), (0.0, False)):
        monkeypatch.setattr("deft.augment.cutmix.beta", lambda alpha, source, kept=kept: kept)
        monkeypatch.setattr("deft.augment.cutmix.stretch", lambda length, side, source: slice(0, side))
        for union in (False, True):
            pasted, mixed = CutMix(union=union)(x, labels, rng(1))
            owners = pasted[:, 0, 0, 0].long()
            assert torch.equal(owners, torch.arange(3)) == whole
            assert torch.equal(mixed, labels[owners])


def test_nothing_that_comes_in_is_written_to_and_the_generator_decides() -> None:
    x, labels = torch.randn(4, 3, 16, 16), torch.eye(4)
    before = x.clone()
    first, second = CutMix()(x, labels, rng(3)), CutMix()(x, labels, rng(3))
    assert torch.equal(x, before) and torch.equal(labels, torch.eye(4))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_no_beta_distribution_is_refused() -> None:
    with pytest.raises(InputError, match=r"^CutMix\.alpha: expected a number above 0"):
        CutMix(alpha=-0.5)
