"""The run folder: stages with their keys, the lock for one process at a time, the record a second run must match."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deft.artifacts.files import read_json, write_json
from deft.artifacts.hashes import Damage, damages, digest, hashes
from deft.contracts import InputError
from deft.guards.opening import UnreadableError, exists, open_regular
from deft.guards.output import check_out, make_folder, refuse_link, refuse_links
from deft.guards.words import shown
from deft.settings import plain, refuse_other

if TYPE_CHECKING:
    from filelock import BaseFileLock

UNBOUND = (
    *("versions.", "thresholds.", "given.", "settings.max_side", "settings.corrections", "threads", "memory"),
    *("data.given", "data.held out", "data.fingerprint of held out"),
)
"""Prefixes of entries in ``run.json`` that a resumed run need not match: package versions (a patch release must not
make a run unfinishable), thresholds the run chose itself (they follow from its settings), the bound on photographs,
which is also an entry of the data where it scales any of them down, the number of threads and the memory (a run may be
finished on another machine), where weights and data lie, the held-out images, from which nothing is learned, and how
much is learned from a review, which changes between two rounds."""
_FOLLOWS = ("settings", "data", "given")
"""Entries that are written again when a run is resumed: they name the places and the held-out images of now."""
RECORD = "stage.json"
HASHES = "files"
"""Entry of ``stage.json``: the hash of every file that the stage has made."""
MADE = "made.json"
"""The hashes of a finished run's own files, and of the records of its stages."""
CONTENTS = "contents.json"
"""Digests of the data's files with their sizes and times: a cache, which no hash is kept of."""
HELD_OUT_SEEDS = "seeds/val"
"""The one stage within the folder of another: maps of held-out images, from which nothing is learned."""
_LOCK_BYTES = 1000
_SIGNED = re.compile(rb"process \d+ on |\d+\n\S+")
"""Content of a lock: this module's, or filelock's own."""
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
"""Error codes of storage without locks, such as some network shares."""


@dataclasses.dataclass
class Stage:
    """One stage's folder inside a run."""

    name: str
    folder: Path
    key: str

    @property
    def record(self) -> dict[str, Any]:
        """Content of ``stage.json``; empty if the stage was never started or was made with another key."""
        path = self.folder / RECORD
        record = read_json(path) if exists(path) else {}
        return record if isinstance(record, dict) and record.get("key") == self.key else {}

    @property
    def done(self) -> bool:
        """Whether the stage is finished, with this key."""
        return self.record.get("state") == "done"

    @contextmanager
    def making(self) -> Iterator[dict[str, Any]]:
        """Make a stage within the block: keep files of a killed run with the same key, mark the stage done at the end.

        Yields a mapping whose entries are stored in ``stage.json``, with the hash of every file that the stage has
        made. Seconds add up over interrupted runs.

        Raises:
            InputError: the folder holds files and is no stage.
        """
        before = self.record
        if not before:
            _clear(self.folder)
        _sweep(self.folder)
        notes: dict[str, Any] = {}
        start, spent = time.monotonic(), seconds_of(before)
        state = "begun"
        write_json(self.folder / RECORD, {"key": self.key, "state": state, "seconds": spent})
        try:
            yield notes
            notes = {**notes, HASHES: hashes(self.folder, made_files(self.folder))}
            state = "done"
        finally:
            seconds = round(spent + time.monotonic() - start, 2)
            if self.folder.exists():  # else it was removed meanwhile, which the error that led here says
                write_json(self.folder / RECORD, {"key": self.key, "state": state, "seconds": seconds, **notes})

    def remove(self) -> None:
        """Remove the stage's folder, if there is one.

        Raises:
            InputError: it holds files, and no stage made them.
        """
        _clear(self.folder)

    def damages(self) -> list[Damage]:
        """What is wrong with the files of a finished stage; empty for one of an earlier version, without hashes."""
        made = self.record.get(HASHES)
        return list(damages(self.folder, made)) if isinstance(made, dict) else []

    def verify(self) -> None:
        """Check the files of a finished stage; if any is damaged, say so and make the stage unfinished.

        A stage of one file per image loses the damaged ones, and any other all of its files.
        """
        found = self.damages()
        if not found:
            return
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        print(f"{found[0]}{more}; the stage {self.name} is made again", file=sys.stderr)
        record, names = self.record, made_files(self.folder)
        whole = any(name.endswith(".safetensors") for name in record[HASHES])
        for path in [self.folder / name for name in names] if whole else self._own(one.path for one in found):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        record.pop(HASHES)
        write_json(self.folder / RECORD, {**record, "state": "begun"})

    def _own(self, paths: Iterable[Path]) -> list[Path]:
        """Those of some paths that lie in the stage's folder: a record that somebody edited may name others."""
        root = Path(os.path.realpath(self.folder))
        found = [path for path in paths if self.folder in path.parents and os.path.lexists(path)]
        return [path for path in found if (path.parent.resolve() / path.name).is_relative_to(root)]

    def adopt(self, others: tuple[Path, ...]) -> bool:
        """Take over the finished stage of the same key from another run; False if none has it.

        Files are hard-linked if the disk supports it, else copied. A file is only ever replaced, never modified, so
        neither run can change the other's.
        """
        for other in others:
            source = Stage(self.name, other / self.name, self.key)
            if source.done and (found := source.damages()):
                print(f"{found[0]}; the stage {self.name} is not taken over from {shown(other)}", file=sys.stderr)
            elif source.done:
                temporary = Path(tempfile.mkdtemp(prefix=".part-", dir=self.folder.parent))
                unfinished = shutil.ignore_patterns(".part-*")
                shutil.copytree(source.folder, temporary, ignore=unfinished, copy_function=_link, dirs_exist_ok=True)
                _clear(self.folder)
                os.replace(temporary, self.folder)
                return True
        return False


def stage_records(folder: Path) -> list[Path]:
    """The records of the stages in a run folder, sorted."""
    return sorted([*folder.glob(f"*/{RECORD}"), *folder.glob(f"{HELD_OUT_SEEDS}/{RECORD}")])


def seconds_of(record: Mapping[str, Any]) -> float:
    """The seconds in a stage's record; 0 if somebody has edited them to be no number."""
    found = record.get("seconds")
    return float(found) if isinstance(found, int | float) and 0 <= found < 1e12 else 0.0


def made_files(folder: Path) -> list[str]:
    """Relative paths of a stage's files, without its record and what processes leave while they work."""
    found: list[str] = []
    pending = [""]
    while pending:
        below = pending.pop()
        for entry in os.scandir(folder / below):
            name = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                # A folder with a record is a stage of its own.
                if not entry.name.startswith(".part-") and not exists(folder / name / RECORD):
                    pending.append(f"{name}/")
            elif not entry.name.startswith(".part-") and name != RECORD:
                found.append(name)
    return sorted(found)


def _clear(folder: Path) -> None:
    """Remove the folder of a stage that was made of something else.

    Raises:
        InputError: it holds files, and no stage made them.
    """
    if not exists(folder):
        return
    refuse_link(folder)
    if not exists(folder / RECORD) and any(not name.startswith(".part-") for name in os.listdir(folder)):
        raise InputError(
            f"{shown(folder)}: expected a folder that deft made, got one with files and without {RECORD}; move it away"
        )
    shutil.rmtree(folder)


def _sweep(folder: Path) -> None:
    """Remove temporary files of killed processes: after an hour, no process on any machine is still writing them."""
    for path in [*folder.rglob(".part-*"), *folder.parent.glob(".part-*")]:
        with suppress(FileNotFoundError):
            if time.time() - path.lstat().st_mtime > 3600:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _link(source: str, target: str) -> None:
    """Hard-link a file, or copy it if the disk has no hard links (exFAT, some network shares)."""
    try:
        os.link(source, target)
    except (AttributeError, NotImplementedError, OSError):
        shutil.copy2(source, target)


class InUseError(InputError):
    """The run folder is in use by another process."""


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
        self._lock: BaseFileLock | None = None
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
        self._lock = _lock(path / "lock")
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
            and not _is_lock(path)
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
        if self._lock is not None:
            self._lock.release()
            self._lock = None


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
        raise InputError(
            f"{shown(folder)}: expected a run folder, found no run.json in it; give the folder deft run wrote"
        )
    record = read_json(path)
    if not isinstance(record, dict):
        raise InputError(f"{shown(path)}: expected the record of a run, got other JSON; give the folder deft run wrote")
    return record


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


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Hold a lock file within the block.

    Raises:
        InUseError: another process holds it.
    """
    lock = _lock(path)
    try:
        yield
    finally:
        lock.release()


def has_locks(folder: Path) -> bool:
    """Whether the storage of a folder has file locks of the system; a file ``lock`` is made in it."""
    from filelock import FileLock, SoftFileLock

    if FileLock is SoftFileLock:
        return False
    lock = FileLock(folder / "lock", timeout=0, on_acquired=_sign)  # with it, none falls back to a file
    try:
        lock.acquire()
    except OSError:
        return False
    lock.release()
    return True


def _foreign(path: Path) -> bool:
    """Whether a file in a folder without a record is something other than a lock or a temporary file of a run."""
    return not _is_lock(path) and not path.name.startswith(".part-")


def _is_lock(path: Path) -> bool:
    return path.name == "lock" or path.name.startswith("lock.")


def _lock(path: Path) -> BaseFileLock:
    """Take the lock. The system releases it when the process ends, however it ends; forked processes never hold it.

    On storage without locks a file ``NAME.held`` is created instead. A killed process leaves it behind: the next
    process on the same machine sees that its owner is dead, on another machine the user has to remove the file.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    remedy = "wait until it has ended, stop it, or name another folder"
    _refuse_foreign_lock(path)
    if FileLock is not SoftFileLock:  # they are the same if Python has no system locks at all
        lock = FileLock(path, timeout=0, thread_local=False, on_acquired=_sign)  # any thread may release it
        try:
            lock.acquire()
            return lock
        except Timeout:
            raise InUseError(f"{path.parent} is in use by {_owner(path)}; {remedy}") from None
        except PermissionError:
            raise InputError(
                f"{shown(path)}: no permission to write it; change permissions or name another folder"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
    held = path.with_name(f"{path.name}.held")
    print(f"{shown(path.parent)}: the storage has no locks; {held.name} holds the folder instead", file=sys.stderr)
    soft = SoftFileLock(held, timeout=0.5, thread_local=False)  # time to remove the file of a dead process
    try:
        soft.acquire()
    except Timeout:
        remedy += f"; if it is no longer running, remove {held}"
        raise InUseError(f"{path.parent} is in use by {_owner(held)}; {remedy}") from None
    return soft


def _refuse_foreign_lock(path: Path) -> None:
    """Refuse a lock that is a link, or a file that deft did not write: taking it would empty that file."""
    for file in (path, path.with_name(f"{path.name}.held")):
        refuse_link(file)
        try:
            with open_regular(file) as opened:
                content = opened.read(_LOCK_BYTES)
        except UnreadableError:
            if exists(file):  # a pipe, a folder; taking it would wait for ever, or fail in other words
                raise
            continue
        except OSError:  # there is none; or on Windows, one that is held; without permission taking it says so
            continue
        if content and not _SIGNED.match(content):
            raise InputError(f"{shown(file)}: expected a lock of deft, got a file with other content; move it away")


def _sign(handle: int) -> None:
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())


def _owner(path: Path) -> str:
    """The process that holds a lock, if its file can be read: on Windows, a locked file cannot."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    by_file = re.match(r"(\d+)\n(\S+)\n", text)  # filelock's own record
    return f"process {by_file[1]} on {by_file[2]}" if by_file else text.strip() or "another process"
