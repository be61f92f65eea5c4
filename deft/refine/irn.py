"""IRN: propagate class maps within learned boundaries by a random walk (Ahn et al., 2019, arXiv:1904.05044).

Confident labels are derived from the seeds, a network is trained on them to predict boundaries, and a random walk
propagates the seeds between these. Displacements are trained too, as in the paper, although only instance masks, which
are not made here, would use them. Differs from the authors' code in accepting images of any size, and in applying the
random walk step by step (see :mod:`deft.refine.random_walk`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from deft.contracts import Sample, SeedMaps
from deft.engine.infer import device
from deft.engine.layout import channels_last
from deft.engine.method import MethodContext, confident_indices, learn, make_labels
from deft.engine.optimise import Sgd
from deft.engine.plan import Plan
from deft.engine.precision import EXACT, autocast
from deft.engine.reading import Examples
from deft.ranges import Factor, Multiple, MultipleRange, Range, Weight, check_ranges
from deft.refine.irn_network import IrnNetwork
from deft.refine.labels import ConfidentLabels
from deft.refine.random_walk import boundary_affinities, random_walk, steps_for
from deft.thresholds import AUTO, Threshold, check_threshold


@dataclass(frozen=True)
class Irn:
    """Settings of IRN; defaults are those of the authors' code, except thresholds, which are chosen from the maps."""

    labels: ConfidentLabels = field(default_factory=ConfidentLabels)
    """Confident labels on which the network is trained."""
    plan: Plan = field(
        default_factory=lambda: Plan(epochs=3, min_steps=120, batch=16, optimiser=Sgd(lr=0.1, momentum=0.0, decay=1e-4))
    )
    """Training of the two branches (the paper: 3 epochs, batch 32, 990 steps)."""
    crop: Multiple = 1.0
    """Side of the training crop as a multiple of the images' typical long side (512 for VOC's 500 pixels, IRN's)."""
    scale: MultipleRange = (0.5, 1.5)
    """Range of the factor by which training images are resized."""
    flip: bool = True
    edge_lr: Weight = 1.0
    """Factor on the base learning rate for the boundary branch."""
    displacement_lr: Weight = 10.0
    """Factor on the base learning rate for the displacement branch."""
    train_radius: Annotated[int, Range(2, 256)] = 10
    """Maximum distance of the pairs of cells used in training, in cells of 4 pixels (exclusive)."""
    power: Factor = 1.0
    """Exponent of the seeds before the random walk; above 1 it weakens low activations (IRN 1, AMN 1.3, AdvCAM 1.5)."""
    radius: Annotated[int, Range(2, 256)] = 5
    """Maximum distance of one step of the random walk, in cells (exclusive)."""
    beta: Factor = 10.0
    """Exponent of the affinities in the random walk; larger values sharpen them."""
    steps: Annotated[int, Range(1, 1_000_000)] = 256
    """Number of steps on images of 500 pixels (2^8, as in the authors' code); see :meth:`walk_steps` for others."""
    clear_edges: bool = False
    """Multiply the maps by 1 - boundary before the random walk, as the authors' code does. Off by default: an
    undertrained boundary branch also predicts boundaries inside objects, and clearing the maps there made masks worse
    than their seeds (``benchmarks/thresholds/choice.md``)."""
    background: Threshold = AUTO
    """Constant background score when refined maps are turned into masks (IRN 0.25); ``auto`` chooses it from the
    refined maps."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_threshold("refine.background", self.background)
        check_ranges(self)

    @property
    def learning(self) -> tuple[object, ...]:
        """The settings that training depends on; those of the random walk can be changed without training again."""
        return (
            *(self.labels, self.plan, self.crop, self.scale, self.flip),
            *(self.train_radius, self.edge_lr, self.displacement_lr),
        )

    def walk_steps(self, side: int) -> int:
        """Number of steps for images of a given long side, in pixels."""
        return steps_for(self.steps, side)

    def network(self, backbone: nn.Module) -> IrnNetwork:
        """The untrained network on a backbone."""
        return IrnNetwork(
            backbone, radius=self.train_radius, edge_lr=self.edge_lr, displacement_lr=self.displacement_lr
        )

    def prepare(self, context: MethodContext) -> Callable[[Sample, SeedMaps], SeedMaps]:
        """Make confident labels and train the network, unless that is done, and return the refinement of one image.

        Raises:
            InputError: no confident label is an object.
        """
        torch.manual_seed(context.seed)
        network = self.network(context.backbone)
        useful: tuple[int, ...] = ()

        def examples() -> Examples:
            nonlocal useful
            paths = make_labels(context, self.labels, context.seeds)
            useful = confident_indices(paths, "lower refine.labels.fg", context.remedy)
            return context.crops(paths, useful, crop=self.crop, scale=self.scale, flip=self.flip, centred=True)

        def calibrate() -> None:
            network.to(device())
            network.calibrate(_image(context.data[index].image, device()) for index in useful)

        learn(context, network, examples, self.plan, "boundaries", calibrate)
        channels_last(network).to(device()).eval()
        refine = IrnRefine(network, self, self.walk_steps(context.side), context.precision)
        return lambda sample, seeds: refine(sample.image, seeds)


@dataclass(frozen=True)
class IrnRefine:
    """Refines the seeds of one image at a time."""

    network: IrnNetwork
    """Trained network in eval mode; refinement runs on its device."""
    settings: Irn
    steps: int
    """Number of steps of the random walk."""
    precision: str = EXACT
    """Numerical precision of the network; the maps are float32."""

    def __call__(self, image: NDArray[np.uint8], seeds: SeedMaps) -> SeedMaps:
        """Refine the seeds of one image.

        Args:
            image: RGB, (H, W, 3), any size.
            seeds: maps (P, ., .) on any grid.

        Returns:
            Maps (P, h, w) on the stride-4 grid; their largest value is 1, or 0 if all seeds are 0.
        """
        device = self.network.mean_shift.device
        view = _image(image, device)[None].contiguous(memory_format=torch.channels_last)
        with autocast(self.precision, device):
            edge = self.network.edge_and_displacement(view)[0][0]
        maps = seeds.maps.to(device, torch.float32)
        if maps.shape[1:] != edge.shape and len(maps):
            maps = F.interpolate(maps[None], size=edge.shape, mode="bilinear", align_corners=True)[0]
        propagated = propagate(maps, edge, self.settings, self.steps) if len(maps) else maps.new_zeros(0, *edge.shape)
        return replace(seeds, maps=propagated.to(seeds.maps.device))


def propagate(maps: Tensor, edge: Tensor, settings: Irn, steps: int) -> Tensor:
    """Propagate maps by a random walk that boundaries stop, and divide by the largest value.

    The maps are first raised to ``settings.power``, and multiplied by 1 - boundary if ``settings.clear_edges``.

    Args:
        maps: float32 (P, h, w) in [0, 1].
        edge: boundary strength in [0, 1], (h, w).
        settings: exponents and radius of the random walk.
        steps: number of steps.
    """
    affinities = boundary_affinities(edge, settings.radius)
    begin = maps**settings.power
    if settings.clear_edges:
        begin = begin * (1 - edge)
    propagated = random_walk(begin, affinities, settings.radius, beta=settings.beta, steps=steps)
    largest = propagated.max()
    return propagated / torch.where(largest > 0, largest, 1)


def _image(image: NDArray[np.uint8], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(device)
