"""Lack of memory: how each library says so, and what is said to the user.

There is no common error. Python and NumPy raise ``MemoryError``, as do C++ libraries through their bindings; torch
raises ``torch.OutOfMemoryError`` for a GPU, and for a CPU or MPS a ``RuntimeError`` that only its text tells from
others. So does oneDNN, which computes convolutions on CPUs, and so do CUDA's libraries.
"""

from __future__ import annotations

import errno
import gc

import torch

from deft.engine.memory import return_freed

_SAID = (
    "defaultcpuallocator",  # Linux: "can't allocate memory: you tried to allocate"; Windows: "not enough memory: ..."
    "not enough memory",
    "out of memory",  # CUDA, HIP, XPU, MPS ("MPS backend out of memory"), Pillow
    "cannot allocate memory",  # the system, in other libraries' words
    "can't allocate memory",
    "failed to allocate",
    "std::bad_alloc",
    "could not create a memory",  # oneDNN
    "could not create a primitive",
    "could not initialize a memory",
    "could not execute a primitive",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cusolver_status_alloc_failed",
    "cusparse_status_insufficient_resources",
    "can't start new thread",  # no room for its stack
)
"""Parts of messages, in lower case. oneDNN's "could not create a primitive" has other causes too, which a smaller batch
does not remove: they are reported in the same way when one image is left."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory, of a CPU or a GPU.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    (True, True)
    >>> out_of_memory(RuntimeError("shapes cannot be multiplied"))
    False
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(said in str(error).lower() for said in _SAID)


def reason_of(error: BaseException) -> str:
    """The error's own words, shortened to a line."""
    said = (str(error).strip().splitlines() or [""])[0].split(". ")[0].strip()
    return said[:160] or type(error).__name__


def release() -> None:
    """Free what only an error's frames have referred to, and what the C library and torch keep."""
    gc.collect()
    return_freed()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def lacking(what: str, reason: str) -> str:
    """Message for an image that does not fit into memory on its own.

    Args:
        what: its name.
        reason: of :func:`reason_of`.
    """
    return (
        f"{what}: needs more memory than there is, alone too ({reason}); take a smaller --max-side, or a machine with "
        "more memory"
    )
