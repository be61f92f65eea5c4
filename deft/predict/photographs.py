"""New photographs for a finished run: their files, their tags, and errors for those that cannot be used."""

from __future__ import annotations

import hashlib
import os
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deft.artifacts import OutFolder
from deft.contracts import InputError
from deft.data.faults import Faults, refuse
from deft.data.files import ImageFiles, image_files, one_image
from deft.data.images import SUFFIXES, Scaled, read_scaled
from deft.data.labels import Row, label_matrix, read_label_csv, read_label_json
from deft.data.places import places_of
from deft.data.written_names import match
from deft.engine.ray_engine import Call, Ray
from deft.engine.shortage import lacking
from deft.engine.stream import in_order
from deft.guards.opening import check_regular, exists
from deft.guards.words import shown

Files = Mapping[str, bytes]
"""File contents by relative path."""
Work = Callable[[int, Scaled], Files]
"""Results of the photograph of an index, as it was read."""
SHOWN = 20
"""Most photographs that an error message names."""


def photographs(images: Path, *, tell: bool = False) -> ImageFiles:
    """One photograph, or all in a folder.

    Args:
        images: the photograph, or the folder.
        tell: print what is left out of a folder, such as folders that may not be read.

    Raises:
        InputError: there is none.
    """
    if os.path.isdir(images):
        remarks = Faults()
        found = image_files(images, faults=remarks)
        if tell:
            for remark in remarks.all:
                print(remark, file=sys.stderr)
        if found.paths:
            return found
    elif exists(images):
        check_regular(images)
        if (found := one_image(images)).paths:
            return found
    raise InputError(f"{images}: expected a photograph or a folder that holds some ({', '.join(sorted(SUFFIXES))})")


def reads(images: Path, found: ImageFiles, tags: Path | None) -> Iterator[Path]:
    """Files and folders that a command on photographs reads."""
    yield images
    yield from places_of(found.paths) if os.path.isdir(images) else ()
    if tags is not None:
        yield tags


def tags_of_files(table: Path | None, found: ImageFiles, classes: tuple[str, ...]) -> dict[int, tuple[str, ...]]:
    """Tags of the photographs that a table names, by their index.

    Raises:
        InputError: no such table, a row of no photograph, or a tag that is no class.
    """
    if table is None:
        return {}
    faults = Faults()
    tags: dict[int, tuple[str, ...]] = {}
    rows = _rows(table, classes, faults, found)
    for row, index in zip(rows, match([(row.name, row.line) for row in rows], found, table, faults), strict=True):
        if index is not None:
            tags[index] = tuple(dict.fromkeys(tags.get(index, ()) + row.tags))
    _tell(faults, table)
    return tags


def tags_of_keys(table: Path | None, classes: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Tags that a table names, by the key of an image in a shard.

    Raises:
        InputError: no such table, two rows of one key, or a tag that is no class.
    """
    if table is None:
        return {}
    faults = Faults()
    tags: dict[str, tuple[str, ...]] = {}
    for row in _rows(table, classes, faults, None):
        name = row.name.removeprefix("./")
        if name in tags:
            faults.add(row.file, row.line, f"a second row of {row.name!r}", "keep one row with all its labels")
        tags[name] = row.tags
    _tell(faults, table)
    return tags


def _tell(faults: Faults, table: Path) -> None:
    """Refuse a table with faults, and print the remarks on one without."""
    refuse(faults.all, str(table))
    for remark in faults.all:
        print(remark, file=sys.stderr)


def _rows(table: Path, classes: tuple[str, ...], faults: Faults, found: ImageFiles | None) -> list[Row]:
    if not exists(table):
        raise InputError(f"--tags {table}: expected a CSV file with the header image,labels; there is no such file")
    is_json = table.suffix.lower() == ".json"
    rows = (read_label_json if is_json else read_label_csv)(table, classes=classes, faults=faults, images=found)
    label_matrix(rows, classes, faults)
    return rows


def tag_indices(tags: Sequence[str], classes: tuple[str, ...]) -> tuple[int, ...]:
    """Indices of the classes of these names, rising.

    Raises:
        InputError: a tag is none of the classes.
    """
    unknown = [tag for tag in tags if tag not in classes]
    if unknown:
        raise InputError(f"{unknown[0]!r} is no class of this network; it knows {', '.join(classes)}")
    return tuple(sorted(classes.index(tag) for tag in set(tags)))


def for_photographs(
    found: ImageFiles,
    images: Path,
    work: Call,
    out: OutFolder,
    title: str,
    max_side: int | None = None,
    ray: Ray | None = None,
) -> int:
    """Read photographs, work on them, several at a time, and write the results.

    Args:
        found: as :func:`photographs` gave them.
        images: where it found them.
        work: returns a :data:`Work`, given ``found``.
        out: folder of the results, which this process writes.
        title: beside the progress bar.
        max_side: longer side at which photographs are read; None reads them as they are.
        ray: a cluster that does the work; None does it in this process.

    Returns:
        How many there are.

    Raises:
        InputError: some cannot be read, or need more memory than there is; the others are done.
    """
    count = len(found.paths)
    faults: list[tuple[int, str]] = []

    def store(index: int, files: Files | str) -> None:
        if isinstance(files, str):
            faults.append((index, files))
            return
        for name, content in files.items():
            out.write(name, content)

    made: Work = work(found=found)  # here too if others do the work: tags that are no class are told at once
    with tqdm(total=count, unit="image", desc=title) as bar:
        if ray is None:
            for index, files in zip(range(count), _made(found, made, range(count), max_side), strict=True):
                store(index, files)
                bar.update()
        else:
            call = Call.of(open_photographs, images=images, names=digest_of_names(found), work=work, max_side=max_side)
            for block in ray.map(call, range(count)):
                for index, text in block:
                    store(index, _from_text(text))
                    bar.update()
    refuse_left_out([fault for _, fault in sorted(faults)], count)
    return count


def open_photographs(
    images: Path, names: str, work: Call, max_side: int | None
) -> Callable[[Sequence[int]], list[tuple[int, Any]]]:
    """Work on photographs in a worker of a Ray cluster.

    Args:
        images: a folder of photographs, or one.
        names: :func:`digest_of_names` of those that the command found.
        work: as for :func:`for_photographs`.
        max_side: as for :func:`for_photographs`.

    Returns:
        A function of indices; for each, it returns the index with the files in base64, or with what is wrong.

    Raises:
        InputError: this machine finds other photographs, or ``work`` refuses something.
    """
    found = photographs(images)
    if digest_of_names(found) != names:
        raise InputError(
            f"{images}: expected the photographs that the command found, found others; put them on storage that every "
            "machine sees, and change nothing in the folder meanwhile"
        )
    made: Work = work(found=found)

    def make(items: Sequence[int]) -> list[tuple[int, Any]]:
        results = _made(found, made, items, max_side)
        return [(index, _as_text(files)) for index, files in zip(items, results, strict=True)]

    return make


def digest_of_names(found: ImageFiles) -> str:
    """Digest of the names of photographs, in order."""
    return hashlib.sha256("\0".join(found.names).encode("utf-8", "surrogatepass")).hexdigest()


def _made(found: ImageFiles, work: Work, indices: Sequence[int], max_side: int | None) -> Iterator[Files | str]:
    """Results of photographs in order, or why one cannot be used."""

    def one(index: int) -> Files | str:
        try:
            photograph = read_scaled(found.paths[index], max_side)
        except InputError as error:
            return str(error)
        return work(index, photograph)

    def too_large(index: int, reason: str) -> Files | str:
        return lacking(shown(found.paths[index]), reason)

    return in_order(indices, one, too_large=too_large)


def _as_text(files: Files | str) -> Any:
    if isinstance(files, str):
        return files
    return {name: b64encode(content).decode() for name, content in files.items()}


def _from_text(text: Any) -> Files | str:
    return text if isinstance(text, str) else {name: b64decode(content) for name, content in text.items()}


def refuse_left_out(left_out: Sequence[str], count: int) -> None:
    """Name the photographs that could not be used.

    Args:
        left_out: what was wrong, a line for each.
        count: photographs there were.

    Raises:
        InputError: there are some; the others are done.
    """
    if not left_out:
        return
    more = [f"... and {len(left_out) - SHOWN} more"] if len(left_out) > SHOWN else []
    done = f"{count - len(left_out)} of {count} photographs are done; these cannot be read:"
    raise InputError("\n".join([done, *left_out[:SHOWN], *more]))
