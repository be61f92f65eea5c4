"""A list of images that any number of processes work off together, on one machine or on many that share a folder.

A hash of an image's file name says to which bucket of about eight images it belongs, on every machine alike. Each
worker goes through the buckets from a place of its own, claims one by creating a file that must not exist yet, makes
what is missing of it, marks it done, and goes on; nobody leaves before all are done. Workers come and go as they like.

While it works, a worker touches its claims. Where that stopped, or the process is seen to be dead, anybody takes the
bucket over by creating the claim's next generation. The worst a misjudgement can cost is that an image is made twice,
to the same content: outputs are functions of the image and are written whole.

Files of a list's folder::

    list.json          of which images it is: the sign that it is under way
    00012.0.claim      who works on bucket 12 (machine, process); 00012.1.claim: who took it over
    00012.done         bucket 12 is done; holds the images for which there was nothing to store
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from deft.artifacts import atomic_write, read_json, write_json
from deft.contracts import InputError
from deft.engine.alive import abandoned, owner

RECORD = "list.json"
BUCKET = 8
"""Images of a bucket, about: a claim costs the file server two small files, a dead worker costs others this much."""
MOST_BUCKETS = 4096
"""As many as are listed in a few milliseconds."""
BEAT = 10.0
"""Seconds between two touches of a claim; a sixth of what :data:`deft.engine.alive.STALE` allows."""
POLL = 0.5
"""Seconds between two looks at the folder."""


@dataclass(frozen=True)
class WorkList:
    """Images whose output file is missing, to be divided among whoever comes."""

    folder: Path
    """Where the workers meet, inside the stage's folder; made when the work begins, gone with ``clear``."""
    paths: Sequence[Path]
    """The output file of each image, in the stage's folder too."""
    made_by: str = ""
    """Key of the stage."""
    begin: bool = True
    """False helps with a list that another process has begun and never begins one; a list that is gone is done."""

    @property
    def buckets(self) -> int:
        """How many parts the list has; follows from the number of images alone."""
        return max(1, min(MOST_BUCKETS, -(-len(self.paths) // BUCKET)))

    def bucket(self, index: int) -> int:
        """The part that an image belongs to; the same wherever the run folder is mounted."""
        digest = hashlib.sha256(self._name(index)).digest()
        return int.from_bytes(digest[:8], "big") % self.buckets

    def missing(self) -> list[int]:
        """Images without output. Folders are listed, which costs a file server less than a question for each image."""
        there = {folder: _listed(folder) for folder in {path.parent for path in self.paths}}
        return [index for index, path in enumerate(self.paths) if path.name not in there[path.parent]]

    def is_open(self) -> bool:
        """Whether some process has begun this list and nobody has cleared it.

        Raises:
            InputError: the list is one of other images, or of another stage.
        """
        record = self.folder / RECORD
        if not record.exists():
            return False
        found = read_json(record)
        if found != self._record():
            raise InputError(
                f"{record}: expected a list of these {len(self.paths)} images, got one of {found.get('images')} images "
                "or of images with other names; open the same data as the process that began it, or, where nobody is "
                f"at work, remove {self.folder}"
            )
        return True

    def claims(self) -> Claims:
        """Take part; a context manager, for one thread."""
        return Claims(self)

    def clear(self) -> None:
        """Remove the list's folder; for the process that holds the run, once all workers it started have left."""
        gone = self.folder.parent / f".part-{secrets.token_hex(8)}"
        with suppress(FileNotFoundError):
            os.replace(self.folder, gone)  # at once, so that nobody finds half a list
            shutil.rmtree(gone, ignore_errors=True)

    def open(self) -> bool:
        """Begin the list where nobody has, unless this one only helps; returns whether there is a list now."""
        if self.is_open():
            return True
        if self.begin:
            write_json(self.folder / RECORD, self._record())
        return self.begin

    def _name(self, index: int) -> bytes:
        """The output file, from the folder that it and the list have in common: the same wherever that is mounted."""
        return os.fsencode(self.paths[index].as_posix().removeprefix(self._root))

    @cached_property
    def _root(self) -> str:
        return Path(os.path.commonpath([self.folder, *self.paths[:1]])).as_posix() + "/"

    def _record(self) -> dict[str, Any]:
        names = hashlib.sha256()
        for index in range(len(self.paths)):
            names.update(self._name(index) + b"\0")
        return {"made_by": self.made_by, "images": len(self.paths), "names": names.hexdigest()}


class Claims:
    """One worker's part in a list."""

    def __init__(self, todo: WorkList) -> None:
        self.todo = todo
        self.total = 0
        """Images missing when this worker came."""
        self.made = 0
        """Those of them that are made by now, by anybody, as far as this worker has seen."""
        self._open: dict[int, list[int]] = {}
        self._held: dict[int, Path] = {}
        self._under_way: dict[int, set[int]] = {}
        self._queue: deque[int] = deque()
        self._free: deque[int] = deque()
        self._suspects: deque[tuple[int, int]] = deque()
        self._looked, self._looks = -POLL, 0
        self._left = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="deft-claims", daemon=True)

    def __enter__(self) -> Claims:
        if self.todo.open():
            self._open = self._missing()
        self.total = sum(map(len, self._open.values()))
        self._beating.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def take(self) -> int | None:
        """An image to make now, or None where there is none to be had at the moment."""
        while not self._queue:
            bucket = self._claim()
            if bucket is None:
                return None
            images = self._open[bucket]
            rest = [index for index in images if not self.todo.paths[index].exists()]
            self.made += len(images) - len(rest)
            self._under_way[bucket] = set(rest)
            self._queue.extend(rest)
            if not rest:
                self._mark(bucket)
        return self._queue.popleft()

    def finish(self, index: int) -> None:
        """Say that an image that was taken is made."""
        bucket = self.todo.bucket(index)
        self._under_way[bucket].remove(index)
        self.made += 1
        if not self._under_way[bucket]:
            self._mark(bucket)

    def over(self) -> bool:
        """Whether every bucket was done when this worker last looked."""
        return not self._open

    def close(self) -> None:
        """Leave: claims that are still held are free for others at once."""
        self._left.set()
        for path in self._held.values():
            path.unlink(missing_ok=True)
        self._held.clear()

    def _missing(self) -> dict[int, list[int]]:
        """Images still to be made, by bucket, in the order in which this worker goes through them."""
        # Marks are read before outputs are listed, so that what a mark stands for is seen in the listing.
        marks = {int(mark.stem): mark for mark in self.todo.folder.glob("[0-9]*.done")}
        images: dict[int, list[int]] = {}
        for index in self.todo.missing():
            images.setdefault(self.todo.bucket(index), []).append(index)
        for bucket in images.keys() & marks.keys():
            if set(images[bucket]) <= _nothing(marks[bucket]):
                del images[bucket]
            else:
                marks[bucket].unlink(missing_ok=True)  # somebody removed outputs, to have them made again
        count = self.todo.buckets
        start = _start(count)
        return {bucket: images[bucket] for bucket in sorted(images, key=lambda bucket: (bucket - start) % count)}

    def _claim(self) -> int | None:
        """A bucket that is this worker's from now on: a free one, else a dead worker's."""
        if time.monotonic() - self._looked >= POLL:
            self._look()
        while self._free:
            bucket = self._free.popleft()
            if self._create(bucket, 0):
                return bucket
        while self._suspects:
            bucket, generation = self._suspects.popleft()
            if not abandoned(self._path(bucket, generation)):
                self._suspects.clear()  # one question a look: a thousand waiting workers must not drown the server
            elif self._create(bucket, generation + 1):
                return bucket
        return None

    def _look(self) -> None:
        """See which buckets are done, free or claimed."""
        self._looked = time.monotonic()
        try:
            names = os.listdir(self.todo.folder)
        except FileNotFoundError:
            if not self.todo.begin:
                self._open.clear()
                return
            self.todo.open()
            names = []
        newest: dict[int, int] = {}
        for bucket, generation in map(_read_name, names):
            if bucket is None or bucket in self._held:
                continue
            if generation is None:
                self.made += len(self._open.pop(bucket, ()))
            else:
                newest[bucket] = max(newest.get(bucket, 0), generation)
        self._free = deque(bucket for bucket in self._open if bucket not in newest and bucket not in self._held)
        self._suspects = deque((bucket, newest[bucket]) for bucket in self._open if bucket in newest)
        self._suspects.rotate(-self._looks)
        self._looks += 1

    def _create(self, bucket: int, generation: int) -> bool:
        """Claim a bucket; False where somebody was faster, or the list is gone."""
        path = self._path(bucket, generation)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except (FileExistsError, FileNotFoundError):
            return False
        self._held[bucket] = path
        with os.fdopen(handle, "w") as file:
            json.dump(owner(), file)
        return True

    def _mark(self, bucket: int) -> None:
        """Say that a bucket is done, and let go of it."""
        nothing = [index for index in self._open[bucket] if not self.todo.paths[index].exists()]
        if self.todo.folder.exists():  # a worker taken for dead may come too late
            atomic_write(self.todo.folder / f"{bucket:05}.done", json.dumps(nothing).encode())
        self._held.pop(bucket).unlink(missing_ok=True)
        del self._open[bucket], self._under_way[bucket]

    def _beat(self) -> None:
        while not self._left.wait(BEAT):
            for path in self._held.copy().values():  # the other thread changes it
                with suppress(OSError):  # gone, or the server is away: the next beat will tell
                    os.utime(path)

    def _path(self, bucket: int, generation: int) -> Path:
        return self.todo.folder / f"{bucket:05}.{generation}.claim"


def _read_name(name: str) -> tuple[int | None, int | None]:
    """Bucket and generation of a claim; (bucket, None) of the mark of a done one, (None, None) of another file."""
    found = re.fullmatch(r"(\d+)\.(?:(\d+)\.claim|done)", name)
    if found is None:
        return None, None
    return int(found[1]), None if found[2] is None else int(found[2])


def _listed(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def _nothing(mark: Path) -> set[int]:
    """The images of a done bucket for which there was nothing to store."""
    try:
        return set(json.loads(mark.read_text()))
    except (FileNotFoundError, ValueError):
        return set()


def _start(buckets: int) -> int:
    """Where this worker begins: far from where others do, most likely."""
    return int.from_bytes(hashlib.sha256(json.dumps(owner()).encode()).digest()[:8], "big") % buckets
