"""Number of threads of a process: for the operations of torch, and for images that are worked on at the same time.

Threads of one operation wait for each other. Beside a busy process the slowest of them decides, so that two threads on
two cores of which one is taken are slower than a single one. ``auto`` therefore takes as many threads as cores are free
when a run begins, and no more than torch takes by itself, which is one per physical core.

The number changes the last bits of what is trained on a CPU, as another processor does, so that it is no part of a
stage's key; it is recorded instead, and a resumed run keeps it. Maps and masks do not depend on it: each image is
worked on by one thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

from deft.contracts import InputError
from deft.engine import ranks
from deft.engine.cores import cores, free_cores
from deft.engine.launch import by_torchrun, processes_of_this_machine, started_here

AUTO: Literal["auto"] = "auto"
"""As many threads as there are free cores."""
Threads = int | Literal["auto"]
"""A number of at least 1, or :data:`AUTO`."""
VARIABLE = "OMP_NUM_THREADS"
"""What a user, or a launcher, sets to limit the threads of every library."""


@dataclass(frozen=True)
class Choice:
    """A number of threads."""

    number: int
    why: str
    """Where it comes from, in words."""
    measured: bool = False
    """Whether it follows from the number of free cores."""

    def __str__(self) -> str:
        return f"{self.number} {'thread' if self.number == 1 else 'threads'}: {self.why}"


def choose(asked: Threads = AUTO, begun: object = None) -> Choice:
    """The number of threads of this process.

    In this order: the number that was asked for, ``OMP_NUM_THREADS``, the number that the run was begun with, and the
    number of free cores. Several processes on one machine share its cores evenly.

    Args:
        asked: a number, or ``auto``.
        begun: the recorded number of a run that is resumed; anything else than a number counts as none.

    Raises:
        InputError: ``OMP_NUM_THREADS`` is no number of threads.
    """
    if asked != AUTO:
        return Choice(asked, "as set")
    given = _of_environment()
    if given is not None:
        return Choice(given, f"as {VARIABLE} says")
    processes = processes_of_this_machine()
    most = max(1, cores() // processes)
    if isinstance(begun, int) and begun >= 1:
        return Choice(min(begun, most), "as the run was begun" if begun <= most else f"of {begun} that it began with")
    if processes > 1:
        return Choice(most, f"{cores()} cores for {processes} processes")
    free, usual = measured()
    number = max(1, min(usual, most, int(free + 0.5)))
    why = f"{free:.1f} of {cores()} {'core' if cores() == 1 else 'cores'} free"
    if number < int(free + 0.5):
        why += f"; torch takes {usual} by default"
    return Choice(number, why, True)


@contextmanager
def computing(choice: Choice, tell: bool = True) -> Iterator[None]:
    """Within, torch and the functions that work on images use that many threads; rank 0 says so, unless told not to."""
    if tell and ranks.first():
        print(choice, file=sys.stderr)
    before = torch.get_num_threads()
    torch.set_num_threads(choice.number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def measured() -> tuple[float, int]:
    """Free cores, and the number of threads that torch takes by itself.

    Measured once, so that all runs of a study have the same number, and none is taken for the load of the next.
    """
    return free_cores(), torch.get_num_threads()


def _of_environment() -> int | None:
    """The number in ``OMP_NUM_THREADS``; None if it is not set, or set by torchrun, which sets 1 unless told."""
    text = os.environ.get(VARIABLE, "").partition(",")[0].strip()  # one number for each level of nesting
    if not text or (text == "1" and by_torchrun() and not started_here() and processes_of_this_machine() > 1):
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise InputError(
            f"the environment variable {VARIABLE}: expected a whole number from 1 to 1024, got {text[:40]!r}; correct "
            "it, or unset it"
        )
    return int(text)
