"""What several tests stand on in place of the real thing: networks, scenes, contexts of methods.

Datasets on the disk are fixtures of ``conftest.py``; beside this module stand ``short`` (settings of short runs),
``references`` (slow computations), ``userfiles`` and ``processes``. pytest finds them by ``pythonpath`` in
``pyproject.toml``.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deft.artifacts import Stage, write_json
from deft.backbone import Views, build_backbone, with_views
from deft.classify.classifier import ClassifierNetwork
from deft.classify.linear import LinearHead
from deft.contracts import Dataset, Sample, SeedMaps
from deft.engine.head import Head
from deft.engine.method import MethodContext, TrainedClassifier
from deft.segment.deeplab import DeepLab, SegmentationNetwork


def rng(seed: int = 0) -> torch.Generator:
    """A generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def noise(height: int, width: int) -> np.ndarray:
    """RGB noise, (H, W, 3); other noise for another height."""
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def classifier(head: Head | None = None, classes: int = 3, views: Views | None = None) -> ClassifierNetwork:
    """A small classifier of random weights, in eval mode; a linear one unless a head is given.

    With views its backbone is frozen.
    """
    torch.manual_seed(0)
    backbone = build_backbone("test_resnet", "none", 16)
    backbone = backbone if views is None else with_views(backbone, views)
    return ClassifierNetwork(backbone, (head or LinearHead()).build(backbone.channels[-1], classes)).eval()


def segmenter(classes: int = 3, image: np.ndarray | None = None, views: Views | None = None) -> SegmentationNetwork:
    """A small segmentation network of random weights, in eval mode.

    It decides for every class somewhere in an image (H, W, 3), of noise unless one is given. With views its backbone is
    frozen.
    """
    torch.manual_seed(0)
    image = noise(64, 80) if image is None else image
    backbone = build_backbone("test_resnet", "none", 16)
    backbone = backbone if views is None else with_views(backbone, views)
    network = SegmentationNetwork(backbone, classes, DeepLab(channels=16), 64).eval()
    with torch.no_grad():
        nn.init.normal_(network.head.weight, std=1.0)
        pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())
        network.head.bias -= network.coarse(pixels[None]).mean(dim=(0, 2, 3))
    return network


class Pyramid(nn.Module):
    """A backbone of strided convolutions, one map each, behind a batch norm whose statistics must not move."""

    fill = (128, 128, 128)

    def __init__(
        self, channels: tuple[int, ...] = (4, 6, 8, 8, 8), reductions: tuple[int, ...] = (2, 4, 8, 16, 16)
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.channels, self.reductions = channels, reductions
        self.norm = nn.BatchNorm2d(3)
        layers, before, reached = [], 3, 1
        for width, reduction in zip(channels, reductions, strict=True):
            layers.append(nn.Conv2d(before, width, 3, stride=reduction // reached, padding=1))
            before, reached = width, reduction
        self.layers = nn.ModuleList(layers)

    def forward(self, images: Tensor) -> list[Tensor]:
        x, maps = self.norm(images.float() / 255 - 0.5), []
        for layer in self.layers:
            x = layer(x).relu()
            maps.append(x)
        return maps


def scene(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A red square on noisy green, (H, W, 3), and where it is, (H, W)."""
    generator = np.random.default_rng(seed)
    image = np.clip(generator.normal((50, 140, 50), 8, (height, width, 3)), 0, 255).astype(np.uint8)
    y, x = generator.integers(4, height - 28), generator.integers(4, width - 28)
    inside = np.zeros((height, width), dtype=bool)
    inside[y : y + 24, x : x + 24] = True
    image[inside] = (210, 40, 40)
    return image, inside


class Scenes:
    """As much of a dataset as a method looks at: four scenes of different sizes, each with the first of two classes.

    The dataset protocol's other attributes are left out, so that a method that asks for more is found out.
    """

    classes = ("square", "nothing")

    def __init__(self) -> None:
        self.scenes = [scene(40 + 3 * n, 56 - 2 * n, n) for n in range(4)]
        self.names = tuple(f"folder/scene {n}" for n in range(4))

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.names[index], self.scenes[index][0], np.array([True, False]))

    def seeds(self, index: int) -> SeedMaps:
        """Maps that are the truth, on every fourth pixel."""
        image, inside = self.scenes[index]
        maps = torch.from_numpy(inside[::4, ::4].astype(np.float32))[None]
        return SeedMaps((0,), maps, (image.shape[0], image.shape[1]))


def no_seeds(index: int) -> SeedMaps:
    """Seeds of a method that must not ask for any."""
    raise AssertionError(f"the seeds of image {index} are asked for")


def method_context(
    data: Dataset | Scenes,
    folder: Path,
    *,
    seeds: Callable[[int], SeedMaps] = no_seeds,
    network: TrainedClassifier | None = None,
    backbone: nn.Module | None = None,
    side: int = 64,
) -> MethodContext:
    """What a run would give a method; without a backbone that of the network, and a :class:`Pyramid` without both."""
    if backbone is None:
        backbone = Pyramid().eval() if network is None else network.backbone
    return MethodContext(
        data=cast(Dataset, data),
        seeds=seeds,
        backbone=cast(Any, backbone),
        network=network,
        folder=folder,
        made_by="key",
        side=side,
        seed=0,
        precision="32-true",
    )


def begun(run: Path, name: str, key: str = "key", state: str = "begun") -> Stage:
    """A stage whose record says that it is begun, or done."""
    write_json(run / name / "stage.json", {"key": key, "state": state})
    return Stage(name, run / name, key)


def uninstall(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every import of a package fail as if it were not installed."""
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
