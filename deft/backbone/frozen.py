"""A backbone that is not trained: one description of an image, from several views of it, to train heads on.

:func:`with_views` makes a :class:`~deft.backbone.network.Backbone` of another one. Its feature map is the mean
over scales and mirrored views of the feature maps of the inner network, resampled to one grid and concatenated; it has
no other. Everything that works on a backbone works on it. What it finds in an image before the channels are
standardised depends on that image alone, so that it can be stored once (:mod:`deft.engine.features`).

Cells of the inner network's maps are centred on pixels ``j * stride`` of views of ``k * stride + 1`` pixels if it pads
its convolutions; otherwise views are whole cells, whose centres are measured (:mod:`deft.backbone.geometry`). Those of
the result are centred on the middle of ``stride`` x ``stride`` pixels of the image.

Shapes: images (N, 3, H, W), maps (N, C, ceil(H / stride), ceil(W / stride)).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.backbone import network
from deft.backbone.attention import Attention, Listening, attends, tokens_before
from deft.backbone.geometry import offsets_of
from deft.backbone.network import Backbone
from deft.contracts import InputError


@dataclass(frozen=True)
class Views:
    """How a frozen backbone looks at an image."""

    side: int
    """Long side, in pixels, to which photographs are resized before they are looked at."""
    scales: tuple[float, ...]
    """Factors by which that is resized, one view each."""
    flip: bool
    """Whether each view is also mirrored."""
    taps: int
    """How many of the inner network's feature maps are concatenated, counted from the deepest."""
    similar: int
    """Which feature map tells how alike neighbours are, counted from the deepest, which is 1."""
    stride: int
    """Pixels per cell of the result."""


@dataclass(frozen=True)
class Look:
    """What a frozen backbone finds in images, before channels are standardised."""

    deep: Tensor
    """The feature map, (N, C, h, w)."""
    similar: Tensor
    """The inner network's feature map in which neighbours are compared, on the same grid, (N, C', h, w)."""
    attention: Attention | None
    """The last self-attention of the view at scale 1; None without any among all cells."""


@dataclass(frozen=True)
class _Maps:
    """The map of a frozen backbone, as timm's ``feature_info`` tells of it."""

    count: int
    stride: int

    def channels(self) -> list[int]:
        """C."""
        return [self.count]

    def reduction(self) -> list[int]:
        """Pixels per cell."""
        return [self.stride]

    def module_name(self, index: int) -> str:
        """No module's name: the map is computed from several."""
        return f"map {index} of all views"


class FrozenNet(nn.Module):
    """The inner network and its views, in the form of timm's feature extractors; made by :func:`with_views`."""

    output_fmt = "NCHW"

    def __init__(self, inner: Backbone, views: Views) -> None:
        super().__init__()
        self.inner, self.views = inner, views
        for part in inner.modules():
            if hasattr(part, "fused_attn"):
                cast(Any, part).fused_attn = True  # else timm multiplies queries and keys itself, and nothing is heard
        taps = min(views.taps, len(inner.channels))
        self._taps = range(len(inner.channels) - taps, len(inner.channels))
        self._similar = len(inner.channels) - views.similar
        self.extra = inner.extra
        self.patches = not self.extra
        self.offsets = offsets_of(inner)
        self.attends = attends(inner)
        self._before = tokens_before(inner)
        self.pretrained_cfg = cast(Any, inner.net).pretrained_cfg
        count = sum(inner.channels[tap] for tap in self._taps)
        self.feature_info = _Maps(count, views.stride)
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(count, 1, 1))
        self.register_buffer("deviation", torch.ones(count, 1, 1))

    @property
    def least_cells(self) -> int:
        """Fewest cells of a view in each direction."""
        return 1 if self.patches else 2

    def spec(self) -> dict[str, Any]:
        """What :meth:`Backbone.spec` records besides the inner network."""
        return {"stride": self.inner.stride, "views": {**asdict(self.views), "scales": list(self.views.scales)}}

    def forward(self, x: Tensor) -> list[Tensor]:
        """The map of normalised images (N, 3, H, W), alone in a list as of timm's extractors."""
        return [self.standardised(self.look(x).deep)]

    def standardised(self, deep: Tensor) -> Tensor:
        """A map (..., C, h, w) with the mean 0 and the deviation 1 that its channels have over the training images."""
        return (deep - self.mean) / self.deviation

    def measure(self, maps: Iterable[Tensor]) -> None:
        """Take mean and deviation of the channels of maps (C, h, w), one of each image, each counting alike."""
        first = torch.zeros(len(self.mean), dtype=torch.float64)
        second, count = first.clone(), 0
        for one in maps:
            flat = one.double().flatten(1)
            first, second, count = first + flat.mean(1), second + (flat * flat).mean(1), count + 1
        mean = first / count
        deviation = (second / count - mean * mean).clamp(min=0).sqrt()
        # A channel that is the same everywhere says nothing, however it is scaled.
        deviation = torch.where(deviation > 1e-4, deviation, 1)
        self.mean.copy_(mean.view(-1, 1, 1))
        self.deviation.copy_(deviation.view(-1, 1, 1))

    def look(self, x: Tensor, resized: Callable[[Tensor, float], Tensor] | None = None) -> Look:
        """What is found in images.

        Args:
            x: normalised, (N, 3, H, W).
            resized: makes the view of images at one of the scales; None makes it by torch's interpolation, which only
                some runtimes of exported graphs have.
        """
        size = (x.shape[-2], x.shape[-1])
        middle = min(self.views.scales, key=lambda scale: abs(scale - 1))
        attention: Attention | None = None
        total: Tensor | None = None
        similar: Tensor | None = None
        for scale in self.views.scales:
            view = (resized or self._view)(x, scale)
            for mirrored in (False, True) if self.views.flip else (False,):
                with Listening() if self.attends else nullcontext() as heard:
                    maps = self.inner.features(view.flip(-1) if mirrored else view)
                if mirrored:
                    maps = [one.flip(-1) for one in maps]
                elif scale == middle and heard is not None:
                    attention = heard.attention(len(x), (maps[-1].shape[-2], maps[-1].shape[-1]), self._before)
                seen = (view.shape[-2], view.shape[-1])
                parts = [self._on_grid(maps[tap], tap, seen, size, mirrored) for tap in self._taps]
                joined = torch.cat(parts, dim=1)
                total = joined if total is None else total + joined
                one = self._on_grid(maps[self._similar], self._similar, seen, size, mirrored)
                similar = one if similar is None else similar + one
        if total is None or similar is None:
            raise AssertionError("scales are never empty")
        views = len(self.views.scales) * (2 if self.views.flip else 1)
        return Look(total / views, similar, attention)

    def _view(self, x: Tensor, scale: float) -> Tensor:
        """Images resized to about ``scale``, to a whole number of the inner network's cells."""
        stride = self.inner.reductions[-1]
        cells = [max(self.least_cells, round(side * scale / stride)) for side in x.shape[-2:]]
        size = [number * stride + self.extra for number in cells]
        if list(x.shape[-2:]) == size:
            return x
        return F.interpolate(x, size=size, mode="bicubic", align_corners=False, antialias=True)

    def _on_grid(
        self, cells: Tensor, index: int, seen: tuple[int, int], size: tuple[int, int], mirrored: bool
    ) -> Tensor:
        """A feature map of a view, resampled to the grid of its image; that of a mirrored view is mirrored back."""
        own, stride, offset = self.inner.reductions[index], self.views.stride, self.offsets[index]
        offsets = [offset, offset]
        if mirrored and self.patches and offset != (own - 1) / 2:  # else centres are as far from either border
            offsets[1] = seen[1] - 1 - offset - own * (cells.shape[-1] - 1)
        rows, columns = (
            between(number, -(-side // stride), (stride * view, side), own, first).to(cells)
            for number, side, view, first in zip(cells.shape[-2:], size, seen, offsets, strict=True)
        )
        return rows @ cells @ columns.T


def between(cells: int, wanted: int, step: tuple[int, int], own: int, offset: float) -> Tensor:
    """Weights (wanted, cells) that interpolate a row of cells linearly in the middles of equal steps.

    Args:
        cells: number of cells of the row.
        wanted: number of steps.
        step: length of a step, in pixels of the view, as a fraction: whole numbers may be symbols of an exported graph.
        own: pixels of the view per cell.
        offset: pixel on which the first cell is centred.
    """
    pixel = (torch.arange(wanted) + 0.5) * step[0] / step[1] - 0.5
    place = ((pixel - offset) / own).clamp(0, cells - 1)
    return (1 - (place[:, None] - torch.arange(cells)).abs()).clamp(min=0)


def with_views(inner: Backbone, views: Views) -> Backbone:
    """A frozen backbone, in eval mode.

    Raises:
        InputError: the inner network has fewer feature maps than are asked for.
    """
    count = len(inner.channels)
    if not (1 <= views.taps <= count and 1 <= views.similar <= count):
        raise InputError(
            f"expected frozen.taps and frozen.similar from 1 to {count}, the number of feature maps of {inner.name}, "
            f"got {views.taps} and {views.similar}"
        )
    made = Backbone(FrozenNet(inner, views), inner.name, views.stride, inner.pad_type)
    made.mean.copy_(inner.mean)
    made.std.copy_(inner.std)
    made.pretrained = inner.pretrained
    made.freeze(until=-1, batch_norm=True)
    return made.requires_grad_(False).eval()


def frozen_net(backbone: Backbone) -> FrozenNet:
    """What a frozen backbone consists of.

    Raises:
        InputError: it is not frozen.
    """
    if not isinstance(backbone.net, FrozenNet):
        raise InputError(
            "expected a recipe with a frozen backbone, got one whose backbone is trained; set frozen=Frozen"
        )
    return backbone.net


def views_of(backbone: Backbone) -> Views | None:
    """The views of a frozen backbone; None of one that is trained."""
    return backbone.net.views if isinstance(backbone.net, FrozenNet) else None


def from_spec(spec: Mapping[str, Any]) -> Backbone:
    """Build the network that :meth:`Backbone.spec` describes, frozen or not, with random weights.

    Raises:
        InputError: the description is incomplete, or timm cannot build it.
    """
    inner = network.from_spec(spec)
    return inner if "views" not in spec else with_views(inner, _recorded(spec["views"]))


def _recorded(value: Mapping[str, Any]) -> Views:
    """Views from their JSON values."""
    try:
        scales = tuple(float(scale) for scale in value["scales"])
        views = Views(
            int(value["side"]),
            scales,
            bool(value["flip"]),
            int(value["taps"]),
            int(value["similar"]),
            int(value["stride"]),
        )
        if not scales or min(views.side, views.taps, views.similar, views.stride, *scales) <= 0:
            raise ValueError("its views are not positive")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"expected a description with views of a frozen backbone, got {error}") from None
    return views
