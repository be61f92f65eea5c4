"""Puzzle Mix (Kim, Choo and Song, ICML 2020, arXiv:2009.06962): mix two images so that both stay to be seen.

For each cell of a coarse grid it is decided how much of either image it shows: as much as possible of what the
classifier looks at in both, few borders, above all where the two images differ, and a share of the first image that was
drawn. Then the cells of each image are moved, by little, so that what is looked at comes to where the image is shown.
Labels are mixed by area.

Differs from the authors' code: the mask is the exact minimum of the same cost (:mod:`deft.augment.grid_labels`), which
they approach by alpha-beta swaps, and the transport is the cheapest assignment (:mod:`deft.augment.assignment`), for
which they have a parallel approximation. Where a cell shows a blend, the difference of the images on both sides of a
border is the mean over what is blended; theirs is another interpolation between the same values. They draw grids of 2
to 16 cells a side; at most 8 are possible here. The cells that move are those of the mask's grid, as in their code for
ImageNet; for CIFAR they move cells of an eighth of the image. Their variant with adversarial noise is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from deft.augment.assignment import best_assignment
from deft.augment.cells import cell_saliency, cut, joined, to_pixels
from deft.augment.grid_labels import Floats, best_labels
from deft.augment.mixup import beta
from deft.contracts import Gradients
from deft.ranges import Factor, Range, Weight, check_ranges


@dataclass(frozen=True)
class PuzzleMix:
    """Mix each image with its partner in the batch; a :class:`deft.contracts.SalientAugmentation`."""

    salient: ClassVar[bool] = True

    alpha: Factor = 1.0
    """The share of the first image is drawn from Beta(alpha, alpha); 1 is uniform."""
    cells: Annotated[tuple[int, ...], Range(1, 8)] = (2, 4, 8)
    """Cells of the grid in each direction, one of which is drawn for each batch. Crops must be multiples of them."""
    levels: Annotated[int, Range(2, 4)] = 3
    """Shares of the first image that a cell may show, equally far apart: 3 are 0, a half and 1."""
    smooth: Weight = 1.2
    """Cost of a border between cells (beta), divided by 16 times the cells in each direction."""
    contrast: Weight = 0.5
    """Further cost of a border, as a multiple of ``smooth`` times the difference of colours across it (gamma)."""
    strip: Annotated[int, Range(1, 64)] = 4
    """Width in pixels of the strips whose colours are compared."""
    prior: Weight = 0.2
    """Weight of the drawn share (eta)."""
    transport: bool = True
    """Whether cells are moved."""
    transport_cost: Weight = 0.8
    """Cost of moving a cell by the side of the image; the square of the distance counts."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator, gradients: Gradients) -> tuple[Tensor, Tensor]:
        """Mix images (N, 3, H, W) and labels (N, K)."""
        share = beta(self.alpha, rng)
        cells = self.cells[int(torch.randint(len(self.cells), (), generator=rng))]
        perm = torch.randperm(len(x), generator=rng).to(x.device)
        salience = cell_saliency(gradients(x, labels)[1], cells)
        other, theirs = x[perm], salience[perm]
        colours = x * gradients.std  # but for their mean, which differences do not have
        shown = self.masks(colours, colours[perm], salience.cpu().numpy(), theirs.cpu().numpy(), share)
        if self.transport:
            x = moved(x, self.plans(salience.cpu().numpy(), shown > 0))
            other = moved(other, self.plans(theirs.cpu().numpy(), shown < 1))
        mask = torch.from_numpy(shown).to(x.device)
        kept = mask.mean(dim=(1, 2)).to(labels.dtype)[:, None]
        weights = to_pixels(mask, x)
        return weights * x + (1 - weights) * other, kept * labels + (1 - kept) * labels[perm]

    def masks(self, x: Tensor, other: Tensor, salience: Floats, theirs: Floats, share: float) -> Floats:
        """Share of the first image in each cell, (N, cells, cells), of the least cost.

        Args:
            x: colours of the first images, in units of [0, 1], from any origin, (N, 3, H, W).
            other: those of the second images, likewise.
            salience: of the cells of the first images, (N, cells, cells), of sum 1.
            theirs: that of the second.
            share: expected share of the first image, in [0, 1].
        """
        return best_labels(*self.costs(x, other, salience, theirs, share)) / (self.levels - 1)

    def costs(
        self, x: Tensor, other: Tensor, salience: Floats, theirs: Floats, share: float
    ) -> tuple[Floats, Floats, Floats]:
        """Costs for :func:`deft.augment.grid_labels.best_labels`; label l is a share of l / (levels - 1)."""
        cells, most = salience.shape[-1], self.levels - 1
        shares = np.arange(self.levels) / most
        chances = [math.comb(most, n) * share**n * (1 - share) ** (most - n) for n in range(self.levels)]
        prior = -self.prior / cells**2 * np.log(np.array(chances) + 1e-8)
        unary = theirs[..., None] * shares + salience[..., None] * (1 - shares) + prior
        smooth = self.smooth / cells / 16
        step = smooth * (shares[:, None] - shares) ** 2
        right, down = (
            step + smooth * self.contrast * np.einsum("nhwxy,ax,by->nhwab", differences, _parts(shares), _parts(shares))
            for differences in self.differences(x, other, cells)
        )
        return unary, right, down

    def differences(self, x: Tensor, other: Tensor, cells: int) -> tuple[Floats, Floats]:
        """Mean difference of colours, in [0, 1], across each border, to the right and downwards.

        Returns:
            (N, cells, cells - 1, 2, 2) and (N, cells - 1, cells, 2, 2). The last two axes say which image lies on the
            left of the border (or above it) and which on the right: 0 the second, 1 the first.
        """
        found = []
        for turned in (False, True):
            pair = [image.mT if turned else image for image in (other, x)]
            height, width = (side // cells for side in pair[0].shape[-2:])
            strip = math.gcd(math.gcd(height, width), self.strip)
            pooled = [F.avg_pool2d(image.float(), strip) for image in pair]
            each, rows = width // strip, height // strip
            costs = torch.zeros(len(x), cells, cells - 1, 2, 2, dtype=torch.float64)
            for left in (0, 1):
                for right in (0, 1):
                    across = (pooled[left][..., each - 1 : -1 : each] - pooled[right][..., each::each]).abs().mean(1)
                    costs[..., left, right] = across.reshape(len(x), cells, rows, cells - 1).mean(2).cpu()
            found.append((costs.transpose(1, 2) if turned else costs).numpy())
        return found[0], found[1]

    def plans(self, salience: Floats, wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The cell that comes to each place, (N, cells ** 2), for saliency and places to be seen, (N, cells, cells)."""
        cells = salience.shape[-1]
        places = np.stack(np.unravel_index(np.arange(cells**2), (cells, cells)), axis=1) / max(1, cells - 1)
        far = self.transport_cost * ((places[:, None] - places) ** 2).sum(-1)
        found = np.empty((len(salience), cells**2), dtype=np.int64)
        for plan, own, visible in zip(found, salience, wanted, strict=True):
            plan[best_assignment(far - own.reshape(-1, 1) * visible.reshape(1, -1))] = np.arange(cells**2)
        return found


def moved(x: Tensor, plans: NDArray[np.int64]) -> Tensor:
    """Images (N, 3, H, W) whose cells are replaced by others of the same image, (N, cells ** 2) in rows."""
    rows = torch.arange(len(x), device=x.device)[:, None]
    return joined(cut(x, math.isqrt(plans.shape[1]))[rows, torch.from_numpy(plans).to(x.device)])


def _parts(shares: Floats) -> Floats:
    """Parts of the second and of the first image at each share, (levels, 2)."""
    return np.stack([1 - shares, shares], axis=1)
