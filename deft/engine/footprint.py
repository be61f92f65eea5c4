"""Memory of a training step, measured on one to three images before the first step.

Every storage that torch creates during a small step is counted while it lives; the peak of that count follows from the
network and the size of the images, and not from the system or from what other programs do. For N images of which n are
computed at a time (:mod:`deft.engine.parts`), a step needs

    fixed + N * image + n * part

bytes: gradients of weights, what each image of the batch holds until the end, and what the images of one part hold
while that part is computed. Three small steps tell the three numbers: (N, n) = (2, 2), (2, 1) and (3, 1).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode  # torch's own way to see every operation
from torch.utils._pytree import tree_leaves

SLACK = 1.3
"""Measured resident memory was 0.8 to 1.4 times what was counted, beyond :data:`SPARE`: freed blocks between others,
and what libraries allocate within an operation."""
SPARE = 300_000_000
"""Bytes for what does not grow with a step: compiled kernels of libraries, reading of photographs."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that a training step adds to those of a process with its network and its batch."""

    fixed: float
    image: float
    """Of each image of the batch."""
    part: float
    """Of each image of the part that is being computed."""

    def need(self, batch: int, at_once: int) -> int:
        """Bytes of a step of ``batch`` images, computed ``at_once`` at a time, with a margin."""
        return round(SLACK * (self.fixed + batch * self.image + at_once * self.part) + SPARE)

    def at_once(self, batch: int, free: float) -> int:
        """Most images of a batch that can be computed at a time in so many bytes; 0 if not even one can."""
        left = (free - SPARE) / SLACK - self.fixed - batch * self.image
        if left < 0 or self.part <= 0:
            return batch if left >= 0 else 0
        return min(batch, int(left // self.part))


def parts_for(batch: int, at_once: int) -> int:
    """The least number of parts of a batch of which none has more than ``at_once`` images; as many as images for 0.

    >>> parts_for(16, 16), parts_for(16, 7), parts_for(4, 1), parts_for(4, 0)
    (1, 3, 4, 4)
    """
    return -(-batch // max(1, at_once))


def footprint(peak: Callable[[int, int], int], batch: int, enough: Callable[[int], bool]) -> Footprint:
    """Measure as little as is needed to know how a batch has to be divided.

    Args:
        peak: bytes of a small step, of that many images (1 to 3, no more than the batch has) in that many parts.
        batch: number of images.
        enough: whether so many bytes are free. If they are for the whole batch, each image of it counted like one that
            is alone, nothing more is measured, and ``image`` is an upper estimate.
    """
    alone = peak(1, 1)
    rough = Footprint(0, alone, 0)
    if batch == 1 or enough(rough.need(batch, batch)):
        return rough
    together, divided = peak(2, 1), peak(2, 2)
    # From two images to three: with one, what the batch holds is hidden behind what the part does.
    image = max(0, divided - alone if batch == 2 else peak(3, 3) - divided)
    part = max(0, together - divided)
    return Footprint(max(0, divided - 2 * image - part), image, part)


def peak_of(work: Callable[[], object]) -> int:
    """Most bytes of storages that lived at the same time while ``work`` ran, of those that it created."""
    living = _Living()
    with living:
        work()
    return living.peak


class _Known(weakref.ref[torch.UntypedStorage]):
    """A storage that is counted, for as long as it lives and until it is subtracted."""

    __slots__ = ("key", "size")
    key: int
    size: int


class _Living(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that operations create, until they are freed.

    Freed storages are listed, and subtracted by the next operation: Python loses a Ctrl-C that arrives in a function of
    Python's which is called because an object is freed.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self.known: dict[int, _Known] = {}
        self.freed: list[_Known] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._subtract_freed()
        for storage in _storages((args, kwargs)):  # those that it does not know were there before
            self._know(storage, 0)
        out = func(*args, **kwargs)
        self._subtract_freed()
        for storage in _storages(out):
            self._know(storage, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return out

    def _know(self, storage: torch.UntypedStorage, size: int) -> None:
        if storage._cdata not in self.known:
            known = _Known(storage, self.freed.append)
            known.key, known.size = storage._cdata, size
            self.known[known.key] = known
            self.now += size

    def _subtract_freed(self) -> None:
        """Before storages are looked up: a new one may have the address of one that was freed."""
        while self.freed:
            gone = self.freed.pop()
            del self.known[gone.key]
            self.now -= gone.size


def _storages(values: Any) -> list[torch.UntypedStorage]:
    tensors = [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]
    return [tensor.untyped_storage() for tensor in tensors if tensor.layout == torch.strided]
