"""The run folder: the record that a second run must match, its stages, and the hashes of a finished run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from deft.artifacts.files import read_json, write_json
from deft.artifacts.hashes import digest, hashes
from deft.artifacts.lock import claim, is_lock, take_lock
from deft.artifacts.stage import RECORD, Stage, stage_records
from deft.contracts import InputError
from deft.guards.opening import exists
from deft.guards.output import check_out, make_folder, refuse_links
from deft.guards.words import shown
from deft.settings import plain, refuse_other

UNBOUND = (
    *("versions.", "thresholds.", "given.", "settings.max_side", "settings.corrections", "threads", "memory"),
    *("data.given", "data.held out", "data.fingerprint of held out", "settings.frozen.gigabytes"),
)
"""Prefixes of entries in ``run.json`` that a resumed run need not match: package versions (a patch release must not
make a run unfinishable), thresholds the run chose itself (they follow from its settings), the bound on photographs,
which is also an entry of the data where it scales any of them down, the number of threads and the memory (a run may be
finished on another machine), where weights and data lie, the held-out images, from which nothing is learned, how much
is learned from a review, which changes between two rounds, and how much space features may take."""
_FOLLOWS = ("settings", "data", "given")
"""Entries that are written again when a run is resumed: they name the places and the held-out images of now."""
MADE = "made.json"
"""The hashes of a finished run's own files, and of the records of its stages."""
CONTENTS = "contents.json"
"""Digests of the data's files with their sizes and times: a cache, which no hash is kept of."""
_BEGUN = ("run.json", "images.json", CONTENTS, "corrected", "review")
"""What a run folder holds before its first stage."""


class RunFolder:
    """A run folder, locked for this process."""

    def __init__(
        self,
        path: Path,
        description: Mapping[str, Any],
        needed_bytes: int = 0,
        *,
        own: bool = True,
        told: Mapping[str, str] | None = None,
    ) -> None:
        """Begin or resume a run.

        Args:
            path: the folder; created if missing.
            description: record of the run; a folder that holds a run must have an equal one.
            needed_bytes: free disk space the run needs, checked first.
            own: False opens a folder that another process holds, to help it: nothing is locked or written.
            told: how entries of the description differ from the folder's, for :func:`deft.settings.refuse_other`.

        Raises:
            InUseError: another process works in the folder.
            InputError: the folder holds a run with other settings, or other files, or the disk has too little space.
        """
        self.path = path
        self._release: Callable[[], None] | None = None
        if not own:
            return
        check_out(path)
        record = path / "run.json"
        begun = exists(record)
        if path.exists() and not begun and any(map(_foreign, _entries(path))):
            raise InputError(
                f"--out {shown(path)}: expected an empty folder or an earlier run, got a folder with other files in "
                "it; name a new folder"
            )
        if begun:
            _refuse_foreign(path, description)
        make_folder(path)
        refuse_links(path)
        free = shutil.disk_usage(path).free
        if free < needed_bytes:
            raise InputError(
                f"--out {shown(path)}: this run may write {needed_bytes / 1e6:,.0f} MB and the disk has "
                f"{free / 1e6:,.0f} MB free; make room or name a folder on another disk"
            )
        self._release = take_lock(path / "lock").release
        try:
            now = plain(description)
            if begun and self._holds_work():
                before = read_json(record)
                refuse_other(f"--out {shown(path)} holds a run", before, now, UNBOUND, told)
                followed = before | {name: now[name] for name in _FOLLOWS if name in now}
                if followed != before:
                    write_json(record, followed)
            else:
                write_json(record, now)
        except BaseException:
            self.close()
            raise

    def _holds_work(self) -> bool:
        """Whether any stage has made a file: a run that failed at its first step must not occupy the folder."""
        records = (RECORD, "run.json")
        return any(
            path.is_file()
            and path.name not in records
            and not is_lock(path)
            and ".part-" not in str(path.relative_to(self.path))
            for path in self.path.glob("*/**/*")
        )

    def stage(self, name: str, key: str) -> Stage:
        """The stage with this name and key."""
        return Stage(name, self.path / name, key)

    def seal(self) -> None:
        """Store the hashes of the run's own files and of the records of its stages, when all of them are written."""
        own = [path.name for path in self.path.iterdir() if path.suffix in (".json", ".html") and _is_file(path)]
        rounds = list(self.path.glob("round-*/run.json"))
        stages = [path for folder in (self.path, *(path.parent for path in rounds)) for path in stage_records(folder)]
        names = [*own, *(path.relative_to(self.path).as_posix() for path in [*stages, *rounds])]
        found = hashes(self.path, sorted(set(names) - {MADE, CONTENTS}))
        if not exists(self.path / MADE) or read_json(self.path / MADE) != found:
            write_json(self.path / MADE, found)

    def close(self) -> None:
        """Release the lock."""
        if self._release is not None:
            self._release()
            self._release = None


def discard(path: Path) -> None:
    """Remove the folder of a run that was refused before any stage had made a file; any other folder stays.

    What it has taken over from the review of another run is no work of its own. A folder that another process holds
    stays too.
    """
    with suppress(InputError, OSError):  # what cannot be removed is in nobody's way
        if exists(path / "run.json"):
            with claim(path / "lock"):
                entries = [entry for entry in path.iterdir() if not is_lock(entry)]
                if any(map(_is_work, entries)):
                    return
                refuse_links(path)
                for entry in entries:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            for entry in filter(is_lock, path.iterdir()):
                entry.unlink()
        path.rmdir()


def _is_work(entry: Path) -> bool:
    """Whether anything in the folder of a run is more than what was read and taken over when it was begun."""
    if entry.name in _BEGUN or entry.name.startswith(".part-"):
        return False
    return not entry.is_dir() or any(path.name != RECORD for path in entry.rglob("*") if not path.is_dir())


def is_as_made(path: Path) -> bool:
    """Whether a file directly in the folder of a finished run has the hash that was kept of it.

    False also if none was kept: by an earlier version, or because the command was killed before.
    """
    try:
        kept = read_json(path.parent / MADE)
        return isinstance(kept, dict) and kept.get(path.name) == digest(path)
    except InputError:
        return False


def read_run(folder: Path) -> dict[str, Any]:
    """The record of a run, its ``run.json``.

    Raises:
        InputError: the folder holds no run.
    """
    path = folder / "run.json"
    if not exists(path):
        remedy = or_newest_run(folder, "give the folder deft run wrote")
        raise InputError(f"{shown(folder)}: expected a run folder, found no run.json in it; {remedy}")
    record = read_json(path)
    if not isinstance(record, dict):
        raise InputError(f"{shown(path)}: expected the record of a run, got other JSON; give the folder deft run wrote")
    return record


def or_newest_run(folder: Path, remedy: str) -> str:
    """What to do about a folder that is no finished run: the remedy, or to give its newest run if it holds runs."""
    try:
        inside = [path for path in folder.iterdir() if exists(path / "run.json")]
        newest = max(inside, key=lambda path: (path / "run.json").stat().st_mtime, default=None)
    except OSError:  # no folder, or one that cannot be read
        return remedy
    return remedy if newest is None else f"it holds runs, of which {shown(newest)} is the newest: give one of them"


def _refuse_foreign(path: Path, description: Mapping[str, Any]) -> None:
    """Refuse a folder whose ``run.json`` another program has written."""
    record = read_run(path)
    needed = [name for name in ("recipe", "settings", "data") if name in description]
    missing = [name for name in needed if name not in record]
    if missing or not isinstance(record.get("settings", {}), dict):
        raise InputError(
            f"--out {shown(path)}: expected an empty folder or an earlier run, got a run.json that deft did not write "
            f"(it has no {', '.join(missing) or 'settings'}); name a new folder"
        )


def _entries(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError as error:
        raise InputError(
            f"--out {shown(path)}: the folder cannot be read ({error.strerror}); change permissions or name another"
        ) from None


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _foreign(path: Path) -> bool:
    """Whether a file in a folder without a record is something other than a lock or a temporary file of a run."""
    return not is_lock(path) and not path.name.startswith(".part-")
