"""Ctrl-C, and SIGTERM, which schedulers send before they kill: stop soon, lose nothing, exit with code 130 or 143.

At SIGTERM training stops between two steps, where its state can be written; everything else, and everything at Ctrl-C,
stops at once, because files are written whole or not at all. A step may take longer than a scheduler or a user waits,
and Python and libraries lose an interrupt that arrives in some places, such as a destructor: after :data:`GRACE`
seconds the process exits wherever it is, and the next start resumes from the last checkpoint, to the same result.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

GRACE = 8.0
"""Seconds from the signal until the process exits, at most."""
EXIT_CODE = 128 + signal.SIGTERM
_NO_SIGNAL = b"\0"


class Stopped(BaseException):
    """SIGTERM was received. Not an error: do not handle it, let it propagate."""


_asked = threading.Event()
_patient = threading.Event()


def asked() -> bool:
    """Whether SIGTERM was received."""
    return _asked.is_set()


@contextmanager
def between_steps() -> Iterator[None]:
    """Within, SIGTERM raises nothing: the block checks :func:`asked` where it can stop and raises :class:`Stopped`.

    The signal may reach child processes and other ranks too, and they stop first: an error after it becomes a
    :class:`Stopped`.
    """
    _patient.set()
    try:
        yield
    except Exception as error:
        if asked():
            raise Stopped from error
        raise
    finally:
        _patient.clear()


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Within, Ctrl-C is noted, to be raised at the end; processes forked within ignore it for good.

    Python loses a ``KeyboardInterrupt`` that is raised while it forks.
    """
    if not _handlers_allowed():
        yield
        return
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if noted:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def ending_on_signals(last_words: Callable[[], None]) -> Iterator[None]:
    """Within, SIGTERM raises :class:`Stopped`, at once or between two training steps, and Ctrl-C ``KeyboardInterrupt``.

    Only the main thread can install signal handlers, and only if the program that Python is part of lets it: elsewhere
    this does nothing.

    Args:
        last_words: called before the process exits because the block did not stop in time.
    """
    if not _handlers_allowed():
        yield
        return
    ended = threading.Event()
    read, write = socket.socketpair()  # Windows takes no pipe that does not block
    write.setblocking(False)

    def watch() -> None:
        # Python runs signal handlers between two of its own instructions, and one may be a whole backward pass: the
        # byte that the system's handler writes comes through at once.
        while (came := read.recv(1)) != _NO_SIGNAL:
            if came[0] in (signal.SIGINT, signal.SIGTERM) and not ended.wait(GRACE):
                last_words()
                os._exit(128 + came[0])

    before = signal.signal(signal.SIGTERM, _handle)
    fd_before = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="deft-signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(fd_before)
        signal.signal(signal.SIGTERM, before)
        write.send(_NO_SIGNAL)  # closing it would not do: a forked reader may have it too
        watcher.join()
        write.close()
        read.close()
        _asked.clear()


def _handlers_allowed() -> bool:
    """Whether this thread can install signal handlers: the main one of Python's main interpreter."""
    if threading.current_thread() is not threading.main_thread():
        return False
    try:
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))
    except (TypeError, ValueError):  # a handler that is not Python's; or Python is part of a program that keeps signals
        return False
    return True


def _handle(number: int, frame: FrameType | None) -> None:
    _asked.set()
    if not _patient.is_set():
        raise Stopped
