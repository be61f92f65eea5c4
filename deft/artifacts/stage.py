"""One stage's folder in a run: its record with the key and the hashes of its files, made once and then verified."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deft.artifacts.files import carries, read_json, write_json
from deft.artifacts.hashes import Damage, damages, hashes
from deft.contracts import InputError
from deft.guards.opening import exists
from deft.guards.output import refuse_link
from deft.guards.words import shown

RECORD = "stage.json"
HASHES = "files"
"""Entry of ``stage.json``: the hash of every file that the stage has made."""
NETWORK = "model.safetensors"
"""The file of what a stage has trained."""
HELD_OUT_SEEDS = "seeds/val"
"""The one stage within the folder of another: maps of held-out images, from which nothing is learned."""


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

        A stage of one file per image loses the damaged ones, and one that has trained something all of its files.
        """
        found = self.damages()
        if not found:
            return
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        print(f"{found[0]}{more}; the stage {self.name} is made again", file=sys.stderr)
        record, names = self.record, made_files(self.folder)
        whole = NETWORK in record[HASHES]
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
                link_files(source.folder, temporary)
                _clear(self.folder)
                os.replace(temporary, self.folder)
                return True
        return False

    def borrow(self, others: Iterable[Path], names: Iterable[str]) -> None:
        """Take over single files of a stage of one file per image, as :meth:`adopt` does all of them.

        Other runs may have finished the stage of the same key or not. Damaged files stay where they are.

        Args:
            others: run folders, those that are preferred first.
            names: of the files that are wanted.
        """
        wanted = [name for name in names if not os.path.lexists(self.folder / name)]
        for other in others:
            source = Stage(self.name, other / self.name, self.key)
            made = source.record.get(HASHES)
            there = [name for name in wanted if source.record and carries(source.folder / name, self.key)]
            known = {name: made[name] for name in there if name in made} if isinstance(made, dict) else {}
            broken = {one.path for one in damages(source.folder, known)}
            for name in there:
                if source.folder / name not in broken:
                    temporary = self.folder / f".part-{name}"
                    _link(os.fspath(source.folder / name), os.fspath(temporary))
                    os.replace(temporary, self.folder / name)
                    wanted.remove(name)


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


def link_files(source: Path, target: Path) -> None:
    """Hard-link the files of a stage into another folder, or copy them if the disk has no hard links.

    Raises:
        OSError: the stage is being made or removed meanwhile, or the disk is full.
    """
    unfinished = shutil.ignore_patterns(".part-*")
    shutil.copytree(source, target, ignore=unfinished, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    """Hard-link a file, or copy it if the disk has no hard links (exFAT, some network shares)."""
    try:
        os.link(source, target)
    except (AttributeError, NotImplementedError, OSError):
        shutil.copy2(source, target)
