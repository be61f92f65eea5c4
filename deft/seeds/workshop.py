"""What a seed method that learns from labels of its own needs of a run and of its recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deft.backbone import Backbone
from deft.contracts import Dataset, Sample, SeedMaps
from deft.engine.fit import Examples


class Workshop(Protocol):
    """The attributes of :class:`deft.stages.Workshop` that AMN uses."""

    @property
    def data(self) -> Dataset:
        """Training images."""

    @property
    def classifier(self) -> Any:
        """Trained; the first maps are read from it."""

    @property
    def backbone(self) -> Backbone:
        """The classifier's."""

    @property
    def folder(self) -> Path:
        """Where first maps, labels and the network are kept."""

    @property
    def made_by(self) -> str:
        """Key that goes into every file."""

    @property
    def seed(self) -> int:
        """Of initial weights, batches and crops."""

    @property
    def precision(self) -> str:
        """Lightning's word."""

    @property
    def devices(self) -> int:
        """Processes or GPUs."""

    def crops(
        self, masks: list[Path], indices: tuple[int, ...], *, crop: float, scale: tuple[float, float], flip: bool
    ) -> Examples:
        """Random crops of the images ``indices`` and of their masks, a path for every image, with the images' tags."""


class Base(Protocol):
    """A seed method that trains nothing: where another begins."""

    @property
    def learning(self) -> object:
        """None."""

    def prepare(self, workshop: Any) -> Callable[[Sample], SeedMaps]:
        """The function of one image and its tags."""


class Labels(Protocol):
    """Settings of confident labels; the recipe hands them over, because they are a refiner's."""

    def __call__(self, image: NDArray[np.uint8], seeds: SeedMaps) -> NDArray[np.uint8]:
        """Mask (H, W) of an RGB image (H, W, 3): 0 background, k + 1 for class k, 255 unsure."""
