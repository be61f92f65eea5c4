"""SuperMix (Dabouei et al., CVPR 2021, arXiv:2003.05034): masks that a network finds fit for the labels of a mixture.

Images are mixed by smooth masks of 16 x 16 cells. Their target are the labels of all of them, in random shares, and the
masks are improved in a few of Newton's steps until the network scores the mixture's tags highest, while it is favoured
that a pixel shows one image alone.

Differs from the paper, which augments a data set once by a trained teacher and distils it into a student: here the
classifier is its own teacher while it is trained, so that mixtures change with it; targets are the mixed labels, not a
teacher's scores; and mixtures whose tags are not the highest in the end are kept, as there are many at the start.
The loss is sigmoid cross-entropy above its least possible value, in place of the divergence of one-label distributions.
The paper's masks take up to 50 steps, each of which costs as much as a step of the training; here 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from deft.augment.mixup import numpy_generator
from deft.contracts import Gradients
from deft.ranges import Factor, Range, Weight, check_ranges

STEPS = (1e-4, 2000.0)
"""Range of the length of a step, as a multiple of the smoothed gradient."""


@dataclass(frozen=True)
class SuperMix:
    """Mix each image with the next ones of the batch; a :class:`deft.contracts.SalientAugmentation`."""

    salient: ClassVar[bool] = True

    images: Annotated[int, Range(2, 8)] = 2
    """Number of images in a mixture; no more than the batch has."""
    alpha: Factor = 3.0
    """Shares of the images are drawn from a Dirichlet distribution with this parameter."""
    cells: Annotated[int, Range(1, 128)] = 16
    """Cells of the masks in each direction; between their centres masks are bilinear."""
    sigma: Factor = 2.0
    """Standard deviation of the blur of the masks' gradient, in cells: that of the authors' command for ImageNet."""
    sparsity: Weight = 25.0
    """Weight of pixels that show several images."""
    steps: Annotated[int, Range(0, 1000)] = 4
    """Most steps in which masks are improved; after the first one a mixture that is found fit is left as it is, and
    costs nothing more."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator, gradients: Gradients) -> tuple[Tensor, Tensor]:
        """Mix images (N, 3, H, W) and labels (N, K)."""
        count = min(self.images, len(x))
        drawn = numpy_generator(rng).dirichlet([self.alpha] * count, len(x))
        shares = torch.from_numpy(drawn).to(x.device, labels.dtype)
        sets = torch.stack([x.roll(-place, 0) for place in range(count)], dim=1)
        tags = torch.stack([labels.roll(-place, 0) for place in range(count)], dim=1)
        targets = (shares[..., None] * tags).sum(1).clamp(0, 1)
        variables = torch.zeros(len(x), count, self.cells, self.cells, device=x.device)
        left = torch.arange(len(x), device=x.device)  # mixtures that are not found fit yet
        for step in range(self.steps):
            scores, gradient = gradients(mixture(sets[left], variables[left]), targets[left])
            # At first all: a mixture of halves may be recognised, but its shares are not those that were drawn.
            searched = ~fits(scores, tags[left].amax(dim=1)) if step else torch.ones_like(left, dtype=torch.bool)
            left = left[searched]
            if not len(left):
                break
            variables[left] = self.improved(
                variables[left], sets[left], scores[searched], gradient[searched], targets[left]
            )
        return mixture(sets, variables), targets

    def improved(self, variables: Tensor, sets: Tensor, scores: Tensor, gradient: Tensor, targets: Tensor) -> Tensor:
        """Variables of the masks after one step.

        Args:
            variables: of the masks, (N, M, cells, cells).
            sets: the images of each mixture, (N, M, 3, H, W).
            scores: of the mixtures, (N, K).
            gradient: of the mixtures' loss, (N, 3, H, W).
            targets: of the mixtures, (N, K).
        """
        with torch.enable_grad(), torch.autocast(variables.device.type, enabled=False):
            leaf = variables.detach().requires_grad_(True)
            masks = pixel_masks(leaf, sets)
            mixed = torch.stack([(mask * one).sum(0) for mask, one in zip(masks, sets.float(), strict=True)])
            several = (masks * (1 - masks)).mean(dim=(1, 2, 3, 4))
            # The gradient of the loss reaches the masks through the mixtures, of which the network knows no more.
            (slope,) = torch.autograd.grad((mixed * gradient).sum() + self.sparsity * several.sum(), leaf)
            smooth = blurred(slope, self.sigma)
        value = excess(scores, targets) + self.sparsity * several.detach()
        steepness = (slope * smooth).flatten(1).sum(1)
        length = (value / (steepness + 1e-10)).clamp(*STEPS)
        return variables - length[:, None, None, None] * smooth


def pixel_masks(variables: Tensor, sets: Tensor) -> Tensor:
    """Share of each image at each pixel, (N, M, 1, H, W): sigmoids of the enlarged variables, divided by their sum."""
    fine = F.interpolate(variables, size=sets.shape[-2:], mode="bilinear", align_corners=False).sigmoid()
    return (fine / fine.sum(dim=1, keepdim=True))[:, :, None]


def mixture(sets: Tensor, variables: Tensor) -> Tensor:
    """The mixture (N, 3, H, W) of each set of images (N, M, 3, H, W)."""
    return (pixel_masks(variables, sets).to(sets.dtype) * sets).sum(dim=1)


def fits(scores: Tensor, tags: Tensor) -> Tensor:
    """Whether each of the tags (N, K) of a mixture has a higher score than all other classes, bool (N,)."""
    present = tags > 0
    lowest = scores.masked_fill(~present, torch.inf).amin(dim=1)
    return lowest > scores.masked_fill(present, -torch.inf).amax(dim=1)


def excess(scores: Tensor, targets: Tensor) -> Tensor:
    """Sigmoid cross-entropy of scores (N, K), summed over classes, above the least that its targets allow, (N,)."""
    loss = F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
    least = -torch.xlogy(targets, targets) - torch.xlogy(1 - targets, 1 - targets)
    return (loss - least).sum(dim=1).clamp(min=0)


def blurred(maps: Tensor, sigma: float) -> Tensor:
    """Maps (N, M, h, w) after a Gaussian blur over five standard deviations, with 0 around them."""
    reach = max(1, round(2 * sigma))
    taps = torch.arange(-reach, reach + 1, device=maps.device, dtype=maps.dtype)
    kernel = (-0.5 * (taps / sigma) ** 2).exp()
    kernel = kernel / kernel.sum()
    planes = maps.flatten(0, 1)[:, None]
    planes = F.conv2d(planes, kernel.view(1, 1, -1, 1), padding=(reach, 0))
    planes = F.conv2d(planes, kernel.view(1, 1, 1, -1), padding=(0, reach))
    return planes.view(maps.shape)
