from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from deft.deploy.resampling import cubic_weights, resize
from fakes import noise

SIZES = [((37, 53), (64, 80)), ((75, 101), (48, 64)), ((64, 64), (64, 64)), ((9, 300), (32, 64)), ((1, 1), (32, 48))]


def batch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float()


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_rounded_it_is_pillows_bicubic(old: tuple[int, int], new: tuple[int, int]) -> None:
    image = noise(*old)
    expected = np.asarray(Image.fromarray(image).resize(new[::-1], Image.Resampling.BICUBIC))
    found = resize(batch(image), new, whole=True)[0].numpy().transpose(1, 2, 0)
    off = np.abs(found - expected)
    assert off.max() <= 1  # Pillow's weights are whole numbers
    assert (off > 0).mean() < 0.002


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_unrounded_it_is_torchs_antialiased_bicubic(old: tuple[int, int], new: tuple[int, int]) -> None:
    pixels = batch(noise(*old))
    expected = F.interpolate(pixels, size=new, mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)
    torch.testing.assert_close(resize(pixels, new), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize(("old", "new"), [(5, 9), (9, 5), (7, 7), (1, 4), (300, 3)])
def test_weights_of_a_pixel_sum_to_one(old: int, new: int) -> None:
    weights = cubic_weights(old, new)
    assert weights.shape == (new, old)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(new))
