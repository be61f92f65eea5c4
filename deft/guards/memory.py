"""Lack of memory while a file is read, which is no damage of the file: nothing may be made again because of it."""

from __future__ import annotations

import errno


def is_shortage(error: BaseException) -> bool:
    """Whether a reader of files ended because there was not enough memory, by its type, its number or its words.

    >>> is_shortage(MemoryError()), is_shortage(OSError(12, "Cannot allocate memory"))
    (True, True)
    >>> is_shortage(ValueError("Cannot allocate memory (os error 12)")), is_shortage(ValueError("header too large"))
    (True, False)
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return any(words in str(error).lower() for words in ("cannot allocate memory", "can't allocate memory"))
