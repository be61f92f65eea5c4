"""Co-Mixup (Kim et al., ICLR 2021, arXiv:2102.03065): mix a batch such that its images differ, and show what matters.

As many images are made as there are. Each cell of each of them shows one of the images of the batch, in place. The cost
that is minimised has what the classifier looks at and is not shown, borders between cells, images that are shown too
often in all, and the images' random shares. Labels are mixed by area. The images as they were are learned from too.

As in the authors' code the new images are improved in turn, with a cost for what the others show already. Differs: a
new image is improved by expansions (Boykov, Veksler and Zabih, 2001), each of which is the exact best
(:mod:`deft.augment.grid_labels`), until none helps, where theirs makes alpha-beta swaps. Cells that show blends of two
images, and the change of images that turned out alike, are left out. Saliency is taken in eval mode. How far apart two
images are salient is measured between the centres of cells; theirs is between pixels, row and column apart. The loss is
the mean of new images and those they are made of; theirs is the sum of both means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft.augment.cells import cell_saliency, cut, joined
from deft.augment.grid_labels import Floats, best_labels, total_cost
from deft.augment.mixup import numpy_generator
from deft.contracts import Gradients
from deft.ranges import Count, Factor, Range, Share, Weight, check_ranges


@dataclass(frozen=True)
class CoMixup:
    """Make new images of the cells of all images of a batch; a :class:`deft.contracts.SalientAugmentation`."""

    salient: ClassVar[bool] = True

    alpha: Factor = 2.0
    """Random shares of the images are drawn from a Dirichlet distribution with this parameter; the authors advise a
    smaller one without ``clean``."""
    clean: bool = True
    """Whether images as they are follow the new ones (their clean_lam, 1 or 0): a step then learns from twice as
    many."""
    cells: Annotated[int, Range(1, 8)] = 4
    """Cells of the grid in each direction; crops must be a multiple of it."""
    part: Count = 20
    """Most images that are mixed with each other; a larger batch is divided in its order."""
    smooth: Weight = 0.32
    """Cost of a border (beta), divided by the number of cells, as are the next two."""
    overlap: Weight = 1.0
    """Cost of showing what other new images show already (gamma)."""
    prior: Weight = 0.05
    """Weight of the random shares (eta)."""
    allowed: Weight = 0.83
    """An image that other new images show in no more cells than this share of one image costs no more (tau)."""
    distance: Share = 0.001
    """Weight of images that are salient elsewhere among those that count as shown (omega)."""
    rounds: Count = 4
    """How often each new image is improved."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator, gradients: Gradients) -> tuple[Tensor, Tensor]:
        """New images of images (N, 3, H, W) and labels (N, K), and then, with ``clean``, these themselves."""
        source = numpy_generator(rng)
        salience = cell_saliency(gradients(x, labels)[1], self.cells).cpu().numpy()
        pieces, mixed, targets = cut(x, self.cells), [], []
        own = torch.arange(self.cells**2, device=x.device)
        for start in range(0, len(x), self.part):
            few = slice(start, start + self.part)
            sources = torch.from_numpy(self.sources(salience[few], source)).to(x.device).flatten(1)
            mixed.append(joined(pieces[few][sources, own]))
            shares = torch.nn.functional.one_hot(sources, len(sources)).to(labels.dtype).mean(dim=1)
            targets.append(shares @ labels[few])
        if self.clean:
            mixed, targets = [*mixed, x], [*targets, labels]
        return torch.cat(mixed), torch.cat(targets).clamp(0, 1)

    def sources(self, salience: Floats, source: np.random.Generator) -> NDArray[np.int64]:
        """The image that each cell of each new image shows, (n, cells, cells) in [0, n).

        Args:
            salience: of the cells of n images, (n, cells, cells), of sum 1.
            source: of the random shares and of the first labels.
        """
        count, cells, _ = salience.shape
        shares = source.dirichlet(np.full(count, self.alpha))
        base = -salience.transpose(1, 2, 0) - self.prior / cells**2 * np.log(shares + 1e-8)
        compatible = (1 - self.distance) * np.eye(count) + self.distance * _distances(salience)
        found = source.integers(0, count, (count, cells, cells))
        shown = np.array([np.bincount(one.ravel(), minlength=count) for one in found])
        for _ in range(self.rounds):
            before = found.copy()
            for index in range(count):
                others = compatible @ (shown.sum(0) - shown[index])
                too_often = np.where(others > self.allowed * cells**2, others, 0)
                unary = base + 2 * self.overlap / cells**2 * too_often
                found[index] = expanded(found[index], unary, self.smooth / cells**2)
                shown[index] = np.bincount(found[index].ravel(), minlength=count)
            if (found == before).all():
                break
        return found


def expanded(labels: NDArray[np.int64], unary: Floats, border: float) -> NDArray[np.int64]:
    """Labels that no expansion improves: none that gives one label to any cells, and leaves the others as they are.

    Args:
        labels: to begin with, (h, w) in [0, L).
        unary: cost of each label in each cell, (h, w, L).
        border: cost of each pair of neighbours with different labels.
    """
    count = unary.shape[2]
    new = np.arange(count)[:, None, None]
    while True:
        # Label 0 keeps what a cell has, label 1 gives it the new one; one grid for each new label.
        kept = np.take_along_axis(unary, labels[..., None], axis=2)[..., 0]
        costs = np.stack([np.broadcast_to(kept, (count, *kept.shape)), unary.transpose(2, 0, 1)], axis=-1)
        right = _borders(labels[:, :-1], labels[:, 1:], new, border)
        down = _borders(labels[:-1], labels[1:], new, border)
        moves = best_labels(costs, right, down)
        least = total_cost(moves, costs, right, down)
        stays = total_cost(np.zeros_like(moves[:1]), costs[:1], right[:1], down[:1])[0]
        best = int(least.argmin())
        if not least[best] < stays - 1e-12:  # sums of the same costs in another order may differ by so much
            return labels
        labels = np.where(moves[best] == 1, best, labels)


def _borders(first: NDArray[np.int64], second: NDArray[np.int64], new: NDArray[np.int64], border: float) -> Floats:
    """Cost of pairs that keep their labels or get the new one, (L, ., ., 2, 2), the first one's choice before."""
    pairs = [[first != second, first != new], [new != second, new != new]]
    shape = (len(new), *first.shape)
    costs = np.stack([np.stack([np.broadcast_to(pair, shape) for pair in row], -1) for row in pairs], -2)
    found: Floats = border * costs
    return found


def _distances(salience: Floats) -> Floats:
    """Distances between the most salient cells of images, (n, n), n in all; 0 where there is none."""
    count, _, width = salience.shape
    best = salience.reshape(count, -1).argmax(axis=1)
    places = np.stack([best // width, best % width], axis=1)
    far = np.sqrt(((places[:, None] - places) ** 2).sum(-1))
    found: Floats = far * (count / far.sum()) if far.any() else far
    return found
