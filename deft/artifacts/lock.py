"""The lock of a folder, held by one process at a time, on storage with file locks and without."""

from __future__ import annotations

import errno
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deft.contracts import InputError
from deft.guards.opening import UnreadableError, exists, open_regular
from deft.guards.output import refuse_link
from deft.guards.words import shown

if TYPE_CHECKING:
    from filelock import BaseFileLock

_LOCK_BYTES = 1000
_SIGNED = re.compile(rb"process \d+ on |\d+\n\S+")
"""Content of a lock: this module's, or filelock's own."""
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
"""Error codes of storage without locks, such as some network shares."""


class InUseError(InputError):
    """The run folder is in use by another process."""


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Hold a lock file within the block.

    Raises:
        InUseError: another process holds it.
    """
    lock = take_lock(path)
    try:
        yield
    finally:
        lock.release()


def has_locks(folder: Path) -> bool:
    """Whether the storage of a folder has file locks of the system; a file ``lock`` is made in it."""
    from filelock import FileLock, SoftFileLock

    if FileLock is SoftFileLock:
        return False
    lock = FileLock(folder / "lock", timeout=0, on_acquired=_sign)  # with it, none falls back to a file
    try:
        lock.acquire()
    except OSError:
        return False
    lock.release()
    return True


def is_lock(path: Path) -> bool:
    """Whether a file has the name of a lock of a run folder."""
    return path.name == "lock" or path.name.startswith("lock.")


def take_lock(path: Path) -> BaseFileLock:
    """Take the lock. The system releases it when the process ends, however it ends; forked processes never hold it.

    On storage without locks a file ``NAME.held`` is created instead. A killed process leaves it behind: the next
    process on the same machine sees that its owner is dead, on another machine the user has to remove the file.

    Raises:
        InUseError: another process holds it.
        InputError: a link or somebody's file is in its place, or it cannot be written.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    remedy = "wait until it has ended, stop it, or name another folder"
    _refuse_foreign_lock(path)
    if FileLock is not SoftFileLock:  # they are the same if Python has no system locks at all
        lock = FileLock(path, timeout=0, thread_local=False, on_acquired=_sign)  # any thread may release it
        try:
            lock.acquire()
            return lock
        except Timeout:
            raise InUseError(f"{path.parent} is in use by {_owner(path)}; {remedy}") from None
        except PermissionError:
            raise InputError(
                f"{shown(path)}: no permission to write it; change permissions or name another folder"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
    held = path.with_name(f"{path.name}.held")
    print(f"{shown(path.parent)}: the storage has no locks; {held.name} holds the folder instead", file=sys.stderr)
    soft = SoftFileLock(held, timeout=0.5, thread_local=False)  # time to remove the file of a dead process
    try:
        soft.acquire()
    except Timeout:
        remedy += f"; if it is no longer running, remove {held}"
        raise InUseError(f"{path.parent} is in use by {_owner(held)}; {remedy}") from None
    return soft


def _refuse_foreign_lock(path: Path) -> None:
    """Refuse a lock that is a link, or a file that deft did not write: taking it would empty that file."""
    for file in (path, path.with_name(f"{path.name}.held")):
        refuse_link(file)
        try:
            with open_regular(file) as opened:
                content = opened.read(_LOCK_BYTES)
        except UnreadableError:
            if exists(file):  # a pipe, a folder; taking it would wait for ever, or fail in other words
                raise
            continue
        except OSError:  # there is none; or on Windows, one that is held; without permission taking it says so
            continue
        if content and not _SIGNED.match(content):
            raise InputError(f"{shown(file)}: expected a lock of deft, got a file with other content; move it away")


def _sign(handle: int) -> None:
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())


def _owner(path: Path) -> str:
    """The process that holds a lock, if its file can be read: on Windows, a locked file cannot."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    by_file = re.match(r"(\d+)\n(\S+)\n", text)  # filelock's own record
    return f"process {by_file[1]} on {by_file[2]}" if by_file else text.strip() or "another process"
