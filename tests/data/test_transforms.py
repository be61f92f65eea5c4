from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deft.data.transforms import TrainCrop, jitter_colours, resized, to_tensor

FILL = (124, 116, 104)
RNG = np.random.default_rng(3)
IMAGE = RNG.integers(0, 256, (21, 34, 3), dtype=np.uint8)
MASK = RNG.integers(0, 4, (21, 34), dtype=np.uint8)


def slow_crop(
    settings: TrainCrop, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Resize everything, pad everything, cut, mirror."""
    height, width = image.shape[:2]
    factor = 1.0
    if settings.long_side:
        factor = rng.integers(settings.long_side[0], settings.long_side[1] + 1) / max(height, width)
    if settings.scale:
        factor *= rng.uniform(*settings.scale)
    size = (round(width * factor), round(height * factor))
    big = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    centres = [
        ((np.arange(n) + 0.5) * old / n + 1e-9).astype(int) for n, old in zip(size[::-1], mask.shape, strict=True)
    ]
    big_mask = np.array([[mask[y, x] for x in centres[1]] for y in centres[0]])
    side = settings.crop
    canvas = np.empty((size[1] + 2 * side, size[0] + 2 * side, 3), dtype=np.uint8)
    canvas[:] = FILL
    values = np.full(canvas.shape[:2], 255, dtype=np.int64)
    canvas[side:-side, side:-side], values[side:-side, side:-side] = big, big_mask
    corner = []
    for length in (size[1], size[0]):
        shift = int(rng.integers(0, abs(length - side) + 1))
        corner.append(side + (shift if length >= side else -shift))
    cut = np.s_[corner[0] : corner[0] + side, corner[1] : corner[1] + side]
    square, values = canvas[cut], values[cut]
    if settings.flip and rng.random() < 0.5:
        square, values = square[:, ::-1], values[:, ::-1]
    return square, values


@pytest.mark.parametrize(
    "crop",
    [
        TrainCrop(16, long_side=(20, 60)),
        TrainCrop(40, long_side=(20, 60)),
        TrainCrop(24, scale=(0.5, 1.5)),
        TrainCrop(24, long_side=(20, 40), scale=(0.5, 1.5), flip=False),
        TrainCrop(24),
        TrainCrop(64),
    ],
    ids=str,
)
def test_a_crop_equals_resizing_all_and_cutting_then(crop: TrainCrop) -> None:
    for seed in range(20):
        square, values = crop(IMAGE, MASK, FILL, np.random.default_rng(seed))
        expected, expected_values = slow_crop(crop, IMAGE, MASK, np.random.default_rng(seed))
        assert values is not None
        assert np.abs(square.numpy().transpose(1, 2, 0).astype(int) - expected).max() <= 1  # rounding of the box
        np.testing.assert_array_equal(values.numpy(), expected_values)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    side=st.integers(1, 40),
    low=st.integers(1, 60),
    more=st.integers(0, 30),
    factor=st.floats(0.1, 2.0),
    seed=st.integers(0, 2**32),
)
def test_every_size_gives_a_whole_square(
    height: int, width: int, side: int, low: int, more: int, factor: float, seed: int
) -> None:
    mask = (np.arange(height * width) % 5).astype(np.uint8).reshape(height, width)
    image = np.repeat(mask[..., None] * 40, 3, axis=2)
    crop = TrainCrop(side, (low, low + more), (factor, factor * 1.5), jitter=0.3)
    square, values = crop(image, mask, FILL, np.random.default_rng(seed))
    assert values is not None
    assert square.shape == (3, side, side) and square.dtype == torch.uint8 and square.is_contiguous()
    assert values.shape == (side, side) and values.dtype == torch.int64
    assert set(values.unique().tolist()) <= {0, 1, 2, 3, 4, 255}  # a mask is never blended
    outside = values == 255
    assert (square[:, outside] == torch.tensor(FILL, dtype=torch.uint8)[:, None]).all()
    assert (~outside).any()


def test_image_and_mask_stay_together_through_flip_and_padding() -> None:
    mask = np.zeros((30, 30), dtype=np.uint8)
    mask[5:15, 3:9] = 1
    image = np.where(mask[..., None] == 1, 255, 0).astype(np.uint8).repeat(3, axis=2)
    for seed in range(20):
        square, values = TrainCrop(48)(image, mask, (9, 9, 9), np.random.default_rng(seed))
        assert values is not None
        assert torch.equal(square[0] == 255, values == 1)
        assert int((values == 1).sum()) == 60


def test_the_same_generator_gives_the_same_crop_with_and_without_mask() -> None:
    crop = TrainCrop(32, (20, 60), (0.5, 1.5), jitter=0.3)
    before = IMAGE.copy(), MASK.copy()
    first, _ = crop(IMAGE, MASK, FILL, np.random.default_rng(7))
    second, none = crop(IMAGE, None, FILL, np.random.default_rng(7))
    third, _ = crop(IMAGE, MASK, FILL, np.random.default_rng(8))
    assert none is None
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    np.testing.assert_array_equal(IMAGE, before[0])
    np.testing.assert_array_equal(MASK, before[1])


def test_half_of_the_crops_are_mirrored_and_none_when_told_so() -> None:
    image = np.tile(np.arange(8, dtype=np.uint8)[None, :, None], (8, 1, 3))

    def mirrored(crop: TrainCrop) -> int:
        cut = [crop(image, None, FILL, np.random.default_rng(seed))[0] for seed in range(200)]
        return sum(int(square[0, 0, 0] > square[0, 0, -1]) for square in cut)

    assert 70 < mirrored(TrainCrop(8)) < 130
    assert mirrored(TrainCrop(8, flip=False)) == 0


def test_jitter_keeps_the_size_and_changes_the_colour() -> None:
    red = Image.new("RGB", (5, 4), (200, 60, 50))
    seen = {jitter_colours(red, 0.3, np.random.default_rng(seed)).getpixel((0, 0)) for seed in range(20)}
    assert len(seen) > 15
    same = jitter_colours(red, 0.0, np.random.default_rng(0))
    assert same.size == (5, 4)
    assert np.abs(np.asarray(same).astype(int) - np.asarray(red)).max() <= 4  # there and back through HSV


@pytest.mark.parametrize("size", [(21, 34), (40, 60), (9, 12), (1, 100), (21, 5)], ids=str)
def test_resizing_gives_the_values_of_pillow(size: tuple[int, int]) -> None:
    fixed = IMAGE.copy()
    fixed.flags.writeable = False
    expected = np.asarray(Image.fromarray(IMAGE).resize(size[::-1], Image.Resampling.BICUBIC)).astype(int)
    for image in (IMAGE, fixed, IMAGE[::-1, ::-1][::-1, ::-1]):
        found = resized(image, size)
        assert found.dtype == torch.uint8
        assert np.abs(found.permute(1, 2, 0).numpy() - expected).max() <= 2


def test_to_tensor_moves_the_colours_first() -> None:
    tensor = to_tensor(IMAGE)
    assert tensor.shape == (3, 21, 34) and tensor.dtype == torch.uint8
    np.testing.assert_array_equal(tensor.numpy().transpose(1, 2, 0), IMAGE)


@pytest.mark.parametrize(
    "fields",
    [{"crop": 0}, {"long_side": (9, 4)}, {"scale": (0.0, 1.0)}, {"scale": (2.0, 1.0)}, {"jitter": 2.0}],
    ids=str,
)
def test_settings_out_of_range_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected crop"):
        TrainCrop(**({"crop": 8} | fields))  # type: ignore[arg-type]


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        TrainCrop(8)(IMAGE, MASK[:5], FILL, np.random.default_rng(0))
