"""Room for decoded photographs: threads may decode many small ones at a time, and few large ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

MOST = 100_000_000
"""Pixels that are decoded at a time, in all threads together. Pillow takes 4 bytes for each, and its copies as much."""

_changed = threading.Condition()
_taken = 0


@contextmanager
def room_for(pixels: int) -> Iterator[None]:
    """Within, so many pixels may be decoded; waits until there is room. One image alone always finds it.

    Blocks must not be nested.
    """
    global _taken
    with _changed:
        _changed.wait_for(lambda: _taken == 0 or _taken + pixels <= MOST)
        _taken += pixels
    try:
        yield
    finally:
        with _changed:
            _taken -= pixels
            _changed.notify_all()
