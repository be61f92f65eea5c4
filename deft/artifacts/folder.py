"""The run folder: stages with their keys, one process at a time, and what a second run in it has to agree with."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deft.artifacts.files import read_json, write_json
from deft.contracts import InputError
from deft.settings import plain, refuse_other

if TYPE_CHECKING:
    from filelock import BaseFileLock

UNBOUND = ("versions.", "thresholds.", "given.")
"""What is kept in ``run.json`` to be read, not to bind: versions, of which a patch release must not make a run
unfinishable, thresholds that a run chose by itself, which follow from its settings, and where weights lay."""
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
"""Answers of storage that has no locks, some network shares among it."""


@dataclasses.dataclass
class Stage:
    """One stage's folder inside a run."""

    name: str
    folder: Path
    key: str

    @property
    def record(self) -> dict[str, Any]:
        """What ``stage.json`` holds; empty when the stage never began or was made of something else."""
        path = self.folder / "stage.json"
        record = read_json(path) if path.exists() else {}
        return record if isinstance(record, dict) and record.get("key") == self.key else {}

    @property
    def done(self) -> bool:
        """Whether the stage was finished with this key."""
        return self.record.get("state") == "done"

    @contextmanager
    def making(self) -> Iterator[dict[str, Any]]:
        """Keep what a killed run left under the same key, make the rest, mark the stage done.

        Yields a mapping; what is put into it is kept in ``stage.json``. Seconds add up over interrupted runs.
        """
        before = self.record
        if not before and self.folder.exists():
            shutil.rmtree(self.folder)
        _sweep(self.folder)
        notes: dict[str, Any] = {}
        start, spent = time.monotonic(), float(before.get("seconds", 0.0))
        state = "begun"
        write_json(self.folder / "stage.json", {"key": self.key, "state": state, "seconds": spent})
        try:
            yield notes
            state = "done"
        finally:
            seconds = round(spent + time.monotonic() - start, 2)
            write_json(self.folder / "stage.json", {"key": self.key, "state": state, "seconds": seconds, **notes})

    def adopt(self, others: tuple[Path, ...]) -> bool:
        """Take over the finished stage of the same key from another run; False when none has it.

        Where the disk can, files are shared and not copied: a file is replaced and never written into, so that neither
        run can change the other's.
        """
        for other in others:
            source = Stage(self.name, other / self.name, self.key)
            if source.done:
                temporary = Path(tempfile.mkdtemp(prefix=".part-", dir=self.folder.parent))
                unfinished = shutil.ignore_patterns(".part-*")
                shutil.copytree(source.folder, temporary, ignore=unfinished, copy_function=_link, dirs_exist_ok=True)
                if self.folder.exists():
                    shutil.rmtree(self.folder)
                os.replace(temporary, self.folder)
                return True
        return False


def _sweep(folder: Path) -> None:
    """Remove what kills left half made; what is an hour old nobody is making any more, on any machine."""
    for path in [*folder.rglob(".part-*"), *folder.parent.glob(".part-*")]:
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > 3600:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _link(source: str, target: str) -> None:
    """A second name for the file, or a copy of it on a disk that has none (exFAT, some network shares)."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class InUseError(InputError):
    """The run folder belongs to another process for now."""


class RunFolder:
    """A run folder that this process alone works in."""

    def __init__(self, path: Path, description: Mapping[str, Any], needed_bytes: int = 0, *, own: bool = True) -> None:
        """Open or begin a run.

        Args:
            path: the folder; made when missing.
            description: what the run is; a used folder must hold an equal one.
            needed_bytes: refused up front when the disk has less room.
            own: False only names a folder that another process holds, to help it: nothing is locked or written.

        Raises:
            InUseError: another process works in the folder.
            InputError: the folder holds a run of other settings, or files that are no run, or the disk is too small.
        """
        self.path = path
        self._lock: BaseFileLock | None = None
        if not own:
            return
        if path.exists() and not path.is_dir():
            raise InputError(f"--out {path}: expected a folder, got a file; name another place")
        record = path / "run.json"
        if path.exists() and not record.exists() and any(map(_foreign, path.iterdir())):
            raise InputError(
                f"--out {path}: expected an empty folder or an earlier run, got a folder with other files in it; "
                "name a new folder"
            )
        path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path).free
        if free < needed_bytes:
            raise InputError(
                f"--out {path}: this run may write {needed_bytes / 1e6:,.0f} MB and the disk has {free / 1e6:,.0f} MB "
                "left; make room or name a folder on another disk"
            )
        self._lock = _lock(path / "lock")
        if record.exists() and self._holds_work():
            try:
                refuse_other(f"--out {path} holds a run", read_json(record), plain(description), UNBOUND)
            except InputError:
                self.close()
                raise
        else:
            write_json(record, plain(description))

    def _holds_work(self) -> bool:
        """Whether any stage made anything: a run that failed at its first step must not occupy the folder."""
        records = ("stage.json", "run.json")
        return any(
            path.is_file()
            and path.name not in records
            and not _is_lock(path)
            and ".part-" not in str(path.relative_to(self.path))
            and not path.parent.name.startswith("claims-")
            for path in self.path.glob("*/**/*")
        )

    def stage(self, name: str, key: str) -> Stage:
        """The stage of that name and key."""
        return Stage(name, self.path / name, key)

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def read_run(folder: Path) -> dict[str, Any]:
    """What a run is: its ``run.json``.

    Raises:
        InputError: the folder holds no run.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise InputError(f"{folder}: expected a run folder, found no run.json in it; give the folder deft run wrote")
    record: dict[str, Any] = read_json(path)
    return record


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Hold a lock file for the length of the block.

    Raises:
        InUseError: another process holds it.
    """
    lock = _lock(path)
    try:
        yield
    finally:
        lock.release()


def _foreign(path: Path) -> bool:
    """Whether a file of a folder without a record was not put there by a run that begins."""
    return not _is_lock(path) and not path.name.startswith(".part-")


def _is_lock(path: Path) -> bool:
    return path.name == "lock" or path.name.startswith("lock.")


def _lock(path: Path) -> BaseFileLock:
    """Take the lock. The system lets go of it when the process ends, however it ends, and its forks never hold it.

    Storage that has no locks gets a file beside, ``NAME.held``. A killed process leaves it behind: on the same machine
    the next one sees that the process is gone, on another somebody has to remove the file.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    remedy = "wait until it has ended, stop it, or name another folder"
    if FileLock is not SoftFileLock:  # as it is where Python has no locks of the system at all
        lock = FileLock(path, timeout=0, thread_local=False, on_acquired=_sign)  # any thread may let go of it
        try:
            lock.acquire()
            return lock
        except Timeout:
            raise InUseError(f"{path.parent} is in use by {_owner(path)}; {remedy}") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
    held = path.with_name(f"{path.name}.held")
    soft = SoftFileLock(held, timeout=0.5, thread_local=False)  # time to clear away a dead process's file
    try:
        soft.acquire()
    except Timeout:
        remedy += f"; if it runs no more, remove {held}"
        raise InUseError(f"{path.parent} is in use by {_owner(held)}; {remedy}") from None
    return soft


def _sign(handle: int) -> None:
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())


def _owner(path: Path) -> str:
    """Who holds a lock, as far as its file can be read: Windows shows nobody what is in a locked file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    by_file = re.match(r"(\d+)\n(\S+)\n", text)  # filelock's own record
    return f"process {by_file[1]} on {by_file[2]}" if by_file else text.strip() or "another process"
