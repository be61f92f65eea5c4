from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from deft.backbone import build_backbone
from deft.contracts import InputError
from deft.seedmaps import bands
from deft.segment.deeplab import DeepLab, SegmentationNetwork
from deft.segment.inference import Inference

CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    net = SegmentationNetwork(build_backbone("test_resnet"), len(CLASSES), DeepLab(channels=16), side=64)
    net.eval()
    with torch.no_grad():  # decided answers of every class, as a trained network gives
        nn.init.normal_(net.head.weight, std=1.0)
        pixels = torch.from_numpy(photograph(64, 80).transpose(2, 0, 1).copy())
        net.head.bias -= net.coarse(pixels[None]).mean(dim=(0, 2, 3))
    return net


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def test_one_scale_is_the_softmax_of_the_network(network: SegmentationNetwork) -> None:
    image = photograph(64, 48)
    shares = Inference(scales=(1.0,), flip=False).probabilities(network, image)
    x = torch.from_numpy(image.transpose(2, 0, 1).copy())[None]
    torch.testing.assert_close(shares, network.coarse(x)[0].softmax(0), rtol=1e-3, atol=1e-4)


def test_scales_and_flip_are_averaged(network: SegmentationNetwork) -> None:
    image = photograph(64, 64)
    settings = Inference(scales=(0.5, 1.0, 1.5), flip=True)
    parts = []
    for side in (32, 64, 96):
        for mirrored in (False, True):
            small = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
            x = torch.from_numpy(small.transpose(2, 0, 1).copy())[None]
            shares = network.coarse(x.flip(-1) if mirrored else x).softmax(1)
            shares = shares.flip(-1) if mirrored else shares
            parts.append(F.interpolate(shares, size=(16, 16), mode="bilinear", antialias=True)[0])
    reference = torch.stack(parts).mean(0)
    torch.testing.assert_close(settings.probabilities(network, image), reference, rtol=1e-3, atol=1e-3)


def test_a_mirrored_photograph_has_the_mirrored_mask(network: SegmentationNetwork) -> None:
    image = photograph(70, 90)
    settings = Inference()
    plain = settings.probabilities(network, image)
    mirrored = settings.probabilities(network, image[:, ::-1].copy())
    torch.testing.assert_close(plain, mirrored.flip(-1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (37, 5), (213, 320)])
def test_any_size_gives_a_mask_of_its_size(network: SegmentationNetwork, size: tuple[int, int]) -> None:
    result = Inference().predict(network, photograph(*size), CLASSES)
    assert result.mask.shape == size and result.mask.dtype == np.uint8
    assert result.mask.max() <= 3
    assert set(result.scores) == set(result.found)
    assert all(0.25 <= score <= 1 for score in result.scores.values())


def test_a_large_photograph_costs_no_more_than_a_small_one(network: SegmentationNetwork) -> None:
    seen: list[tuple[int, ...]] = []

    class Watched(SegmentationNetwork):
        def coarse(self, images: Tensor) -> Tensor:
            seen.append(tuple(images.shape))
            return super().coarse(images)

    watched = Watched(build_backbone("test_resnet"), 3, DeepLab(channels=16), side=64).eval()
    large = np.zeros((3000, 4000, 3), dtype=np.uint8)
    assert Inference(scales=(1.0, 2.0), max_side=96).predict(watched, large, CLASSES).mask.shape == (3000, 4000)
    assert all(max(shape[-2:]) <= 96 and min(shape[-2:]) % 16 == 0 for shape in seen) and len(seen) == 2


def test_bands_are_bilinear_enlargement(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = torch.rand(3, 7, 9, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("deft.seedmaps._BAND", 3 * 40 * 5)
    for size in [(50, 40), (7, 9), (3, 4), (1, 1)]:
        parts = list(bands(maps, size))
        whole = torch.cat([band for _, band in parts], dim=1)
        reference = F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(whole, reference)
    assert len(list(bands(maps, (50, 40)))) == 10


def test_only_allowed_classes_are_found(network: SegmentationNetwork) -> None:
    image = photograph(64, 80)
    settings = Inference()
    free = settings.predict(network, image, CLASSES)
    assert len(free.found) > 1  # otherwise nothing is restricted below
    for allowed in [(), (0,), (1, 2)]:
        result = settings.predict(network, image, CLASSES, allowed)
        assert set(np.unique(result.mask)) <= {0, *(k + 1 for k in allowed)}
        shares = settings.probabilities(network, image, allowed)
        torch.testing.assert_close(shares.sum(0), torch.ones(shares.shape[1:]))
        assert not shares[[k + 1 for k in range(3) if k not in allowed]].any()
    everything = settings.predict(network, image, CLASSES, (0, 1, 2))
    assert np.array_equal(everything.mask, free.mask)


def test_bf16_changes_few_pixels_and_sums_are_float32(network: SegmentationNetwork) -> None:
    image = photograph(64, 80)
    exact, half = (Inference().probabilities(network, image, precision=word) for word in ("32-true", "bf16-mixed"))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.sum(0), torch.ones(half.shape[1:]))
    assert not torch.equal(half, exact) and float((half - exact).abs().mean()) < 0.02
    masks = [Inference().predict(network, image, CLASSES, precision=word).mask for word in ("32-true", "bf16-mixed")]
    assert np.mean(masks[0] == masks[1]) > 0.9


def test_scores_are_the_mean_probability_of_a_class(network: SegmentationNetwork) -> None:
    image = photograph(50, 60)
    result = Inference().predict(network, image, CLASSES)
    shares = F.interpolate(
        Inference().probabilities(network, image)[None], size=(50, 60), mode="bilinear", align_corners=False
    )[0].numpy()
    assert np.mean(shares.argmax(0) == result.mask) > 0.999
    for name, score in result.scores.items():
        value = CLASSES.index(name) + 1
        assert score == pytest.approx(shares[value][result.mask == value].mean(), rel=1e-4)


def test_wrong_arguments_say_what_was_expected(network: SegmentationNetwork) -> None:
    image = photograph(20, 20)
    with pytest.raises(InputError, match=r"network's 3 classes, got 2"):
        Inference().predict(network, image, ("a", "b"))
    with pytest.raises(InputError, match=r"from 0 to 2, got 3"):
        Inference().predict(network, image, CLASSES, (3,))
    with pytest.raises(InputError, match=r"^Inference\.scales: expected"):
        Inference(scales=())
    with pytest.raises(InputError, match=r"^Inference\.max_side: expected"):
        Inference(max_side=0)
