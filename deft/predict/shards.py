"""Shards to shards: one shard of results for each shard of photographs, by any number of processes on one folder.

A result has the name of its shard and is written whole, so that a killed process leaves finished results and no partial
ones. :mod:`deft.engine.claims` decides which process makes which; entries of a shard keep their order, and equal inputs
give equal bytes.

The folder of results::

    NAME.tar              results of the shard NAME.tar
    NAME.tar.left-out     its photographs that could not be used, one per line, if there are any
    made-from.json        the network and settings of all of them: a command with others is refused
    work/                 claims of the processes at work
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deft.artifacts import atomic_write, read_json, write_json
from deft.contracts import InputError
from deft.data.layouts.entries import Entry, is_image, tags_of
from deft.data.layouts.shards import read_shard, shard_paths, writing
from deft.engine.claims import POLL, Claims
from deft.engine.shortage import lacking
from deft.engine.stream import in_order
from deft.engine.worklist import MOST_BUCKETS, WorkList
from deft.guards.opening import exists, open_regular
from deft.guards.output import check_out, make_folder, refuse_links
from deft.guards.words import shown
from deft.predict.photographs import SHOWN, tags_of_keys
from deft.settings import key_of, refuse_other

RECORD = "made-from.json"
LEFT_OUT = ".left-out"
Files = Mapping[str, bytes]
"""File contents by suffix."""


@dataclass(frozen=True)
class Streamed:
    """Result of a command on shards."""

    images: int
    """Photographs done by this process."""
    shards: int
    """Shards finished by this process."""
    all_shards: int
    """All shards; each is finished, by this process, another one, or an earlier command."""


@dataclass(frozen=True)
class ShardList(WorkList):
    """A work list with one bucket per shard."""

    @property
    def buckets(self) -> int:
        """About one bucket per shard."""
        return max(1, min(MOST_BUCKETS, len(self.paths)))


@dataclass(frozen=True)
class EntryTags:
    """Tags of the entries of shards: from a member of each entry, or from a table by key."""

    suffix: str = ""
    """Suffix of the member that holds an entry's tags; empty if there is none."""
    table: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Tags by key, with or without the image's suffix."""

    @classmethod
    def given(cls, table: Path | None, suffix: str, classes: tuple[str, ...]) -> EntryTags:
        """Tags as given by ``--tags TABLE`` or ``--tags-from SUFFIX``.

        Raises:
            InputError: both are given, or the table cannot be used.
        """
        if table is not None and suffix:
            raise InputError("expected --tags TABLE or --tags-from SUFFIX, got both; give the one that holds the tags")
        return cls(suffix.lower().removeprefix("."), tags_of_keys(table, classes))

    def of(self, entry: Entry) -> tuple[str, ...] | None:
        """Tags of an entry; None where nothing is known.

        Raises:
            InputError: there should be a member with tags and is none, or it holds something else.
        """
        if self.suffix:
            tags = tags_of(entry, self.suffix)
            if tags is None:
                raise InputError(f"expected its tags in .{self.suffix}, found none; add them, or leave out --tags-from")
            return tags
        key = entry.key.removeprefix("./")
        names = (key, *(f"{key}.{suffix}" for suffix in entry.files))
        return next((self.table[name] for name in names if name in self.table), None)


def stream(
    spec: str,
    out: Path,
    work: Callable[[Entry], Files],
    made_from: Mapping[str, Any],
    title: str,
    suffix: str = "",
    tags: Path | None = None,
) -> Streamed:
    """Make the results of all shards that have none yet; returns when all exist.

    Args:
        spec: ``shards:PATTERN``.
        out: folder of the results.
        work: an entry's results, called from several threads; an InputError leaves the entry out.
        made_from: all that the results depend on beside the shards.
        title: beside the progress bar.
        suffix: of members that ``work`` reads beside images.
        tags: a table that ``work`` reads, which results must stay apart from.

    Raises:
        InputError: nothing to read, results in ``out`` were made from something else, or some shards or photographs
            could not be used (all others are done).
    """
    shards = shard_paths(spec)
    check_out(out, shards if tags is None else [*shards, tags])
    _agree(out, made_from)
    results = [out / shard.name for shard in shards]
    todo = ShardList(out / "work", results, key_of("shards", made_from))
    images = made = 0
    broken: dict[int, str] = {}
    with Claims(todo) as claims, tqdm(unit="image", desc=title, mininterval=1.0) as bar:
        while not claims.over():
            bar.set_postfix_str(f"{len(shards) - claims.total + claims.made} of {len(shards)} shards", refresh=False)
            index = claims.take()
            if index is None:
                time.sleep(POLL)
                continue
            try:
                images += _make(shards[index], results[index], work, suffix, bar)
                made += 1
            except InputError as error:
                broken[index] = str(error)
            claims.finish(index)
    todo.clear()
    _refuse_left_out(results, list(broken.values()))
    return Streamed(images, made, len(shards))


def digest(path: Path | None) -> str:
    """SHA-256 of a file, in hex; empty for none.

    Raises:
        InputError: the file cannot be read.
    """
    if path is None:
        return ""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _agree(out: Path, made_from: Mapping[str, Any]) -> None:
    """Raise InputError unless all results of the folder, also of later commands, are made with the same settings."""
    make_folder(out)
    refuse_links(out)
    record = out / RECORD
    if not exists(record):
        if foreign := sorted(name for name in os.listdir(out) if not name.startswith(".part-")):
            raise InputError(
                f"--out {shown(out)}: expected an empty folder or results of deft, got {shown(foreign[0])} without a "
                f"{RECORD} beside it; name a new folder"
            )
        write_json(record, made_from)
    refuse_other(f"--out {shown(out)} holds results", read_json(record), json.loads(json.dumps(made_from)))


def _make(shard: Path, result: Path, work: Callable[[Entry], Files], suffix: str, bar: tqdm) -> int:
    """Results of one shard; returns how many photographs are in it."""

    def one(entry: Entry) -> tuple[str, Files | str]:
        try:
            return entry.key, work(entry)
        except InputError as error:
            return entry.key, " ".join(str(error).splitlines())

    def too_large(entry: Entry, reason: str) -> tuple[str, Files | str]:
        return entry.key, lacking("the photograph", reason)

    count, left_out = 0, []
    note = result.with_name(result.name + LEFT_OUT)
    entries = read_shard(shard, lambda name: is_image(name) or name == suffix)
    with writing(result) as add:
        for key, found in in_order(entries, one, too_large=too_large):
            if isinstance(found, str):
                left_out.append(f"{shard}: {shown(key)}: {found}\n")
            else:
                add(key, found)
                count += 1
            bar.update()
        if left_out and not count:
            raise InputError(f"{shard}: none of {len(left_out)} photographs can be used; {left_out[0].strip()}")
        if left_out:  # before the result has its name: a result without its note would be taken for whole
            atomic_write(note, "".join(left_out).encode("utf-8", "backslashreplace"))
        else:
            note.unlink(missing_ok=True)
    return count


def _refuse_left_out(results: list[Path], broken: list[str]) -> None:
    """Raise InputError that names what could not be used, by this command or an earlier one."""
    notes = [note for result in results if (note := result.with_name(result.name + LEFT_OUT)).is_file()]
    lines = list(broken)
    total = len(broken)
    for note in notes:
        found = note.read_text(encoding="utf-8").splitlines()
        total += len(found)
        lines += found[: max(0, SHOWN - len(lines))]
    if not total:
        return
    head = f"all else is done; {total} shards or photographs cannot be used:"
    more = [f"... and {total - SHOWN} more, in {results[0].parent}/*{LEFT_OUT}"] if total > SHOWN else []
    way_out = f"fix them, remove the shard's result from {results[0].parent} and repeat the same command"
    raise InputError("\n".join([head, *lines[:SHOWN], *more, way_out]))
