"""Shards to shards: one shard of results for each shard of photographs, in this process or on a Ray cluster.

A result has the name of its shard and is written whole, so that a killed process leaves finished results and no partial
ones. Entries of a shard keep their order, and equal inputs give equal bytes.

The folder of results::

    NAME.tar              results of the shard NAME.tar
    NAME.tar.left-out     its photographs that could not be used, one per line, if there are any
    made-from.json        the network and settings of all of them: a command with others is refused
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deft.artifacts import atomic_write, read_json, write_json
from deft.contracts import InputError
from deft.data.layouts.entries import Entry, is_image, tags_of
from deft.data.layouts.shards import read_shard, shard_paths, writing
from deft.engine.ray_engine import Call, Ray
from deft.engine.shortage import lacking
from deft.engine.stream import in_order
from deft.guards.opening import exists, open_regular, read_regular
from deft.guards.output import check_out, make_folder, refuse_links
from deft.guards.words import shown
from deft.predict.photographs import SHOWN, Files, tags_of_keys
from deft.settings import refuse_other

RECORD = "made-from.json"
LEFT_OUT = ".left-out"


@dataclass(frozen=True)
class EntryWork:
    """The function of an entry of a shard."""

    make: Callable[[Entry], Files]
    """Results by suffix; called from several threads; an InputError leaves the entry out."""
    suffix: str = ""
    """Suffix of members that it reads beside images."""


@dataclass(frozen=True)
class Streamed:
    """Result of a command on shards."""

    images: int
    """Photographs done by this command."""
    shards: int
    """Shards finished by this command."""
    all_shards: int
    """All shards; each is finished, by this command or an earlier one."""


Done = tuple[int, int, str]
"""A shard's index, its number of photographs, and why it cannot be used; empty if it can."""
MakeShards = Callable[[Sequence[int]], list[Done]]
"""Makes the results of shards, given by their index."""


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
    work: Call,
    made_from: Mapping[str, Any],
    title: str,
    tags: Path | None = None,
    ray: Ray | None = None,
) -> Streamed:
    """Make the results of all shards that have none yet; returns when all exist.

    Args:
        spec: ``shards:PATTERN``.
        out: folder of the results.
        work: returns an :class:`EntryWork`.
        made_from: all that the results depend on beside the shards.
        title: beside the progress bar.
        tags: a table that ``work`` reads, which results must stay apart from.
        ray: a cluster that does the work; its machines write the results. None does it in this process.

    Raises:
        InputError: nothing to read, results in ``out`` were made from something else, or some shards or photographs
            could not be used (all others are done).
    """
    shards = shard_paths(spec)
    call = Call.of(open_shards, spec=spec, out=out, work=work)
    with tqdm(unit="image", desc=title, mininterval=1.0) as bar:
        make: MakeShards = call(progress=bar.update)  # here too if a cluster does the work: faults are told at once
        check_out(out, shards if tags is None else [*shards, tags])
        agree(out, made_from)
        results = [out / shard.name for shard in shards]
        there = set(os.listdir(out))
        missing = [index for index, result in enumerate(results) if result.name not in there]
        images = made = 0
        broken: dict[int, str] = {}
        for index, count, fault in _here(make, missing) if ray is None else _there(ray, call, missing, bar):
            if fault:
                broken[index] = fault
            else:
                images, made = images + count, made + 1
            bar.set_postfix_str(f"{len(shards) - len(missing) + made} of {len(shards)} shards", refresh=False)
    refuse_left_out(results, [broken[index] for index in sorted(broken)])
    return Streamed(images, made, len(shards))


def _here(make: MakeShards, missing: Sequence[int]) -> Iterator[Done]:
    """Make shards in this process, one after the other."""
    for index in missing:
        yield from make([index])


def _there(ray: Ray, call: Call, missing: Sequence[int], bar: tqdm) -> Iterator[Done]:
    """Make shards on a cluster, in any order; the bar moves with each."""
    for block in ray.map(call, missing, most=1):
        for index, count, fault in block:
            bar.update(count)
            yield index, count, fault


def open_shards(spec: str, out: Path, work: Call, progress: Callable[[], object] | None = None) -> MakeShards:
    """The function that makes the results of some shards, given by their index.

    Args:
        spec: ``shards:PATTERN``.
        out: folder of the results.
        work: returns an :class:`EntryWork`.
        progress: called after each photograph.

    Raises:
        InputError: nothing to read, or ``work`` refuses something.
    """
    shards = shard_paths(spec)
    entries: EntryWork = work()

    def one(index: int) -> Done:
        try:
            return index, _make(shards[index], out / shards[index].name, entries, progress or _nothing), ""
        except InputError as error:
            return index, 0, str(error)

    return lambda indices: [one(index) for index in indices]


def _nothing() -> None:
    pass


def digest(path: Path | None) -> str:
    """SHA-256 of a file, in hex; empty for none.

    Raises:
        InputError: the file cannot be read.
    """
    if path is None:
        return ""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def agree(out: Path, made_from: Mapping[str, Any]) -> None:
    """Raise InputError unless all results of the folder, also of later commands, are made with the same settings."""
    make_folder(out)
    refuse_links(out)
    record = out / RECORD
    there = os.listdir(out)  # before the record is looked for: another command may write it in between
    if not exists(record):
        if foreign := sorted(name for name in there if not name.startswith(".part-")):
            raise InputError(
                f"--out {shown(out)}: expected an empty folder or results of deft, got {shown(foreign[0])} without a "
                f"{RECORD} beside it; name a new folder"
            )
        write_json(record, made_from)
    refuse_other(f"--out {shown(out)} holds results", read_json(record), json.loads(json.dumps(made_from)))


def _make(shard: Path, result: Path, work: EntryWork, progress: Callable[[], object]) -> int:
    """Results of one shard; returns how many photographs are in it."""

    def one(entry: Entry) -> tuple[str, Files | str]:
        try:
            return entry.key, work.make(entry)
        except InputError as error:
            return entry.key, " ".join(str(error).splitlines())

    def too_large(entry: Entry, reason: str) -> tuple[str, Files | str]:
        return entry.key, lacking("the photograph", reason)

    count, left_out = 0, []
    note = result.with_name(result.name + LEFT_OUT)
    entries = read_shard(shard, lambda name: is_image(name) or name == work.suffix)
    with writing(result) as add:
        for key, found in in_order(entries, one, too_large=too_large):
            if isinstance(found, str):
                left_out.append(f"{shard}: {shown(key)}: {found}\n")
            else:
                add(key, found)
                count += 1
            progress()
        if left_out and not count:
            raise InputError(f"{shard}: none of {len(left_out)} photographs can be used; {left_out[0].strip()}")
        if left_out:  # before the result has its name: a result without its note would be taken for whole
            atomic_write(note, "".join(left_out).encode("utf-8", "backslashreplace"))
        else:
            note.unlink(missing_ok=True)
    return count


def refuse_left_out(results: list[Path], broken: list[str]) -> None:
    """Raise InputError that names what could not be used, by this command or an earlier one."""
    notes = [note for result in results if exists(note := result.with_name(result.name + LEFT_OUT))]
    lines = list(broken)
    total = len(broken)
    for note in notes:
        found = read_regular(note).decode("utf-8", "replace").splitlines()
        total += len(found)
        lines += found[: max(0, SHOWN - len(lines))]
    if not total:
        return
    head = f"all else is done; {total} shards or photographs cannot be used:"
    more = [f"... and {total - SHOWN} more, in {results[0].parent}/*{LEFT_OUT}"] if total > SHOWN else []
    way_out = f"fix them, remove the shard's result from {results[0].parent} and repeat the same command"
    raise InputError("\n".join([head, *lines[:SHOWN], *more, way_out]))
