"""Upload of an exported model to the Hugging Face hub, by its own client, huggingface_hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deft import __version__
from deft.contracts import InputError
from deft.guards.words import first_line, shown
from deft.predict.saved import repository


def push(folder: Path, names: Sequence[str], repo: str) -> str:
    """Upload files to a model repository, which is made if there is none, visible to its owner alone.

    Args:
        folder: where they are.
        names: of the files; nothing else in the folder is uploaded.
        repo: ``OWNER/NAME``.

    Returns:
        The address of the model.

    Raises:
        InputError: the name is none, nobody is logged in, or the hub refuses or cannot be reached.
    """
    name = check_repository(repo)
    from huggingface_hub import HfApi

    hub = HfApi(library_name="deft", library_version=__version__)
    try:
        address = hub.create_repo(name, repo_type="model", private=True, exist_ok=True)
        hub.upload_folder(
            repo_id=name,
            repo_type="model",
            folder_path=folder,
            allow_patterns=list(names),
            commit_message=f"Model exported by deft {__version__}",
        )
    except Exception as error:  # the hub's errors have no common class, and its client raises its own
        raise InputError(
            f"--push {shown(repo)}: {first_line(error)}; the model is in {shown(folder)}. "
            "Log in with `hf auth login`, check the name, and repeat the command"
        ) from None
    return str(address)


def check_repository(repo: str) -> str:
    """The name of a repository that can be written to.

    Raises:
        InputError: it is written in another way, or with a revision.
    """
    name, revision = repository(repo, f"--push {repo}")
    if revision is not None:
        raise InputError(f"--push {shown(repo)}: expected OWNER/NAME, got one with a revision; leave out @{revision}")
    return name
