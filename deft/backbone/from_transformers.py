"""Parts of transformers, for models that timm does not have: mask generators and CLIP with its text tower.

Only this module imports transformers (Wolf et al., 2020, https://github.com/huggingface/transformers), which is
optional; weights are files of the user, and no code that comes with them is executed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deft.backbone.hub import hub_answers
from deft.contracts import InputError
from deft.guards.words import first_line, shown

_FILES = ("*.json", "*.txt", "model*.safetensors")
"""What a folder on the hub is downloaded for: settings, words of the tokeniser, and weights as safetensors."""


def from_transformers(name: str, what: str) -> Any:
    """A class or a function of transformers.

    Args:
        name: its name, as in ``from transformers import name``.
        what: what needs it, for the message: ``masks of SAM need``.

    Raises:
        InputError: transformers is not installed, or does not go with another package.
    """
    try:
        import transformers

        return getattr(transformers, name)
    except (ImportError, AttributeError, RuntimeError) as error:  # transformers imports its parts when they are named
        raise InputError(
            f"{what} transformers, which cannot be imported ({shown(first_line(error))}): pip install "
            "'deft-wsss[sam]', or, for CLIP, pip install 'deft-wsss[clip]', which is the same package"
        ) from None


def model_folder(model: str, field: str) -> Path:
    """The folder of a model as transformers writes it; one on the hub is downloaded unless the local cache has it.

    Args:
        model: a folder, or ``OWNER/NAME`` on the hub.
        field: the setting that names it, for messages.

    Raises:
        InputError: nothing is named, there is no such folder, or the hub cannot be reached or does not have it.
    """
    if not model:
        raise InputError(
            f"{field}: expected the folder of a model, or its name on the hub, got nothing; give --set {field}=MODEL"
        )
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists() or folder.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1:
        raise InputError(
            f"{field}: expected the folder of a model, or OWNER/NAME on the hub, got {shown(model)}; correct the path"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=list(_FILES), local_files_only=not hub_answers()))
    except Exception as error:  # each fault of the hub raises its own
        raise InputError(
            f"{field}: {shown(model)} is no folder here, and cannot be had from the hub ({shown(first_line(error))}); "
            "download it elsewhere and give the path of its folder"
        ) from None
