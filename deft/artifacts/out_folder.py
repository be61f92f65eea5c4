"""A folder for results beside a run's: it records what was made, and writes over nothing else.

``made.sha256`` has a line for each file, written before the file, so that a killed command leaves none that the next
one takes for the user's. ``sha256sum --check made.sha256`` checks the folder by hand. A file that was changed since,
such as a corrected mask, is the user's.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deft.artifacts.files import atomic_write
from deft.artifacts.hashes import digest
from deft.contracts import InputError
from deft.guards.opening import exists, read_regular
from deft.guards.output import check_out, make_folder, refuse_link
from deft.guards.words import shown

RECORD = "made.sha256"
_LARGEST = 2 * 1024**3
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


class OutFolder:
    """A folder for the results of a command; nothing is created before the first file."""

    def __init__(self, path: Path, reads: Iterable[Path], names: Iterable[str]) -> None:
        """Check the folder, and what is in it.

        Args:
            path: the folder.
            reads: the files and folders that the command reads.
            names: relative paths of the files it will write, ``/`` between folders.

        Raises:
            InputError: the folder lies inside or above what is read, cannot be written to, or has files with these
                names that deft did not make, or that were changed since.
        """
        check_out(path, reads)
        self.path = path
        self._record = path / RECORD
        self._lock = threading.Lock()
        refuse_link(self._record)
        made = self._made()
        folders: set[Path] = set()
        foreign: list[Path] = []
        for name in names:
            target = path / name
            folders.update(target.parents)
            if exists(target) and not self._is_made(target, made.get(name, set())):
                foreign.append(target)
        for folder in sorted(folders - {path, *path.parents}):
            refuse_link(folder)
        if foreign:
            more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
            raise InputError(
                f"--out {shown(path)}: expected a folder without {shown(foreign[0].relative_to(path))}{more}, which "
                "deft did not make or somebody has changed; name a new folder, or move these files away"
            )

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all, and its hash; called by several threads."""
        make_folder(self.path)
        self._note(name, hashlib.sha256(content).hexdigest())
        atomic_write(self.path / name, content)

    @contextmanager
    def part(self, name: str) -> Iterator[Path]:
        """A temporary file for a library that writes to a path; it becomes ``name`` when the block succeeds.

        Yields:
            The path, at which there is nothing yet.
        """
        target = self.path / name
        make_folder(target.parent)
        temporary = target.parent / f".part-{secrets.token_hex(8)}"
        try:
            yield temporary
            self._note(name, digest(temporary))
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    def discard(self, name: str) -> None:
        """Remove a file of an earlier command that this one makes no more; it is one of the names that were checked."""
        if exists(self.path / name):
            (self.path / name).unlink()

    def _note(self, name: str, made: str) -> None:
        with self._lock, open(self._record, "ab") as record:
            record.write(f"{made}  {name}\n".encode())

    @staticmethod
    def _is_made(target: Path, hashes: set[str]) -> bool:
        return target.is_file() and not target.is_symlink() and digest(target) in hashes

    def _made(self) -> dict[str, set[str]]:
        """The hashes recorded for each name."""
        found: dict[str, set[str]] = {}
        if not exists(self._record):
            return found
        for line in read_regular(self._record, _LARGEST).decode("utf-8", "replace").split("\n"):
            if match := _LINE.fullmatch(line):
                found.setdefault(match[2], set()).add(match[1])
        return found
