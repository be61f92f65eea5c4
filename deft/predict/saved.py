"""A trained network away from its run: the folder that ``deft export-model`` writes, on this machine or on the hub.

::

    model.safetensors        the segmentation network
    classifier.safetensors   the classifier
    config.json              what inference needs besides: classes, scales and flip, size at which photographs are read
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from deft.artifacts import read_json
from deft.contracts import InputError
from deft.guards.opening import exists
from deft.guards.words import first_line, shown
from deft.pipeline import Pipeline
from deft.ranges import RangeError
from deft.segment.inference import Inference
from deft.settings import plain, restore

NETWORK = "model.safetensors"
CLASSIFIER = "classifier.safetensors"
CONFIG = "config.json"
KIND = "deft model"
FORMAT = 1
"""Increased when an entry of ``config.json`` changes meaning."""
HUB = "hub:"
_LONGEST = 500
"""Characters of recorded settings of inference, which are a few numbers."""
_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)


def config_of(classes: tuple[str, ...], inference: Inference, max_side: int | None) -> dict[str, Any]:
    """The content of ``config.json``."""
    return {
        "kind": KIND,
        "format": FORMAT,
        "classes": list(classes),
        "inference": plain(inference),
        "max_side": max_side,
    }


def is_saved(folder: Path) -> bool:
    """Whether a folder is one of :func:`config_of`'s; other programs have a ``config.json``, too."""
    if not exists(folder / CONFIG):
        return False
    found = read_json(folder / CONFIG)
    return isinstance(found, dict) and found.get("kind") == KIND


def saved_inference(folder: Path) -> Inference:
    """Scales, flip and CRF of a saved network.

    Raises:
        InputError: ``config.json`` is of another version, or damaged.
    """
    recorded = _config(folder).get("inference")
    expected = isinstance(recorded, dict) and not any(
        isinstance(part, dict)
        for key, value in recorded.items()
        for part in (value.values() if key == "crf" and isinstance(value, dict) else [value])
    )
    found = restore(recorded) if expected and len(str(recorded)) < _LONGEST else None
    if not isinstance(found, Inference):
        raise InputError(f"{shown(folder / CONFIG)}: expected settings of inference in it; export the model again")
    return found


def saved_side(folder: Path) -> int | None:
    """Longer side at which photographs are read; None for one that reads them as they are.

    Raises:
        InputError: as for :func:`saved_inference`.
    """
    return checked_side(_config(folder).get("max_side"), folder / CONFIG)


def checked_side(side: Any, where: Path, remedy: str = "export the model again") -> int | None:
    """A ``max_side`` that was read from a file.

    Raises:
        InputError: it is none.
    """
    try:
        return Pipeline(None, segment=None, max_side=side).max_side
    except RangeError as error:
        raise InputError(f"{shown(where)}: max_side: {error.reason}; {remedy}") from None


def network_in(folder: Path) -> Path:
    """The segmentation network in a saved folder.

    Raises:
        InputError: ``config.json`` is of another version, or there is no such network.
    """
    _config(folder)
    if not exists(folder / NETWORK):
        told = "its run had no segmentation network" if exists(folder / CLASSIFIER) else "it is incomplete"
        raise InputError(f"{shown(folder)}: expected {NETWORK} in it, found none ({told}); name another model or a run")
    return folder / NETWORK


def _config(folder: Path) -> dict[str, Any]:
    found = read_json(folder / CONFIG)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        version = found.get("format") if isinstance(found, dict) else None
        raise InputError(
            f"{shown(folder / CONFIG)}: expected format {FORMAT}, got {version!r}; update deft, or export the model "
            "again with this version"
        )
    return found


def fetched(name: str) -> Path:
    """Download a saved network from the hub; files that are in its cache already are not downloaded again.

    Args:
        name: ``hub:OWNER/NAME``, or ``hub:OWNER/NAME@REVISION`` for a branch, a tag or a commit.

    Returns:
        The folder in the cache of huggingface_hub.

    Raises:
        InputError: the name is none, or the hub has no such model or cannot be reached.
    """
    parts = repository(name.removeprefix(HUB), name)
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(parts[0], revision=parts[1], allow_patterns=[NETWORK, CLASSIFIER, CONFIG])
    except Exception as error:  # the hub's errors have no common class, and its client raises its own
        raise InputError(
            f"{shown(name)} could not be downloaded from the hub: {first_line(error)}; check "
            "its name, and for a private model log in with `hf auth login`"
        ) from None
    if not is_saved(Path(found)):
        raise InputError(
            f"{shown(name)}: expected a model that deft export-model wrote, with {CONFIG}; it was made by another "
            "program"
        )
    return Path(found)


def repository(text: str, given: str = "") -> tuple[str, str | None]:
    """Owner and name of a repository of the hub, and a revision if there is one.

    Args:
        text: ``OWNER/NAME`` or ``OWNER/NAME@REVISION``.
        given: what the user wrote, for the message.

    Raises:
        InputError: it is written in another way.
    """
    found = _REPOSITORY.fullmatch(text)
    if found is None:
        raise InputError(f"{shown(given or text)}: expected OWNER/NAME of a model on the hub, such as jane/birds")
    return found[1], found[2]
