from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch

from deft.refine.crf import DenseCrf, dense_crf, unary_from_labels, unary_from_probabilities


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Two flat colours with noise."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 60)
    image[:, width // 2 :] = 170
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def exact_mean_field(unary: np.ndarray, image: np.ndarray, settings: DenseCrf) -> np.ndarray:
    """Mean field with exact kernels over all pairs of pixels."""
    labels, height, width = unary.shape
    places = np.array(list(product(range(height), range(width))), dtype=float)
    colours = image.reshape(-1, 3).astype(float)
    wide = np.hstack([places / settings.bilateral_sxy, colours / settings.bilateral_srgb])
    message = np.zeros((height * width, height * width))
    for compat, points in (
        (settings.gaussian_compat, places / settings.gaussian_sxy),
        (settings.bilateral_compat, wide),
    ):
        kernel = np.exp(-((points[:, None] - points[None]) ** 2).sum(-1) / 2)
        norm = 1 / np.sqrt(kernel.sum(1))
        message += compat * norm[:, None] * kernel * norm
    energy = -unary.reshape(labels, -1)
    belief = np.exp(energy) / np.exp(energy).sum(0)
    for _ in range(settings.iterations):
        total = energy + belief @ message
        belief = np.exp(total - total.max(0))
        belief /= belief.sum(0)
    return belief.reshape(unary.shape)


@pytest.mark.parametrize("settings", [DenseCrf(), DenseCrf(5, 3, 3, 20, 13, 10), DenseCrf(5, 2, 4, 9, 9, 0)])
def test_result_is_close_to_exact_mean_field(settings: DenseCrf) -> None:
    image = picture(14, 18)
    rng = np.random.default_rng(3)
    labels = (np.arange(18) >= 9)[None].repeat(14, 0) ^ (rng.random((14, 18)) < 0.2)
    unary = unary_from_labels(torch.from_numpy(labels.astype(np.int64)), 3, 0.7)
    found = dense_crf(unary, image, settings).numpy()
    exact = exact_mean_field(unary.numpy().astype(float), image, settings)
    assert np.abs(found - exact).mean() < 0.02
    assert (found.argmax(0) == exact.argmax(0)).mean() > 0.97


def test_noisy_labels_are_corrected_by_colours() -> None:
    truth = (np.arange(40) >= 20)[None].repeat(30, 0)
    noisy = truth ^ (np.random.default_rng(0).random(truth.shape) < 0.25)
    unary = unary_from_labels(torch.from_numpy(noisy.astype(np.int64)), 2, 0.7)
    found = dense_crf(unary, picture(30, 40), DenseCrf()).argmax(0).numpy()
    assert (found == truth).mean() > 0.99 > 0.8 > (noisy == truth).mean()


def test_probabilities_sum_to_one_and_do_not_depend_on_the_order_of_labels() -> None:
    image = picture(15, 21)
    unary = torch.rand(4, 15, 21, generator=torch.Generator().manual_seed(1)) * 3
    found = dense_crf(unary, image, DenseCrf())
    torch.testing.assert_close(found.sum(0), torch.ones(15, 21))
    turned = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(dense_crf(unary[turned], image, DenseCrf()), found[turned], rtol=1e-4, atol=1e-5)


def test_problems_on_one_image_are_independent() -> None:
    image = picture(9, 12)
    unary = torch.rand(2, 3, 9, 12, generator=torch.Generator().manual_seed(2)) * 3
    both = dense_crf(unary, image, DenseCrf())
    for one, alone in zip(both, unary, strict=True):
        torch.testing.assert_close(one, dense_crf(alone, image, DenseCrf()), rtol=1e-4, atol=1e-5)


def test_improbable_labels_do_not_change_the_others() -> None:
    image = picture(9, 12)
    unary = torch.rand(2, 3, 9, 12, generator=torch.Generator().manual_seed(2)) * 3
    more = torch.cat([unary, torch.full((2, 15, 9, 12), 60.0)], dim=1)
    found = dense_crf(more, image, DenseCrf())
    torch.testing.assert_close(found[:, :3], dense_crf(unary, image, DenseCrf()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labels", [3, 17])
def test_without_iterations_or_kernels_the_result_is_the_softmax_of_the_unary(labels: int) -> None:
    unary = torch.rand(labels, 5, 6) * 4
    for settings in (DenseCrf(iterations=0), DenseCrf(gaussian_compat=0, bilateral_compat=0)):
        torch.testing.assert_close(dense_crf(unary, picture(5, 6), settings), (-unary).softmax(0))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1)])
def test_images_one_pixel_wide_or_high(size: tuple[int, int]) -> None:
    found = dense_crf(torch.rand(2, *size), picture(*size), DenseCrf())
    assert found.shape == (2, *size)
    torch.testing.assert_close(found.sum(0), torch.ones(size))


def test_unary_energies_of_labels_and_probabilities() -> None:
    from_labels = unary_from_labels(torch.tensor([[0, 2]]), 3, 0.7)
    torch.testing.assert_close((-from_labels).exp()[:, 0].T, torch.tensor([[0.7, 0.15, 0.15], [0.15, 0.15, 0.7]]))
    certain = unary_from_probabilities(torch.tensor([1.0, 0.0]).view(2, 1, 1))
    torch.testing.assert_close(certain.flatten(), torch.tensor([0.0, -math.log(1e-5)]), atol=1e-6, rtol=1e-5)


def test_wrong_shapes_and_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"bilateral_srgb: expected a number above 0 to 1,000,000, got 0"):
        DenseCrf(bilateral_srgb=0)
    with pytest.raises(ValueError, match="iterations"):
        DenseCrf(iterations=-1)
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        dense_crf(torch.zeros(2, 4, 5), picture(5, 4), DenseCrf())
    with pytest.raises(ValueError, match="at least 2 labels"):
        unary_from_labels(torch.zeros(2, 2, dtype=torch.int64), 1, 0.7)
    with pytest.raises(ValueError, match="too small"):
        dense_crf(torch.zeros(2, 40, 50), picture(40, 50), DenseCrf(bilateral_srgb=1e-3, bilateral_sxy=1e-3))
