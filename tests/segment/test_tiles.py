from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from deft.contracts import InputError
from deft.segment.deeplab import SegmentationNetwork
from deft.segment.inference import Inference
from deft.segment.tiles import Segmentation, Tiles, View
from fakes import segmenter

ONE = Inference(scales=(1.0,), flip=False)
WHOLE = Tiles(size=2048, overlap=0)
SIZE = (864, 640)


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    """A network that looks less than 96 pixels far, apart from its global pooling: no branch of it is dilated."""
    found = segmenter()
    for branch in list(found.decoder.aspp[0].convs)[1:4]:
        depthwise = branch[0][0]
        depthwise.dilation = depthwise.padding = (1, 1)
    return found


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 256, (80, 60, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(SIZE[::-1], Image.Resampling.BICUBIC))


def view_of(image: np.ndarray) -> View:
    @cache
    def whole(size: tuple[int, int]) -> np.ndarray:
        return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))

    return lambda size, rows, columns: whole(size)[rows, columns]


def mask_in(network: SegmentationNetwork, image: np.ndarray, tiles: Tiles, inference: Inference = ONE) -> np.ndarray:
    """The mask of all pieces, each pixel of which is in one of them."""
    size = (image.shape[0], image.shape[1])
    mask, count, steps = np.zeros(size, np.uint8), np.zeros(size, np.uint8), []
    segmentation = Segmentation(network, view_of(image), size, tiles, inference, progress=lambda: steps.append(1))
    for piece in segmentation.pieces():
        mask[piece.rows, piece.columns] = piece.mask
        count[piece.rows, piece.columns] += 1
    assert (count == 1).all()
    assert len(steps) == segmentation.steps
    return mask


def different(mask: np.ndarray, other: np.ndarray) -> float:
    """Share of pixels."""
    return float((mask != other).mean())


def test_the_network_looks_less_far_than_a_third_of_the_overlap(network: SegmentationNetwork) -> None:
    image = torch.full((1, 3, 288, 288), 127.0)
    changed = image.clone()
    changed[..., 144, 144] += 100
    with torch.no_grad():
        mean = network.backbone(image)[-1].mean(dim=(2, 3), keepdim=True)
        seen = (network.coarse(image, mean) != network.coarse(changed, mean)).any(dim=1)[0].nonzero()
    assert 40 < 4 * int((seen - 36).abs().max()) < 96


def test_one_tile_is_the_network_on_the_whole_photograph(network: SegmentationNetwork, photograph: np.ndarray) -> None:
    image = photograph[:251, :333]
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        padded = network._pad(pixels)
        shares = network.coarse(padded).softmax(dim=1)
        fine = F.interpolate(shares, size=padded.shape[-2:], mode="bilinear", align_corners=False)
    reference = fine[0, :, :251, :333].argmax(dim=0).numpy()
    assert different(mask_in(network, image, WHOLE), reference) < 1e-4
    assert len(np.unique(reference)) > 2


@pytest.mark.parametrize("inference", [ONE, Inference(scales=(0.75, 1.0), flip=True)], ids=["one view", "four views"])
def test_tiles_that_overlap_enough_are_the_whole_photograph(
    inference: Inference, network: SegmentationNetwork, photograph: np.ndarray
) -> None:
    """A third of the overlap, 96 pixels, is as far as the network looks: no tile knows less than it has to."""
    image = photograph if inference is ONE else photograph[:, :256]
    whole = mask_in(network, image, WHOLE, inference)
    enough = mask_in(network, image, Tiles(size=576, overlap=288), inference)
    # At a scale of 0.75 the overlap has 216 pixels of the view: a few cells at the edge of its third see less.
    assert different(enough, whole) <= (5e-6 if inference is ONE else 2e-5)
    less = [different(mask_in(network, image, Tiles(size=256, overlap=o), inference), whole) for o in (64, 0)]
    assert 1e-3 < less[0] < less[1]


def test_the_mean_of_a_tile_is_another(network: SegmentationNetwork, photograph: np.ndarray) -> None:
    image = photograph[:, :256]
    whole = mask_in(network, image, WHOLE)
    own = different(mask_in(network, image, Tiles(size=576, overlap=288, context="tile")), whole)
    assert own > 1e-3


@pytest.mark.parametrize("scale", [0.5, 0.37, 1.5])
def test_a_fraction_of_the_resolution_is_the_photograph_resized(
    scale: float, network: SegmentationNetwork, photograph: np.ndarray
) -> None:
    image = photograph[:201, :150]
    size = (round(201 * scale), round(150 * scale))
    small = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))
    pixels = torch.from_numpy(small.transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        shares = network.coarse(network._pad(pixels)).softmax(dim=1)[0]
    rows, columns = (
        ((torch.arange(full) + 0.5) * own / full / 4 - 0.5) for full, own in zip(image.shape[:2], size, strict=True)
    )
    lower = [at.clamp(min=0).floor().long() for at in (rows, columns)]
    upper = [(low + 1).clamp(max=side - 1) for low, side in zip(lower, shares.shape[1:], strict=True)]
    down, across = ((at.clamp(min=0) - low) for at, low in zip((rows, columns), lower, strict=True))
    fine = torch.lerp(shares[:, lower[0]], shares[:, upper[0]], down[:, None])
    fine = torch.lerp(fine[..., lower[1]], fine[..., upper[1]], across)
    assert different(mask_in(network, image, Tiles(scale=scale)), fine.argmax(dim=0).numpy()) < 1e-4
    assert mask_in(network, image, Tiles(size=64, overlap=32, scale=scale)).shape == (201, 150)


def test_memory_is_bounded_by_parts_of_the_width(
    network: SegmentationNetwork, photograph: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, tiles = photograph[:200, :400], Tiles(size=128, overlap=64)
    whole = mask_in(network, image, tiles)
    monkeypatch.setattr("deft.segment.tiles._ACCUMULATED", 4 * 32 * 40)
    monkeypatch.setattr("deft.segment.tiles._ENLARGED", 4 * 160 * 30)
    pieces = list(Segmentation(network, view_of(image), (200, 400), tiles, ONE).pieces())
    assert max(piece.columns.stop - piece.columns.start for piece in pieces) == 160
    assert max(piece.mask.size for piece in pieces) == 160 * 30
    assert np.array_equal(mask_in(network, image, tiles), whole)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (37, 5), (100, 69)])
def test_any_size_gives_a_mask_of_its_size(size: tuple[int, int], network: SegmentationNetwork) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    inference = Inference(scales=(0.5, 1.0, 1.3), flip=True)
    assert mask_in(network, image, Tiles(size=64, overlap=16), inference).shape == size


def test_only_allowed_classes_are_found(network: SegmentationNetwork, photograph: np.ndarray) -> None:
    image = photograph[:200, :200]
    found = list(Segmentation(network, view_of(image), (200, 200), Tiles(size=128, overlap=32), ONE, (1,)).pieces())
    assert set(np.unique(np.concatenate([piece.mask for piece in found]))) == {0, 2}
    counts = sum((np.bincount(piece.mask.ravel(), minlength=4) for piece in found), np.zeros(4))
    means = sum(piece.sums for piece in found)[[0, 2]] / counts[[0, 2]]
    assert ((means >= 0.5) & (means <= 1)).all()
    with pytest.raises(InputError, match="from 0 to 2, got 3"):
        Segmentation(network, view_of(image), (200, 200), allowed=(3,))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"size": 63}, r"^Tiles\.size: expected a whole number from 64"),
        ({"size": 512.5}, r"^Tiles\.size: expected a whole number"),
        ({"overlap": -1}, r"^Tiles\.overlap: expected"),
        ({"size": 128, "overlap": 65}, "at most half a tile, got 65 of 128 pixels"),
        ({"scale": 0.0}, r"^Tiles\.scale: expected a number above 0"),
        ({"scale": float("nan")}, r"^Tiles\.scale: expected"),
        ({"context": "none"}, r"^Tiles\.context: expected photograph or tile"),
    ],
)
def test_settings_out_of_their_ranges_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Tiles(**fields)  # type: ignore[arg-type]
