"""What the storage of a folder can do, tried with temporary files that are removed again."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deft.artifacts.lock import has_locks
from deft.contracts import InputError
from deft.guards.output import check_out
from deft.guards.words import shown


@dataclass(frozen=True)
class Storage:
    """A place for run folders."""

    place: Path
    trouble: str = ""
    """Why nothing can be written there; empty if something can."""
    free: int = 0
    """Bytes."""
    locks: bool = False
    """Whether the system's file locks work."""
    links: bool = False
    """Whether hard links work."""
    replaces: bool = False
    """Whether a file can be renamed over another one, at once."""
    exclusive: bool = False
    """Whether creating a file that is there already is refused, on which sharing a run with other machines relies."""


def try_storage(place: Path) -> Storage:
    """Try the storage of a folder, or of the nearest folder above it that exists."""
    try:
        check_out(place)
        with tempfile.TemporaryDirectory(prefix=".part-doctor-", dir=_nearest(place)) as folder:
            return _tried(place, Path(folder))
    except InputError as error:
        return Storage(place, str(error))
    except OSError as error:
        why = error.strerror or str(error)
        return Storage(place, f"--out {shown(place)}: nothing can be written there ({why}); name a folder elsewhere")


def _tried(place: Path, folder: Path) -> Storage:
    one, other = folder / "one", folder / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    exclusive = links = replaces = False
    try:
        os.close(os.open(one, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except OSError:
        exclusive = True
    with suppress(OSError, AttributeError, NotImplementedError):
        os.link(one, folder / "link")
        links = os.path.samefile(one, folder / "link")
    with suppress(OSError):
        os.replace(one, other)
        replaces = other.read_bytes() == b"1"
    return Storage(place, "", shutil.disk_usage(folder).free, has_locks(folder), links, replaces, exclusive)


def can_write(folder: str | os.PathLike[str]) -> bool:
    """Whether a file can be made in a folder, or in the nearest folder above it that exists."""
    try:
        with tempfile.TemporaryFile(dir=_nearest(Path(folder))):
            return True
    except OSError:
        return False


def _nearest(place: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    path = Path(os.path.abspath(place))
    return next((up for up in (path, *path.parents) if up.is_dir()), path)
