from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft.classify.classifier import ClassifierNetwork
from deft.classify.linear import LinearHead
from deft.contracts import InputError, Sample
from deft.engine.precision import EXACT
from deft.seeds.cam import Cam
from fakes import Scenes, classifier, method_context, noise


@pytest.fixture(scope="module")
def network() -> ClassifierNetwork:
    return classifier()


def test_one_scale_is_the_plain_map(network: ClassifierNetwork) -> None:
    image = noise(65, 81)
    seeds = Cam(scales=(1.0,), flip=False)(network, image, np.array([True, False, True]))
    with torch.no_grad():
        features = network.backbone(torch.from_numpy(image).permute(2, 0, 1)[None])[-1]
        weight = network.head.classifier.weight
        maps = F.relu(F.conv2d(features, weight))[0, [0, 2]]
    assert seeds.classes == (0, 2)
    total = F.interpolate(maps[None], size=(17, 21), mode="bilinear", align_corners=True)[0]
    assert torch.allclose(seeds.maps, total / (total.amax((1, 2), keepdim=True) + 1e-5), atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (7, 200), (64, 64), (213, 320)])
def test_any_size_gives_the_strided_grid_in_range(network: ClassifierNetwork, size: tuple[int, int]) -> None:
    seeds = Cam(scales=(0.5, 1.0))(network, noise(*size), np.array([True, True, False]))
    assert seeds.maps.shape == (2, (size[0] - 1) // 4 + 1, (size[1] - 1) // 4 + 1)
    assert 0 <= float(seeds.maps.min()) <= float(seeds.maps.max()) <= 1
    assert len(seeds.scores) == 3


def test_a_mirrored_image_has_mirrored_maps(network: ClassifierNetwork) -> None:
    image, labels = noise(65, 81), np.array([True, True, True])
    straight = Cam()(network, image, labels).maps
    mirrored = Cam()(network, image[:, ::-1], labels).maps
    assert torch.allclose(straight, mirrored.flip(-1), atol=1e-3)


def test_without_tags_the_classes_found_are_mapped(network: ClassifierNetwork) -> None:
    image = noise(64, 64)
    scores = Cam()(network, image, np.zeros(3, dtype=bool)).scores
    cut = sorted(scores)[1]
    found = Cam(present=cut)(network, image)
    assert found.classes == (int(np.argmax(scores)),)
    assert Cam(present=1.0)(network, image).maps.shape[0] == 0


def test_a_bright_spot_stays_where_it_is() -> None:
    """The map of a network that answers to brightness peaks on the bright pixels, at every scale and in both views."""

    class Bright(nn.Module):
        stride, extra = 16, 1

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, images: Tensor) -> list[Tensor]:
            small = images.float().mean(1, keepdim=True)
            for _ in range(4):  # strided 3x3 kernels with padding 1, like any convolutional network
                small = F.avg_pool2d(small, 3, stride=2, padding=1, count_include_pad=False)
            return [small]

    backbone = Bright()
    head = LinearHead().build(1, 1)
    nn.init.ones_(head.classifier.weight)
    image = np.zeros((150, 203, 3), dtype=np.uint8)
    image[60:69, 140:149] = 255
    network = nn.Module()
    network.backbone, network.head = backbone, head
    maps = Cam()(network, image, np.array([True])).maps[0]
    rows, columns = torch.meshgrid(torch.arange(maps.shape[0]), torch.arange(maps.shape[1]), indexing="ij")
    centre = [float((maps * place).sum() / maps.sum()) * 4 for place in (rows, columns)]
    assert centre == pytest.approx([64, 144], abs=1.5)


def test_bf16_is_the_backbones_and_nothing_elses(network: ClassifierNetwork) -> None:
    kinds: dict[str, set[torch.dtype]] = {"backbone": set(), "head": set()}
    layouts = []

    def told(name: str, value: Tensor) -> None:
        kinds[name].add(value.dtype)

    hooks = [
        network.backbone.register_forward_pre_hook(
            lambda _, given: layouts.append(given[0].is_contiguous(memory_format=torch.channels_last))
        ),
        network.backbone.register_forward_hook(lambda _, __, maps: told("backbone", maps[-1])),
        network.head.classifier.register_forward_hook(lambda _, __, scores: told("head", scores)),
    ]
    image, labels = noise(65, 81), np.array([True, False, True])
    half = Cam()(network, image, labels, "bf16-mixed")
    assert kinds == {"backbone": {torch.bfloat16}, "head": {torch.float32}}
    exact = Cam()(network, image, labels)
    for hook in hooks:
        hook.remove()
    assert all(layouts)
    assert half.maps.dtype == torch.float32
    assert torch.allclose(half.maps, exact.maps, atol=0.05) and not torch.equal(half.maps, exact.maps)
    assert half.scores == pytest.approx(exact.scores, abs=0.01)
    assert torch.equal(Cam()(network, image, labels, EXACT).maps, exact.maps)


def test_seeds_are_read_in_the_precision_of_the_run(network: ClassifierNetwork, tmp_path: Path) -> None:
    context = method_context(Scenes(), tmp_path, network=network)
    sample = Sample("one", noise(65, 81), np.array([True, False, True]))
    for precision in ("32-true", "bf16-mixed"):
        found = Cam().prepare(replace(context, precision=precision))(sample)
        assert torch.equal(found.maps, Cam()(network, sample.image, sample.labels, precision).maps)


def test_scales_must_hold_one() -> None:
    with pytest.raises(InputError, match=r"including 1\.0"):
        Cam(scales=(0.5, 2.0))
