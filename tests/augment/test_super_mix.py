"""SuperMix: masks of sum 1, steps down the slope of the written-out loss, and a stop where the tags lead."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deft.augment.super_mix import SuperMix, blurred, excess, fits, mixture, pixel_masks
from deft.classify.gradients import ImageGradients
from deft.contracts import InputError, SalientAugmentation
from fakes import rng

WEIGHTS = torch.randn(4, 3, 16, 16, generator=rng(5)) / 20


def score(x: Tensor) -> Tensor:
    """A linear classifier of all pixels."""
    return torch.einsum("nchw,kchw->nk", x, WEIGHTS.to(x))


def looked(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        scores = score(leaf)
        loss = F.binary_cross_entropy_with_logits(scores, labels, reduction="sum")
        return scores.detach(), torch.autograd.grad(loss, leaf)[0]


COLOURS = torch.ones(3, 1, 1)
gradients = ImageGradients(looked, COLOURS)


def enlarging(cells: int, pixels: int) -> Tensor:
    """Share of each cell in the value of each pixel along one side, (pixels, cells): bilinear between centres."""
    found = torch.zeros(pixels, cells)
    for pixel in range(pixels):
        at = min(max((pixel + 0.5) * cells / pixels - 0.5, 0), cells - 1)  # in cells, from the centre of the first one
        for cell in range(cells):
            found[pixel, cell] = max(0.0, 1 - abs(at - cell))
    return found


def written_out(variables: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Masks (M, 1, H, W) of variables (M, cells, cells) and the mixture (3, H, W) of images (M, 3, H, W)."""
    down, right = (enlarging(len(variables[0]), side) for side in images.shape[-2:])
    fine = [1 / (1 + (-(down @ one @ right.mT)).exp()) for one in variables]
    masks = torch.stack([one / sum(fine) for one in fine])[:, None]
    return masks, (masks * images).sum(0)


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(5, 3, 16, 16, generator=rng()), torch.eye(4)[[0, 1, 2, 3, 1]]


def test_a_step_follows_the_slope_of_the_whole_loss() -> None:
    settings = SuperMix(cells=4, sigma=0.01)  # no blur
    x, labels = batch()
    sets, targets = torch.stack([x, x.roll(-1, 0)], 1), (labels + labels.roll(-1, 0)) / 2
    variables = torch.randn(5, 2, 4, 4, generator=rng(2))
    scores, gradient = gradients(mixture(sets, variables), targets)
    found = settings.improved(variables, sets, scores, gradient, targets)
    for index in range(5):
        leaf = variables[index].clone().requires_grad_(True)
        masks, mixed = written_out(leaf, sets[index])
        value = excess(score(mixed[None]), targets[index : index + 1])[0] + 25 * (masks * (1 - masks)).mean()
        (slope,) = torch.autograd.grad(value, leaf)
        length = float(value.detach() / slope.square().sum())
        assert 1e-4 < length < 2000
        torch.testing.assert_close(found[index], leaf.detach() - length * slope, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("factor", "length"), [(1e-4, 2000.0), (1e4, 1e-4)])
def test_steps_are_neither_too_long_nor_too_short(factor: float, length: float) -> None:
    """Where the loss is flat Newton's step would be as long as one likes, and where it is steep next to none."""
    x, labels = batch()
    sets, variables = torch.stack([x, x.roll(-1, 0)], 1), torch.randn(5, 2, 4, 4, generator=rng(2))
    gradient = factor * torch.randn(5, 3, 16, 16, generator=rng(3))
    settings = SuperMix(cells=4, sigma=0.01, sparsity=0)
    found = settings.improved(variables, sets, torch.zeros(5, 4), gradient, labels)
    for index in range(5):
        leaf = variables[index].clone().requires_grad_(True)
        (slope,) = torch.autograd.grad((written_out(leaf, sets[index])[1] * gradient[index]).sum(), leaf)
        torch.testing.assert_close(variables[index] - found[index], length * slope, rtol=1e-3, atol=1e-5)


def test_masks_are_sigmoids_of_enlarged_variables() -> None:
    variables, sets = 3 * torch.randn(2, 3, 4, 4, generator=rng(2)), torch.randn(2, 3, 3, 10, 14, generator=rng(3))
    for index in range(2):
        masks, mixed = written_out(variables[index], sets[index])
        torch.testing.assert_close(pixel_masks(variables, sets)[index], masks)
        torch.testing.assert_close(mixture(sets, variables)[index], mixed)


@pytest.mark.parametrize(("settings", "alpha"), [(SuperMix(steps=0), 3), (SuperMix(steps=0, alpha=1), 1)])
def test_shares_are_from_a_dirichlet_distribution(settings: SuperMix, alpha: float) -> None:
    x, labels = torch.zeros(2000, 3, 1, 1), torch.eye(2).repeat(1000, 1)
    shares = settings(x, labels, rng(), gradients)[1][labels > 0]  # of each image in the mixture with the next one
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)  # of Beta(alpha, alpha)


def test_masks_share_each_pixel_and_become_decided() -> None:
    x, labels = batch()
    mixed, soft = SuperMix(steps=0)(x, labels, rng(1), gradients)
    assert torch.allclose(mixed, (x + x.roll(-1, 0)) / 2, atol=1e-6)
    assert torch.allclose(soft.sum(1), torch.ones(5)) and bool((soft >= 0).all())
    masks = pixel_masks(torch.randn(2, 3, 4, 4, generator=rng()), torch.zeros(2, 3, 3, 10, 12))
    assert masks.shape == (2, 3, 1, 10, 12) and torch.allclose(masks.sum(1), torch.ones(2, 1, 10, 12))


def test_a_mixture_whose_tags_lead_is_improved_once() -> None:
    x, labels = batch()
    calls = []

    def sure(mixed: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(mixed)
        return (targets > 0).float(), torch.ones_like(mixed)

    mixed, _ = SuperMix()(x, labels, rng(1), ImageGradients(sure, COLOURS))
    assert len(calls) == 2 and torch.equal(mixed, calls[1]) and not torch.equal(mixed, calls[0])
    once, _ = SuperMix(steps=1)(x, labels, rng(1), ImageGradients(sure, COLOURS))
    assert torch.equal(mixed, once)
    scores = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    tags = torch.tensor([[1.0, 0.2, 0.0], [1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    assert fits(scores, tags).tolist() == [True, False, False]


def test_mixtures_that_are_found_fit_cost_nothing_more_and_change_nothing() -> None:
    x, labels = torch.randn(8, 3, 16, 16, generator=rng(7)), torch.eye(4)[[0, 1, 2, 3, 1, 0, 3, 2]]
    asked = []

    def counted(mixed: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(len(mixed))
        return gradients(mixed, targets)

    settings = SuperMix(cells=4, steps=5)
    mixed, targets = settings(x, labels, rng(3), ImageGradients(counted, COLOURS))
    assert asked[:2] == [8, 8] and asked == sorted(asked, reverse=True) and 0 < asked[2] < 8
    sets = torch.stack([x, x.roll(-1, 0)], 1)
    tags = torch.stack([labels, labels.roll(-1, 0)], 1).amax(1)
    for index in range(8):  # each for itself
        one, target, masks = sets[index : index + 1], targets[index : index + 1], torch.zeros(1, 2, 4, 4)
        for step in range(5):
            scores, gradient = gradients(mixture(one, masks), target)
            if step and fits(scores, tags[index : index + 1]):
                break
            masks = settings.improved(masks, one, scores, gradient, target)
        torch.testing.assert_close(mixed[index : index + 1], mixture(one, masks), rtol=0.01, atol=0.01)


def test_steps_change_the_masks_and_leave_the_arguments() -> None:
    x, labels = batch()
    before = x.clone(), labels.clone()
    mixed, soft = SuperMix(images=3, steps=3)(x, labels, rng(1), gradients)
    assert torch.equal(x, before[0]) and torch.equal(labels, before[1])
    assert torch.isfinite(mixed).all() and mixed.shape == x.shape and soft.shape == labels.shape
    plain, same = SuperMix(images=3, steps=0)(x, labels, rng(1), gradients)
    assert torch.equal(soft, same) and not torch.allclose(mixed, plain)
    again, _ = SuperMix(images=3, steps=3)(x, labels, rng(1), gradients)
    assert torch.equal(again, mixed)


def test_the_loss_is_counted_from_its_least_value_and_the_blur_keeps_sums() -> None:
    targets = torch.tensor([[0.3, 1.0, 0.0]])
    assert float(excess(torch.logit(targets.clamp(1e-6, 1 - 1e-6)), targets)) < 1e-4
    assert float(excess(torch.zeros(1, 3), targets)) > 1
    spot = torch.zeros(1, 2, 9, 9)
    spot[0, 1, 4, 4] = 1
    found = blurred(spot, 1.0)
    assert float(found[0, 1].sum()) == pytest.approx(1, abs=1e-5) and float(found[0, 0].abs().max()) == 0
    assert float(found[0, 1, 4, 5] / found[0, 1, 4, 4]) == pytest.approx(2.718281828**-0.5, rel=1e-4)


def test_settings() -> None:
    assert isinstance(SuperMix(), SalientAugmentation)
    with pytest.raises(InputError, match=r"^SuperMix\.images: expected a whole number from 2 to 8"):
        SuperMix(images=1)
