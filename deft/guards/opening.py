"""The one way to open a file that is not this program's own: a regular file, within limits, and without waiting.

Opening a named pipe waits until somebody writes into it, reading a device may never end, and a file may be larger than
the memory. Each of them is told at once here, in one message that names the file.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import BinaryIO

from deft.contracts import InputError
from deft.guards.words import shown

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_REASONS = {
    errno.ELOOP: ("its links lead in a circle", "replace it by what it should lead to"),
    errno.EACCES: ("no permission to read it", "ask its owner or change permissions"),
    errno.EPERM: ("no permission to read it", "ask its owner or change permissions"),
    errno.ENAMETOOLONG: ("its name is too long for this disk", "give it a shorter one"),
}
_STEP = 16 * 1024 * 1024
RECORD = 256 * 1024 * 1024
"""Largest JSON or text file that is read whole unless a caller allows more."""


class UnreadableError(InputError):
    """A file that cannot be opened, or is too large: ``what`` is wrong with it, and the ``remedy``."""

    def __init__(self, path: str | os.PathLike[str], what: str, remedy: str) -> None:
        super().__init__(f"{shown(path)}: {what}; {remedy}")
        self.path, self.what, self.remedy = path, what, remedy


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a regular file to read its bytes; links to one are followed.

    Raises:
        UnreadableError: it is missing, no regular file, or may not be read. Nothing is waited for.
    """
    try:
        _refuse_kind(path, os.stat(path).st_mode)
        # A pipe may have taken the file's place meanwhile: without O_NONBLOCK its opening would wait.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except UnreadableError:
        raise
    except (OSError, ValueError) as error:
        raise _told(path, error) from None
    try:
        _refuse_kind(path, os.fstat(handle).st_mode)
    except BaseException:
        os.close(handle)
        raise
    return _Opened(io.FileIO(handle, "rb"))


class _Opened(io.BufferedReader):
    """An opened file that needs no memory for more bytes than it has: in a damaged one, a length may say billions."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _STEP:
            left = os.fstat(self.fileno()).st_size - self.tell()
            size = min(size, max(left, _STEP))
        return super().read(size)


def read_regular(path: str | os.PathLike[str], most: int = RECORD) -> bytes:
    """The bytes of a regular file.

    Args:
        path: the file.
        most: number of bytes above which it is refused.

    Raises:
        UnreadableError: as for :func:`open_regular`, or the file is too large, or its storage fails.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= most:
            try:
                content = read_most(file, most + 1, size)
            except OSError as error:
                raise _told(path, error) from None
            size = len(content)
        if size > most:
            limit = f"{most / 1e6:,.0f} MB" if most >= 1e6 else f"{most:,} bytes"
            raise UnreadableError(path, f"expected at most {limit}, got more", "name the right file")
    return content


def read_most(file: BinaryIO, most: int, expected: int = 0) -> bytes:
    """At most so many bytes of an opened file, without memory for more than there are.

    Args:
        file: is read from where it is.
        most: number of bytes.
        expected: number of bytes that there probably are; files of /proc have no size.
    """
    content = file.read(min(most, expected + 1))  # read(most) would allocate that much first
    while len(content) < most and (more := file.read(min(most - len(content), _STEP))):
        content += more
    return content


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raise UnreadableError if the file is missing, no regular file, or may not be read."""
    open_regular(path).close()


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file, folder or anything else with this name; False also if nobody may know.

    A link whose target is missing exists: it is told when it is opened.
    """
    try:
        os.lstat(path)
    except (OSError, ValueError):
        return False
    return True


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder with this name; False if there is nothing.

    Raises:
        UnreadableError: there is something else: a file, a link to nothing, a link in a circle, or a place that nobody
            may look at. Taking it for nothing would silently leave out what the user meant to give.
    """
    if not exists(path):
        return False
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise _told(path, error, "folder") from None
    if not stat.S_ISDIR(mode):
        came = "a file" if stat.S_ISREG(mode) else _kind(mode)
        raise UnreadableError(path, f"expected a folder, got {came}", "put the folder there, or rename it")
    return True


def _refuse_kind(path: str | os.PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        what = f"cannot be opened (expected a file, got {_kind(mode)})"
        raise UnreadableError(path, what, "name a file, or remove it")


def _kind(mode: int) -> str:
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), "something else")


def _told(path: str | os.PathLike[str], error: OSError | ValueError, expected: str = "file") -> UnreadableError:
    if not isinstance(error, OSError):  # a zero byte in the name, or letters that the disk's encoding lacks
        return UnreadableError(path, f"cannot be opened ({error})", "correct its name")
    if error.errno == errno.ENOENT and os.path.islink(path):
        return UnreadableError(path, f"a link to a {expected} that is not there", "correct or remove the link")
    why = f"cannot be opened ({error.strerror or error})"
    return UnreadableError(path, *_REASONS.get(error.errno or 0, (why, "check its path and permissions")))
