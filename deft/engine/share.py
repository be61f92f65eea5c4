"""The images of a dataset and the function that makes a file of each: what a stage hands to an engine.

The function depends on its image alone and writes a whole file, so that it does not matter which process makes which
file, or in what order: an engine only has to see that none is missing in the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deft.contracts import Dataset, Sample
from deft.engine import ranks
from deft.engine.infer import for_each


@dataclass(frozen=True)
class Share:
    """Images and the function that makes a file of each."""

    title: str
    """Progress-bar label; different for every share of a stage."""
    data: Dataset
    folder: Path
    """Folder of the stage that the files belong to."""
    paths: Sequence[Path]
    """File of each image of ``data``, in the folder; existing ones are kept."""
    work: Callable[[int, Sample], None]
    """Makes the file of an image."""
    on_device: bool = True
    """False if the work does not use a GPU."""
    read: bool = True
    """False if the work does not need the pixels."""

    def missing(self) -> list[int]:
        """Images without a file; found by listing folders, which costs a file server less than a query per image."""
        there = {folder: _listed(folder) for folder in {path.parent for path in self.paths}}
        return [index for index, path in enumerate(self.paths) if path.name not in there[path.parent]]

    def make(self, indices: Sequence[int], threads: int = 0, bar: bool = True) -> int:
        """Make the files of these images in this process; arguments and errors as for :func:`for_each`."""
        return for_each(
            self.data,
            indices,
            self.work,
            title=self.title,
            threads=threads,
            on_device=self.on_device,
            read=self.read,
            bar=bar,
        )


class Engine(Protocol):
    """Makes the files of shares."""

    def make(self, share: Share) -> None:
        """Make the missing files; every process of the run calls this and returns when all are made."""


class Here:
    """The processes of the run itself: each makes every W-th missing file, where W is their number."""

    def make(self, share: Share) -> None:
        """See :meth:`Engine.make`."""
        # One process looks for all: what a file server lists may differ between two machines for some seconds.
        missing = ranks.of_first(share.missing() if ranks.first() else [])
        share.make(missing[ranks.rank() :: ranks.world()])
        ranks.barrier()


HERE = Here()
"""The engine of a run that was given no other."""


def _listed(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()
