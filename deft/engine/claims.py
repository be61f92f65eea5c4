"""One worker's share of a work list: it claims buckets of images, keeps its claims alive and takes over dead ones.

Each worker goes through the buckets from a starting point of its own, claims one by creating a file that must not exist
yet, makes its missing images, marks it as done and goes on. While it works, a thread touches its claim files. A claim
that has not been touched for a while, or whose process is known to be dead, may be taken over by creating the claim's
next generation. The worst that a wrong guess can cost is that an image is made twice, with the same content: outputs
depend on the image alone and are written atomically.

The files are described in :mod:`deft.engine.worklist`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from deft.artifacts import atomic_write
from deft.engine.alive import abandoned, owner
from deft.engine.worklist import WorkList

BEAT = 10.0
"""Seconds between two touches of a claim; a sixth of what :data:`deft.engine.alive.STALE` allows."""
POLL = 0.5
"""Seconds between two listings of the folder."""


class Claims:
    """One worker's part in a work list; a context manager, for one thread."""

    def __init__(self, todo: WorkList) -> None:
        self.todo = todo
        self.total = 0
        """Number of images that were missing when this worker joined."""
        self.made = 0
        """How many of them have been made since, by any worker, as far as this one has seen."""
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
        """Index of an image to make now, or None if none is available at the moment."""
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
        """Report that an image returned by :meth:`take` is made."""
        bucket = self.todo.bucket(index)
        self._under_way[bucket].remove(index)
        self.made += 1
        if not self._under_way[bucket]:
            self._mark(bucket)

    def over(self) -> bool:
        """Whether every bucket was done when this worker last listed the folder."""
        return not self._open

    def close(self) -> None:
        """Leave, and release the claims that are still held."""
        self._left.set()
        for path in self._held.values():
            path.unlink(missing_ok=True)
        self._held.clear()

    def _missing(self) -> dict[int, list[int]]:
        """Images still to be made, by bucket, in the order in which this worker goes through them."""
        # Marks are read before outputs are listed, so that the listing includes the outputs that a mark stands for.
        marks = {int(mark.stem): mark for mark in self.todo.folder.glob("[0-9]*.done")}
        images: dict[int, list[int]] = {}
        for index in self.todo.missing():
            images.setdefault(self.todo.bucket(index), []).append(index)
        for bucket in images.keys() & marks.keys():
            if set(images[bucket]) <= _nothing(marks[bucket]):
                del images[bucket]
            else:
                marks[bucket].unlink(missing_ok=True)  # outputs were removed, to have them made again
        count = self.todo.buckets
        start = _start(count)
        return {bucket: images[bucket] for bucket in sorted(images, key=lambda bucket: (bucket - start) % count)}

    def _claim(self) -> int | None:
        """Claim a free bucket, or else one of a dead worker; None if there is neither."""
        if time.monotonic() - self._looked >= POLL:
            self._look()
        while self._free:
            bucket = self._free.popleft()
            if self._create(bucket, 0):
                return bucket
        while self._suspects:
            bucket, generation = self._suspects.popleft()
            if not abandoned(self._path(bucket, generation)):
                self._suspects.clear()  # one check per listing: a thousand waiting workers must not flood the server
            elif self._create(bucket, generation + 1):
                return bucket
        return None

    def _look(self) -> None:
        """List the folder to see which buckets are done, free or claimed."""
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
        """Create a claim file; False if another worker was faster, or the list is gone."""
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
        """Mark a bucket as done and release its claim."""
        nothing = [index for index in self._open[bucket] if not self.todo.paths[index].exists()]
        if self.todo.folder.exists():  # gone if this worker was taken for dead and the others have finished
            atomic_write(self.todo.folder / f"{bucket:05}.done", json.dumps(nothing).encode())
        self._held.pop(bucket).unlink(missing_ok=True)
        del self._open[bucket], self._under_way[bucket]

    def _beat(self) -> None:
        while not self._left.wait(BEAT):
            for path in self._held.copy().values():  # the worker's thread changes it
                with suppress(OSError):  # removed, or the file server is unavailable: the next touch will show
                    os.utime(path)

    def _path(self, bucket: int, generation: int) -> Path:
        return self.todo.folder / f"{bucket:05}.{generation}.claim"


def _read_name(name: str) -> tuple[int | None, int | None]:
    """Bucket and generation of a claim file; (bucket, None) for a done mark, (None, None) for any other file."""
    found = re.fullmatch(r"(\d+)\.(?:(\d+)\.claim|done)", name)
    if found is None:
        return None, None
    return int(found[1]), None if found[2] is None else int(found[2])


def _nothing(mark: Path) -> set[int]:
    """The images of a done bucket for which there was nothing to store."""
    try:
        return set(json.loads(mark.read_text()))
    except (FileNotFoundError, ValueError):
        return set()


def _start(buckets: int) -> int:
    """Bucket at which this worker begins; a hash spreads the workers over the list."""
    return int.from_bytes(hashlib.sha256(json.dumps(owner()).encode()).digest()[:8], "big") % buckets
