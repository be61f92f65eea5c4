"""Weights of a backbone: from timm's hub, from a file, from an installed package, or random.

Code inside a file is never executed. If the keys of a file are not timm's, timm's conversion of checkpoints is tried.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deft.backbone.hub import hub_digest, hub_file
from deft.backbone.network import Backbone, build_network, check_name, triple
from deft.backbone.package import MEAN, STD, package_digest, package_state
from deft.contracts import InputError
from deft.guards.memory import is_shortage
from deft.guards.opening import check_regular, exists, open_regular
from deft.guards.words import shown

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt")
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")


def build_backbone(name: str, weights: str = "none", stride: int = 16, own_stride: bool = False) -> Backbone:
    """Build a timm network as a feature extractor.

    Args:
        name: timm name, with or without a tag (``resnet50``, ``resnet50.a1_in1k``).
        weights: ``none`` (random), ``hub`` (timm's own weights, downloaded or from the local cache), ``package`` (from
            an installed Python package, see :mod:`deft.backbone.package`), or a path to a .safetensors, .pth or .pt
            file, or to a folder with exactly one such file whose name starts with ``name``. Metadata of a .safetensors
            file (architecture, pad_type, mean, std) is respected. Code inside a file is never executed.
        stride: pixels per cell of the last feature map, 8, 16 or 32; deeper stages are dilated.
        own_stride: let a network that cannot be dilated, such as a transformer, keep its own stride.

    Raises:
        InputError: unknown name, no feature maps, an unsupported stride, weights that are missing or do not fit.
    """
    check_name(name)
    if weights == "none":
        return build_network(name, stride, None, own_stride=own_stride)
    if weights == "hub":
        return _from_hub(name, stride, own_stride)
    if weights == "package":
        return _from_package(name, stride, own_stride)
    return _from_file(name, stride, find_weights(name, weights), own_stride)


def find_weights(name: str, weights: str) -> Path:
    """The weight file for backbone ``name``: ``weights`` itself, or the matching file if it is a folder.

    Raises:
        InputError: there is no such file, the folder holds none or several that match, or the suffix is unknown.
    """
    path = Path(weights).expanduser()
    wanted = f"one of {', '.join(WEIGHT_SUFFIXES)}"
    if os.path.isdir(path):
        base = name.split(".")[0]
        fits = sorted(p for p in path.iterdir() if p.suffix in WEIGHT_SUFFIXES and _starts_with(p.name, base))
        if len(fits) != 1:
            found = ", ".join(p.name for p in fits) or "none"
            raise InputError(
                f"folder {path} must hold exactly one file {base}* ({wanted}), found {found}; "
                "give the path of the file itself as weights"
            )
        return fits[0]
    if not exists(path):
        raise InputError(
            f"no weights found at {weights!r}; expected 'hub', 'none', 'package', or an existing "
            f"file ({wanted}) or folder"
        )
    if path.suffix not in WEIGHT_SUFFIXES:
        raise InputError(f"weights must be {wanted}, got {path.name}; convert them to .safetensors")
    return path


def _starts_with(filename: str, base: str) -> bool:
    return filename.startswith(base) and not filename[len(base) : len(base) + 1].isalnum()


def _from_hub(name: str, stride: int, own_stride: bool) -> Backbone:
    """Timm's weights, loaded from their file by timm itself."""
    path = hub_file(name)
    try:
        backbone = build_network(name, stride, None, path, own_stride)
    except InputError:
        raise
    except Exception as error:  # each reader raises its own errors
        raise InputError(
            f"{shown(path)}: the hub's weights of {name!r} cannot be loaded ({_reason(error)}); remove the file to "
            "have it downloaded again"
        ) from None
    backbone.pretrained = True
    return backbone


def _from_package(name: str, stride: int, own_stride: bool) -> Backbone:
    state = package_state(name)
    backbone = build_network(name, stride, None, own_stride=own_stride)
    backbone.mean.fill_(MEAN)
    backbone.std.fill_(STD)
    _load(backbone, state, "the package")
    backbone.pretrained = True
    return backbone


def _from_file(name: str, stride: int, path: Path, own_stride: bool) -> Backbone:
    state, metadata = read_weights(path)
    meant = metadata.get("architecture")
    if meant is not None and meant.split(".")[0] != name.split(".")[0]:
        raise InputError(f"{path} holds weights of {meant!r}, not of {name!r}; take backbone {meant!r} or another file")
    backbone = build_network(name, stride, metadata.get("pad_type"), own_stride=own_stride)
    try:
        if "mean" in metadata:
            backbone.mean.copy_(triple(metadata["mean"].split(","), "mean"))
        if "std" in metadata:
            backbone.std.copy_(triple(metadata["std"].split(","), "std"))
    except ValueError as error:
        raise InputError(f"the metadata of {path} cannot be used: {error}") from None
    _load(backbone, state, path)
    backbone.pretrained = True
    return backbone


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by key, and the metadata of a .safetensors file; code in a file is never executed."""
    check_regular(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(str(path), "pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each reader raises its own errors, some of them private
        if is_shortage(error):
            raise MemoryError(f"no memory to read {shown(path)}") from None
        raise InputError(
            f"{shown(path)} cannot be read as a weight file: {_reason(error)}; download it again"
        ) from None
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a dictionary of tensors by name, got {type(content).__name__}")
    state = {str(k).removeprefix("module."): v for k, v in content.items() if isinstance(v, Tensor)}
    return state, {}


def _reason(error: Exception) -> str:
    """Why a file could not be read, in one line."""
    if "weights_only" in str(error):  # torch's own message advises to execute what is in the file
        return "it holds more than tensors"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _load(backbone: Backbone, state: dict[str, Tensor], source: Path | str) -> None:
    """Load the network's weights: extra tensors (of the ImageNet classifier) are ignored, missing ones are an error."""
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
            f"{', '.join(list(state)[:3]) or 'nothing'}; give the backbone that the weights belong to, or other weights"
        )
    backbone.net.load_state_dict(found, strict=False)


def _match(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Tensors of ``state`` under the keys of ``own``, keys not found, and descriptions of shapes that differ.

    timm's feature extractors rename keys: they prepend ``model.``, or turn ``stages.0`` into ``stages_0``.
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
    """Convert the keys of a checkpoint to timm's names; None if timm has no conversion for it."""
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


def weights_digest(weights: str, backbone: str, recorded: str = "") -> str:
    """Identity of the weights regardless of their path: ``none``, or name and hash of the package or file.

    Args:
        weights: as for :func:`build_backbone`.
        backbone: timm name.
        recorded: the identity in the record of a run, which counts for weights of the hub that are gone from the cache
            and cannot be downloaded: a finished run needs them no more.

    Raises:
        InputError: the file is missing, or neither ``hub`` nor ``package`` has weights of this backbone.
    """
    if weights == "none":
        return weights
    if weights == "hub":
        return hub_digest(backbone, recorded)
    if weights == "package":
        return package_digest(backbone)
    path = find_weights(backbone, weights)
    with open_regular(path) as file:
        return f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def weights_key(digest: str) -> str:
    """What keys and comparisons take of :func:`weights_digest`: not the name of a file, which a copy may change."""
    return digest if digest.startswith(("package ", "hub ")) else digest.rpartition(" ")[2]
