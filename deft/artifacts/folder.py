"""The run folder: stages with their keys, the lock for one process at a time, the record a second run must match."""

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
"""Prefixes of entries in ``run.json`` that a resumed run need not match: package versions (a patch release must not
make a run unfinishable), thresholds the run chose itself (they follow from its settings), and the path of weights."""
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
        path = self.folder / "stage.json"
        record = read_json(path) if path.exists() else {}
        return record if isinstance(record, dict) and record.get("key") == self.key else {}

    @property
    def done(self) -> bool:
        """Whether the stage is finished, with this key."""
        return self.record.get("state") == "done"

    @contextmanager
    def making(self) -> Iterator[dict[str, Any]]:
        """Make a stage within the block: keep files of a killed run with the same key, mark the stage done at the end.

        Yields a mapping whose entries are stored in ``stage.json``. Seconds add up over interrupted runs.
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
        """Take over the finished stage of the same key from another run; False if none has it.

        Files are hard-linked if the disk supports it, else copied. A file is only ever replaced, never modified, so
        neither run can change the other's.
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
    """Remove temporary files of killed processes: after an hour, no process on any machine is still writing them."""
    for path in [*folder.rglob(".part-*"), *folder.parent.glob(".part-*")]:
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > 3600:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _link(source: str, target: str) -> None:
    """Hard-link a file, or copy it if the disk has no hard links (exFAT, some network shares)."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class InUseError(InputError):
    """The run folder is in use by another process."""


class RunFolder:
    """A run folder, locked for this process."""

    def __init__(self, path: Path, description: Mapping[str, Any], needed_bytes: int = 0, *, own: bool = True) -> None:
        """Begin or resume a run.

        Args:
            path: the folder; created if missing.
            description: record of the run; a folder that holds a run must have an equal one.
            needed_bytes: free disk space the run needs, checked first.
            own: False opens a folder that another process holds, to help it: nothing is locked or written.

        Raises:
            InUseError: another process works in the folder.
            InputError: the folder holds a run with other settings, or other files, or the disk has too little space.
        """
        self.path = path
        self._lock: BaseFileLock | None = None
        if not own:
            return
        if path.exists() and not path.is_dir():
            raise InputError(f"--out {path}: expected a folder, got a file; name another folder")
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
                "free; make room or name a folder on another disk"
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
        """Whether any stage has made a file: a run that failed at its first step must not occupy the folder."""
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
        """The stage with this name and key."""
        return Stage(name, self.path / name, key)

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def read_run(folder: Path) -> dict[str, Any]:
    """The record of a run, its ``run.json``.

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
    """Hold a lock file within the block.

    Raises:
        InUseError: another process holds it.
    """
    lock = _lock(path)
    try:
        yield
    finally:
        lock.release()


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
    if FileLock is not SoftFileLock:  # they are the same if Python has no system locks at all
        lock = FileLock(path, timeout=0, thread_local=False, on_acquired=_sign)  # any thread may release it
        try:
            lock.acquire()
            return lock
        except Timeout:
            raise InUseError(f"{path.parent} is in use by {_owner(path)}; {remedy}") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
    held = path.with_name(f"{path.name}.held")
    soft = SoftFileLock(held, timeout=0.5, thread_local=False)  # time to remove the file of a dead process
    try:
        soft.acquire()
    except Timeout:
        remedy += f"; if it is no longer running, remove {held}"
        raise InUseError(f"{path.parent} is in use by {_owner(held)}; {remedy}") from None
    return soft


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
