"""Standard output and standard error that may be closed, full, or unable to show a letter of a name.

Nobody has to read the progress of a command: if standard error fails it is given up, and the command goes on. Standard
output holds the answer: if it fails, the command ends, quietly if the reader has had enough (``deft check | head``).
"""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from deft.guards.words import printable


class OutputError(Exception):
    """Standard output cannot be written to."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.has_reader = error.errno != errno.EPIPE


class _Stream:
    """A text stream with other behaviour where writing fails; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _give_up(self) -> None:
        """Let the file go nowhere: what Python and the C library still have to write then fails no more."""
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class Answer(_Stream):
    """Standard output: control characters are escaped, and an error of writing is an :class:`OutputError`."""

    def write(self, text: str) -> int:
        """Write text."""
        try:
            return self._stream.write(printable(text))
        except OSError as error:
            self._give_up()
            raise OutputError(error) from None

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up()
            raise OutputError(error) from None


class Progress(_Stream):
    """Standard error: an error of writing is ignored."""

    def write(self, text: str) -> int:
        """Write text."""
        try:
            return self._stream.write(text)
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            self._stream.flush()
        except OSError:
            self._give_up()


@contextmanager
def guarded() -> Iterator[None]:
    """Within, standard output and error are an :class:`Answer` and a :class:`Progress`.

    Pillow's remarks on odd files are not shown: what matters in them is told as a fault of the file.
    """
    _fill_descriptors()
    before: tuple[Any, Any] = sys.stdout, sys.stderr  # None if closed
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a pipe may lack letters of a name, as on Windows
    # One that was closed from the start fails like one that cannot be written to, when it is.
    out, err = (cast(TextIO, _Closed()) if stream is None else stream for stream in before)
    sys.stdout, sys.stderr = cast(Any, Answer(out)), cast(Any, Progress(err))
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
            yield
    finally:
        sys.stdout, sys.stderr = before


class _Closed(io.TextIOBase):
    """A stream that was closed before the program began."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        if text:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return 0


def _fill_descriptors() -> None:
    """Open the descriptors 0 to 2 if they are closed: else the next file gets such a number, and warnings with it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
