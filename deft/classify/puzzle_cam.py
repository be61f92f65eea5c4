"""Puzzle-CAM: class maps that stay the same when the image is cut into tiles (Jo and Yu, ICIP 2021, arXiv:2101.11253).

In a tile a classifier finds parts of an object that it overlooks beside the most telling part. Each training step also
looks at the tiles of every image, puts their features together again, classifies them, and penalises the difference of
the class maps of the whole and of the puzzle.

Differs from the published code: the weight of this difference rises by epochs, not by steps, and any head can be the
base. The authors' code has no licence, so this was written from facts about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft.classify.base import check_base
from deft.classify.linear import LinearHead
from deft.engine.head import Head, HeadModule, Look, checked
from deft.ranges import Range, Weight, check_ranges


@dataclass(frozen=True)
class PuzzleHead:
    """Settings of Puzzle-CAM's head."""

    base: Head = field(default_factory=LinearHead)
    """The head that classifies the whole and the puzzle; its class maps are compared."""
    tiles: Annotated[int, Range(2, 16)] = 2
    """Tiles in each direction; 2 cuts an image into four, as published."""
    weight: Weight = 4.0
    """Weight of the mean absolute difference of the class scores of tags, cell by cell (alpha)."""
    ramp_epochs: Annotated[int, Range(1, 100_000)] = 8
    """The weight is multiplied by epoch / ramp_epochs, at most by 1: it rises over the first half of 15 epochs."""

    @property
    def own_views(self) -> bool:
        """True: training looks at the tiles of each image."""
        return True

    def __post_init__(self) -> None:
        """Refuse values out of range, and a base that needs all feature maps itself."""
        check_ranges(self)
        check_base(self.base)

    def build(self, channels: int, classes: int) -> PuzzleModule:
        """A head for features of ``channels`` channels and ``classes`` classes without background."""
        return PuzzleModule(self, channels, classes)


class PuzzleModule(HeadModule):
    """Weights of :class:`PuzzleHead`: those of its base, which makes scores and maps."""

    with_images = True

    def __init__(self, settings: PuzzleHead, channels: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.base = checked(settings.base.build(channels, classes))

    def loss_of_views(
        self, maps: Sequence[Tensor], look: Look, labels: Tensor, epoch: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """The base's terms, the same of the puzzle, whose names begin with ``puzzle_``, and ``reconstruct``.

        Args:
            maps: normalised images (N, 3, H, W), and their last feature map (N, C, h, w).
            look: gives the same for tiles.
            labels: float, (N, K).
            epoch: 1-based.
            rng: passed on to the base.
        """
        s, features = self.settings, maps[-1]
        size = (features.shape[-2], features.shape[-1])
        merged = together(look(cut(maps[0], s.tiles, size))[-1], s.tiles)[..., : size[0], : size[1]]
        terms = self.base.loss(features, labels, epoch, rng)
        puzzle = self.base.loss(merged, labels, epoch, rng)
        terms |= {f"puzzle_{name}": term for name, term in puzzle.items()}
        if s.weight:
            scores = self.base.cell_scores(features).float(), self.base.cell_scores(merged).float()
            difference = ((scores[0] - scores[1]).abs() * labels[:, :, None, None]).mean()
            terms["reconstruct"] = s.weight * min(1.0, epoch / s.ramp_epochs) * difference
        return terms

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The base's terms: the others need the tiles, see :meth:`loss_of_views`."""
        return self.base.loss(features, labels, epoch, rng)

    def logits(self, features: Tensor) -> Tensor:
        """The base's scores before the sigmoid, (N, K)."""
        return self.base.logits(features)

    def cell_scores(self, features: Tensor) -> Tensor:
        """The base's score of each class in each cell, (N, K, h, w)."""
        return self.base.cell_scores(features)

    def activation(self, features: Tensor) -> Tensor:
        """The base's class maps, (N, B, K, h, w)."""
        return self.base.activation(features)

    def combine(self, activation: Tensor) -> Tensor:
        """The base's class maps of one image, (K, h, w) in [0, 1]."""
        return self.base.combine(activation)

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """The base's groups."""
        return self.base.groups()


def cut(images: Tensor, tiles: int, grid: Sequence[int]) -> Tensor:
    """Cut images into tiles of whole cells, row by row; those of an image come one after the other.

    An image that cannot be divided evenly is padded at its right and lower edge by its mean colour, 0.

    Args:
        images: normalised, (N, 3, H, W).
        tiles: number of tiles in each direction.
        grid: (h, w) of the images' last feature map.

    Returns:
        (N * tiles^2, 3, ., .).
    """
    sides = []
    for side, cells in zip(images.shape[-2:], grid, strict=True):
        cell = max(1, round(side / cells))
        sides.append(cell * -(-side // (cell * tiles)))
    height, width = sides
    padded = F.pad(images, (0, tiles * width - images.shape[-1], 0, tiles * height - images.shape[-2]))
    parts = padded.reshape(*padded.shape[:2], tiles, height, tiles, width)
    return parts.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def together(parts: Tensor, tiles: int) -> Tensor:
    """Put maps of tiles in the order of :func:`cut`, (N * tiles^2, C, h, w), together: (N, C, tiles h, tiles w)."""
    rows = parts.reshape(-1, tiles, tiles, *parts.shape[1:])
    return rows.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
