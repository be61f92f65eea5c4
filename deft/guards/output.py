"""The one check of every place for results: apart from the data that is read, and possible to write to.

Results inside a folder of photographs would be read as photographs the next time, and results above it may replace what
lies there. Both are judged by where a path leads, whatever its spelling: through links, ``..`` and other mounts of the
same folder.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from deft.contracts import InputError
from deft.guards.words import shown

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""Error codes of a full disk, which has a message of its own: there is nothing wrong with the place."""


def check_out(out: Path, reads: Iterable[Path] = (), option: str = "--out", *, folder: bool = True) -> None:
    """Refuse a place for results before anything is made; nothing is created.

    Args:
        out: the folder, or the file, to be written.
        reads: the files and folders that are read; some may not exist (yet).
        option: what the user calls the place, for messages.
        folder: False if ``out`` is a file.

    Raises:
        InputError: it lies inside or above what is read, or nothing can be written there.
    """
    where = f"{option} {shown(out)}"
    _check_place(out, where, folder)
    own = _lineage(out)
    for source in _places(reads):
        place = _lineage(source)
        inside = place[0] in own and not source.is_file()
        if inside or own[0] == place[0] or (folder and own[0] in place):
            how = "is" if own[0] == place[0] else "lies inside" if inside else "contains"
            what = "folder than that of the data" if folder else "place than that of the data"
            raise InputError(
                f"{where}: expected another {what}, got one that {how} {shown(source)}, which is read; name a new one "
                "elsewhere"
            )


def _places(reads: Iterable[Path]) -> list[Path]:
    """One of the files in each folder, and all folders: every file of a folder is as far from the results."""
    folders: list[Path] = []
    files: dict[Path, Path] = {}
    for source in reads:
        if source.is_file():
            files.setdefault(Path(os.path.realpath(source)).parent if source.is_symlink() else source.parent, source)
        else:
            folders.append(source)
    return [*folders, *files.values()]


def make_folder(out: Path, option: str = "--out") -> None:
    """Create a folder for results, unless it exists.

    Raises:
        InputError: it cannot be made; the message says why.
        OSError: the disk is full.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{option} {shown(out)}: the folder cannot be made ({why}); name another") from None


def refuse_links(root: Path, option: str = "--out") -> None:
    """Refuse a folder of results with a link anywhere in it: what is written there would land elsewhere.

    Raises:
        InputError: names the link.
    """
    pending = [os.fspath(root)]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except FileNotFoundError:  # removed meanwhile, as temporary folders are
            continue
        except OSError as error:
            raise InputError(
                f"{option} {shown(root)}: {shown(error.filename)} cannot be read ({error.strerror}); change permissions"
            ) from None
        for entry in entries:
            if entry.is_symlink():
                refuse_link(Path(entry.path))
            elif entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)


def refuse_link(path: Path) -> None:
    """Raise InputError if a file or folder that is to be written is a link, or neither a file nor a folder."""
    if path.is_symlink():
        raise InputError(
            f"{shown(path)}: expected a file or folder of its own, got a link to {shown(os.readlink(path))}, which is "
            "not written to; remove the link"
        )
    if os.path.lexists(path) and not path.is_file() and not path.is_dir():
        raise InputError(f"{shown(path)}: expected a file, got a named pipe or a device; remove it")


def _check_place(out: Path, where: str, folder: bool) -> None:
    """Refuse a place that cannot be written to, as far as that can be known without writing."""
    try:
        exists = os.path.lexists(out)
        if exists and not os.path.exists(out):
            os.stat(out)  # says whether the links go round in a circle
        if exists and folder != os.path.isdir(out):
            wanted, came = ("a folder", "a file") if folder else ("a file", "a folder")
            raise InputError(f"{where}: expected {wanted}, got {came}; name another {wanted.split()[1]}")
        os.lstat(out if exists else out.parent if not folder else out)
    except InputError:
        raise
    except FileNotFoundError:
        if os.path.islink(out):
            raise InputError(
                f"{where}: a link to {shown(os.readlink(out))}, which is not there; make that folder or remove the link"
            ) from None
    except NotADirectoryError:
        pass  # told below, with the name of the file
    except OSError as error:
        raise InputError(f"{where}: cannot be used ({error.strerror}); name another") from None
    except ValueError as error:
        raise InputError(f"{where}: no name that a file can have ({error}); name another") from None
    nearest = out if folder and os.path.isdir(out) else next(up for up in _parents(out) if os.path.lexists(up))
    if not os.path.isdir(nearest):
        raise InputError(f"{where}: expected a path through folders, got {shown(nearest)}, a file; name another")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(
            f"{where}: no permission to write in {shown(nearest)}; change permissions or name a folder elsewhere"
        )


def _parents(path: Path) -> list[Path]:
    return list(Path(os.path.abspath(path)).parents)


def _lineage(path: Path) -> list[tuple[int, int]]:
    """Identities of a place and of all folders above it, nearest first, however they are spelt.

    A place that does not exist yet is identified by its path.
    """
    found: list[tuple[int, int]] = []
    real = Path(os.path.realpath(path))
    for place in (real, *real.parents):
        try:
            status = os.stat(place)
        except (OSError, ValueError):
            found.append((-1, hash(place)))
        else:
            found.append((status.st_dev, status.st_ino))
    return found
