"""The images that any number of processes have to make together, and the folder in which those processes meet.

The processes may run on one machine or on many that share a file system. A hash of an image's file name assigns the
image to a bucket of about eight images, the same on every machine. Workers claim whole buckets
(:mod:`deft.engine.claims`) and leave once all buckets are done; they may join and leave at any time.

Files of a list's folder::

    list.json          which images the list covers: its presence says that the work has begun
    00012.0.claim      who works on bucket 12 (machine, process); 00012.1.claim: who took it over
    00012.done         bucket 12 is done; holds the indices of images for which there was nothing to store
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from deft.artifacts import read_json, write_json
from deft.contracts import InputError

RECORD = "list.json"
BUCKET = 8
"""Images per bucket, about: a claim costs the file server two small files, a dead worker costs the others a bucket."""
MOST_BUCKETS = 4096
"""Upper limit, so that the folder is listed in a few milliseconds."""


@dataclass(frozen=True)
class WorkList:
    """Images whose output files are to be made, divided among all processes that take part."""

    folder: Path
    """Folder of the claims, inside the stage's folder; created when the work begins, removed by ``clear``."""
    paths: Sequence[Path]
    """Output file of each image, also in the stage's folder."""
    made_by: str = ""
    """Key of the stage."""
    begin: bool = True
    """False only helps with a list that another process has begun; if that list is gone, the work counts as done."""

    @property
    def buckets(self) -> int:
        """Number of buckets; depends on the number of images alone."""
        return max(1, min(MOST_BUCKETS, -(-len(self.paths) // BUCKET)))

    def bucket(self, index: int) -> int:
        """Bucket of an image; the same wherever the run folder is mounted."""
        digest = hashlib.sha256(self._name(index)).digest()
        return int.from_bytes(digest[:8], "big") % self.buckets

    def missing(self) -> list[int]:
        """Images without output; found by listing folders, which costs a file server less than a query per image."""
        there = {folder: _listed(folder) for folder in {path.parent for path in self.paths}}
        return [index for index, path in enumerate(self.paths) if path.name not in there[path.parent]]

    def is_open(self) -> bool:
        """Whether some process has begun this list and none has cleared it.

        Raises:
            InputError: the list covers other images, or belongs to another stage.
        """
        record = self.folder / RECORD
        if not record.exists():
            return False
        found = read_json(record)
        if found != self._record():
            images = found.get("images") if isinstance(found, dict) else "unknown"
            raise InputError(
                f"{record}: expected a list of these {len(self.paths)} images, got one of {images} images "
                "or of images with other names; open the same data as the process that began it, or, if no process is "
                f"at work, remove {self.folder}"
            )
        return True

    def clear(self) -> None:
        """Remove the list's folder; called by the process that holds the run, after its workers have left."""
        gone = self.folder.parent / f".part-{secrets.token_hex(8)}"
        with suppress(FileNotFoundError):
            os.replace(self.folder, gone)  # at once, so that no process finds half a list
            shutil.rmtree(gone, ignore_errors=True)

    def open(self) -> bool:
        """Begin the list if no process has, unless this one only helps; returns whether there is a list now."""
        if self.is_open():
            return True
        if self.begin:
            write_json(self.folder / RECORD, self._record())
        return self.begin

    def _name(self, index: int) -> bytes:
        """Path of the output file relative to the parent folder shared with the list: independent of the mount."""
        return os.fsencode(self.paths[index].as_posix().removeprefix(self._root))

    @cached_property
    def _root(self) -> str:
        return Path(os.path.commonpath([self.folder, *self.paths[:1]])).as_posix() + "/"

    def _record(self) -> dict[str, Any]:
        names = hashlib.sha256()
        for index in range(len(self.paths)):
            names.update(self._name(index) + b"\0")
        return {"made_by": self.made_by, "images": len(self.paths), "names": names.hexdigest()}


def _listed(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()
