from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from deft.artifacts import palette
from deft.report.embed import picture_uri


def decode(uri: str) -> tuple[str, np.ndarray]:
    head, content = uri.split(",", 1)
    return head, np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def test_a_mask_is_stored_losslessly() -> None:
    picture = palette()[np.random.default_rng(0).integers(0, 40, (30, 50))]
    head, again = decode(picture_uri(picture))
    assert head == "data:image/png;base64"
    assert np.array_equal(again, picture)


def test_a_photograph_is_stored_as_a_small_jpeg() -> None:
    rows = np.linspace(0, 255, 400)
    picture = np.stack(np.broadcast_arrays(rows[:, None], rows[None, :], 128.0), axis=2).astype(np.uint8)
    head, again = decode(picture_uri(picture, width=100))
    assert head == "data:image/jpeg;base64"
    assert again.shape == (100, 100, 3)
    assert abs(float(again.mean()) - float(picture.mean())) < 3


def test_extreme_aspect_ratios_stay_within_bounds() -> None:
    assert decode(picture_uri(np.zeros((4000, 10, 3), np.uint8)))[1].shape[0] <= 480
    assert decode(picture_uri(np.zeros((1, 5000, 3), np.uint8)))[1].shape == (1, 240, 3)
    assert decode(picture_uri(np.zeros((1, 1, 3), np.uint8)))[1].shape == (1, 1, 3)


def test_wrong_shapes_and_values_are_refused() -> None:
    for bad in (np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3)), np.zeros((0, 2, 3), np.uint8)):
        with pytest.raises(ValueError, match="RGB"):
            picture_uri(bad)
