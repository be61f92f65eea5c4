"""Image to features: any timm network with feature maps, dilated to the requested stride.

Only this part imports timm (Wightman, 2019, https://github.com/huggingface/pytorch-image-models). A :class:`Backbone`
normalises its input itself: everything outside it handles pixels from 0 to 255.

Shapes: images (N, 3, H, W), one feature map (N, C, h, w) per stage, shallow to deep, h = ceil(H / reduction) for most
networks.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.backbone.layers import depths_of, is_spared
from deft.backbone.nearest import nearest_names
from deft.contracts import InputError
from deft.guards.memory import is_shortage
from deft.guards.words import first_line, shown

FITTING = (
    *("resnet50", "mobilenetv2_100", "regnety_016", "efficientnetv2_rw_s", "convnext_tiny"),
    *("swin_tiny_patch4_window7_224", "vit_small_patch16_224", "vit_base_patch16_dinov3", "eva02_tiny_patch14_224"),
)
"""Networks of several kinds that accept images of any size, for messages."""
_LOST = 4
"""Cells by which a map may differ from its image: some networks do not pad their first convolutions."""
_BatchNorm = nn.modules.batchnorm._BatchNorm


class Backbone(nn.Module):
    """Feature extractor with normalisation; built by :func:`build_backbone` or :func:`from_spec`.

    Attributes:
        name: timm name.
        stride: pixels per cell of the last feature map.
        channels: C of each feature map.
        reductions: pixels per cell of each feature map.
        mean: buffer (3, 1, 1), in 0..1 units.
        std: buffer (3, 1, 1), in 0..1 units.
        pretrained: whether it started from pretrained weights; recorded by :meth:`spec`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, name: str, stride: int, pad_type: str | None = None) -> None:
        super().__init__()
        info: Any = net.feature_info
        config: Any = net.pretrained_cfg
        self.net = net
        self.name = name
        self.stride = stride
        self.pad_type = pad_type
        self.pretrained = False
        self.channels: tuple[int, ...] = tuple(info.channels())
        self.reductions: tuple[int, ...] = tuple(info.reduction())
        self._channels_last = str(getattr(net, "output_fmt", "NCHW")).endswith("NHWC")
        self._multiple = 1
        self._extra: int | None = None
        self._frozen_statistics = False
        self.register_buffer("mean", torch.tensor(config["mean"], dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(config["std"], dtype=torch.float32).view(3, 1, 1))

    @property
    def fill(self) -> tuple[int, int, int]:
        """Padding colour (R, G, B) in 0..255: the mean colour, so that padding is zero after normalisation."""
        red, green, blue = (self.mean.flatten() * 255).round().int().tolist()
        return red, green, blue

    @property
    def extra(self) -> int:
        """Pixels of the views that suit the network, beside whole cells.

        1 of a network that pads its convolutions: of ``k * stride + 1`` pixels it makes k + 1 cells, whose centres are
        the first pixel, the last one and every ``stride``-th between. 0 of transformers and of networks that do not
        pad: their cells are patches of ``k * stride`` pixels.
        """
        if self._extra is None:
            self._extra = 0 if self._sees_patches() else 1
        return self._extra

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of a batch.

        Args:
            images: uint8 or float in 0..255, (N, 3, H, W); the memory format is kept.

        Returns:
            One map (N, C, h, w) per stage, shallow to deep, with :attr:`channels` and :attr:`reductions`.
        """
        return self.features(self.normalise(images))

    def normalise(self, images: Tensor) -> Tensor:
        """Convert pixels in 0..255, (N, 3, H, W), to the network's units, in which the mean colour is 0."""
        return (images.to(self.mean.dtype) / 255 - self.mean) / self.std

    def features(self, x: Tensor, change: tuple[int, Callable[[Tensor], Tensor]] | None = None) -> list[Tensor]:
        """Like :meth:`forward`, for normalised images.

        Args:
            x: float, (N, 3, H, W).
            change: index of a feature map, and a function that replaces this map before the layers after it run.

        Raises:
            InputError: ``change`` is given, and the network's feature maps are not outputs of its stages.
        """
        if change is not None:
            index, function = change
            hook = self.module_of_map(index).register_forward_hook(lambda _module, _inputs, output: function(output))
            try:
                return self.features(x)
            finally:
                hook.remove()
        height, width = x.shape[-2:]
        down, right = -height % self._multiple, -width % self._multiple
        if down or right:
            x = F.pad(x, (0, right, 0, down))
        maps: list[Tensor] = list(self.net(x))
        return [m.permute(0, 3, 1, 2) for m in maps] if self._channels_last else maps

    def module_of_map(self, index: int) -> nn.Module:
        """The module whose output is feature map ``index``."""
        name = str(cast(Any, self.net).feature_info.module_name(index))
        parts = dict(self.net.named_modules())
        for known in (name, name.replace(".", "_")):
            if known in parts and not self._channels_last:
                part: nn.Module = parts[known]
                return part
        raise InputError(
            f"the features of {self.name} cannot be changed in its forward pass; use an augmentation of images, or a "
            "network that is a plain sequence of stages, such as resnet50 or mobilenetv2_100"
        )

    def stage_of_stride(self, stride: int) -> int:
        """Index of the deepest map with at most ``stride`` pixels per cell; -1 if there is none."""
        fine = [index for index, reduction in enumerate(self.reductions) if reduction <= stride]
        return fine[-1] if fine else -1

    def freeze(self, until: int, batch_norm: bool) -> None:
        """Freeze the early stages and the statistics of batch norms.

        IRN (Ahn et al., 2019, arXiv:1904.05044) detaches the output of layer2 and keeps every batch norm in eval
        mode, while the scale and shift of later batch norms are still trained: that is
        ``freeze(stage_of_stride(8), True)``. A second call replaces the first.

        Args:
            until: index of a feature map; every parameter that map depends on is frozen. -1 freezes none.
            batch_norm: keep all batch norms in eval mode, also in training, so that their statistics never change.

        Raises:
            ValueError: there is no feature map ``until``.
        """
        if not -1 <= until < len(self.channels):
            raise ValueError(f"until must be -1 or a map index below {len(self.channels)}, got {until}")
        self._frozen_statistics = batch_norm
        self.train(self.training)
        for parameter in self.parameters():
            parameter.requires_grad_(True)
        if until >= 0:
            for parameter in self._parameters_behind(until):
                parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Like ``nn.Module.train``, except that frozen batch norms stay in eval mode."""
        super().train(mode)
        if self._frozen_statistics:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def depths(self) -> tuple[int, ...]:
        """How many layers lie above the layer of each parameter, in the order of ``parameters()``; 0 for the last.

        See :mod:`deft.backbone.layers`.
        """
        return depths_of([name for name, _ in self.named_parameters()])

    def undecayed(self) -> tuple[bool, ...]:
        """Whether weight decay spares each parameter, in the order of ``parameters()``; see the same module."""
        return tuple(is_spared(name, parameter.ndim) for name, parameter in self.named_parameters())

    def spec(self) -> dict[str, Any]:
        """Description as JSON values, from which :func:`deft.backbone.from_spec` builds the same network."""
        return {
            "name": self.name,
            "stride": self.stride,
            "pad_type": self.pad_type,
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "pretrained": self.pretrained,
            **getattr(self.net, "spec", dict)(),
        }

    def _sees_patches(self) -> bool:
        if self._multiple > 1 or any("patch_embed" in name for name, _ in self.named_modules()):
            return True
        training, side = self.training, 2 * self.reductions[-1] + 1
        self.eval()
        with torch.no_grad():
            cells = self(torch.zeros(1, 3, side, side, device=self.mean.device))[-1].shape[-1]
        self.train(training)
        return int(cells) != 3

    def _parameters_behind(self, until: int) -> list[nn.Parameter]:
        """Parameters on which feature map ``until`` depends."""
        training = self.training
        self.eval()  # the probe must not change batch statistics
        parameters = list(self.parameters())
        side = 2 * max(self.reductions)
        with torch.enable_grad():
            probe = torch.full((1, 3, side, side), 127.0, device=self.mean.device)
            target = self(probe)[until].float().sum()
            gradients = torch.autograd.grad(target, parameters, allow_unused=True)
        self.train(training)
        return [parameter for parameter, gradient in zip(parameters, gradients, strict=True) if gradient is not None]


def from_spec(spec: Mapping[str, Any]) -> Backbone:
    """Build the network that :meth:`Backbone.spec` describes, with random weights and without any download.

    Raises:
        InputError: the description is incomplete, or timm cannot build it.
    """
    try:
        name, stride, pad_type = str(spec["name"]), int(spec["stride"]), spec["pad_type"]
        mean, std = triple(spec["mean"], "mean"), triple(spec["std"], "std")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"expected a description with name, stride, pad_type, mean and std, got {error}") from None
    check_name(name)
    backbone = build_network(name, stride, pad_type)
    backbone.mean.copy_(mean)
    backbone.std.copy_(std)
    backbone.pretrained = bool(spec.get("pretrained", False))
    return backbone


def check_name(name: str) -> None:
    """Raise InputError, with the most similar names, if timm has no network of this name, or no such tag of it."""
    import timm

    base, _, tag = name.partition(".")
    if not timm.is_model(name):
        known = timm.list_models()
        near = nearest_names(name, known, timm.list_pretrained(), FITTING)
        raise InputError(
            f"unknown backbone {name!r}; "
            + (f"the nearest names are {', '.join(near)}" if near else f"expected one of timm's {len(known)} names")
            + "; timm.list_models() lists all"
        )
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{base}.*")] if tag else []
    if tag not in ("", *tags):
        has = f"its pretrained weights are {', '.join(tags)}; name one of them, or" if tags else "it has none at all;"
        raise InputError(f"backbone {base!r} has no pretrained weights {tag!r}; {has} give {base!r} alone")


def build_network(
    name: str, stride: int, pad_type: str | None, weights: Path | None = None, own_stride: bool = False
) -> Backbone:
    """Build the network with the first set of options that its architecture accepts, and try it on images.

    Args:
        name: timm name.
        stride: pixels per cell of the last feature map.
        pad_type: padding of the convolutions; None takes timm's.
        weights: a file as timm's hub has it, which timm loads; None leaves the weights random.
        own_stride: let a network that cannot be dilated keep its own stride.
    """
    fixed: dict[str, Any] = {} if pad_type is None else {"pad_type": pad_type}
    if weights is not None:
        # A file of the hub needs none of the loaders for the formats of other frameworks.
        fixed |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(weights), "custom_load": False}}
    backbone = created(name, stride, pad_type, fixed)
    last = backbone.reductions[-1]
    if own_stride:
        backbone.stride = last
    elif last != stride:
        raise InputError(
            f"backbone {name!r} cannot be dilated to stride {stride}: its feature maps have strides "
            f"{', '.join(map(str, backbone.reductions))}; ask for stride {last} or choose another backbone"
        )
    _probe(backbone)
    return backbone


def created(name: str, stride: int, pad_type: str | None, fixed: Mapping[str, Any]) -> Backbone:
    """The network as timm makes it for a stride, which it may not have, and untried.

    Args:
        name: timm name.
        stride: asked for.
        pad_type: padding of the convolutions, one of ``fixed``; None takes timm's.
        fixed: options of every attempt.

    Raises:
        InputError: timm makes no feature maps of it.
    """
    import timm

    attempts: list[dict[str, Any]] = [
        {"output_stride": stride},
        {"dynamic_img_size": True, "dynamic_img_pad": True},  # transformers: any image size
        {"strict_img_size": False},  # Swin
        {},
    ]
    reasons: list[str] = []
    for options in attempts:
        try:
            net = timm.create_model(name, features_only=True, **{**fixed, **options})
            break
        except (TypeError, AssertionError, NotImplementedError, AttributeError, ValueError) as error:
            reasons.append(str(error))
        except RuntimeError as error:
            if "tag" in str(error) or "not implemented" in str(error):
                raise InputError(f"backbone {name!r} cannot be built: {error}") from None
            raise
    else:
        hint = f" with pad_type {pad_type!r} (asked for by the weights)" if pad_type else ""
        raise InputError(
            f"backbone {name!r} gives no feature maps{hint}: {reasons[-1]}; choose a convolutional network or a vision "
            "transformer that timm.create_model(name, features_only=True) accepts"
        )
    return Backbone(net, name, stride, pad_type)


@contextmanager
def traceable() -> Iterator[None]:
    """Within, torch.export can follow the sizes of feature maps through timm's padding after TensorFlow's manner.

    timm rounds a quotient of sizes up, which stays an unknown number; in whole numbers it is solved.
    """
    from timm.layers import padding

    library: Any = padding
    usual = library.get_same_padding
    library.get_same_padding = _same_padding
    try:
        yield
    finally:
        library.get_same_padding = usual


def _same_padding(side: int, kernel: int, stride: int, dilation: int) -> int:
    """Pixels with which a side is padded, so that a layer returns ceil(side / stride) cells."""
    return max((-(-side // stride) - 1) * stride + (kernel - 1) * dilation + 1 - side, 0)


def _probe(backbone: Backbone) -> None:
    """Find out whether the network accepts images of any size, or only multiples of its coarsest reduction."""
    unit, (small, beyond) = max(backbone.reductions), probe_sizes(backbone)
    training = backbone.training
    backbone.eval()
    try_size(backbone, small)
    rests = [(small, 5, 3), (small, 1, unit // 2), (small, unit - 1, unit // 2 + 1), (beyond, 5, 3)]
    try:
        for (height, width), below, beside in rests:
            try_size(backbone, (height + below, width + beside))
    except InputError:
        backbone._multiple = unit
        try_size(backbone, beyond)
    backbone.train(training)


def probe_sizes(backbone: Backbone) -> tuple[tuple[int, int], tuple[int, int]]:
    """Sizes (H, W) of whole cells to try a network on: a small one, and one beyond that of the pretraining.

    Tables of relative positions are often as large as the images of the pretraining need, and fail only beyond.
    """
    unit = max(backbone.reductions)
    config: Any = cast(Any, backbone.net).pretrained_cfg
    known = max(224, *config["input_size"][1:])
    return (2 * unit, 2 * unit), (2 * unit, (known // unit + 1) * unit)


def try_size(backbone: Backbone, size: tuple[int, int]) -> None:
    """Refuse a network, in eval mode, that cannot look at an image of ``size`` (H, W), whatever it raises.

    Raises:
        InputError: it cannot.
    """
    try:
        with torch.no_grad():
            maps = backbone(torch.zeros(1, 3, *size, device=backbone.mean.device))
        found = tuple(one.shape[1] for one in maps)
        if found != backbone.channels:  # cells that a network miscounted become channels
            raise ValueError(f"{found} channels instead of {backbone.channels} at {size[0]} x {size[1]} pixels")
        for one, own in zip(maps, backbone.reductions, strict=True):
            if any(abs(cells - side / own) > _LOST for cells, side in zip(one.shape[-2:], size, strict=True)):
                raise ValueError(f"a map of {tuple(one.shape[-2:])} cells of stride {own} for {size} pixels")
    except Exception as error:  # each network fails in its own way
        if is_shortage(error):
            raise
        raise not_any_size(backbone.name, error) from None


def not_any_size(name: str, error: Exception) -> InputError:
    """The error for a network that refused an image, with the most similar network that is known to fit."""
    nearest = max(FITTING, key=lambda known: difflib.SequenceMatcher(None, name, known).ratio())
    return InputError(
        f"backbone {name!r} does not accept images of any size ({shown(first_line(error))}); choose another one, such "
        f"as {nearest}"
    )


def triple(values: Any, what: str) -> Tensor:
    """Three numbers, one per colour, as a tensor (3, 1, 1); raises ValueError for another count."""
    numbers = [float(value) for value in values]
    if len(numbers) != 3:
        raise ValueError(f"{what} must be 3 numbers, got {len(numbers)}")
    return torch.tensor(numbers).view(3, 1, 1)
