r"""Names of images as tables of other programs write them, and the image files that they mean.

A name is first taken as it is. If there is no such image, it is read as a path from another place: absolute, with
Windows backslashes, as a URL, with a prefix that an upload added, with another case or suffix. Such a path means an
image only if one of the two paths is the end of the other (``C:\data\cat\1.JPG`` and ``cat/1.jpg``), and only if no
second path in the table means the same image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, unquote

from deft.data.faults import Faults, counted, nearest
from deft.data.files import ImageFiles, relative
from deft.data.images import SUFFIXES
from deft.data.invisible import visible

_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_UPLOADED = re.compile(r"^(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{6,})[-_](.+)$", re.IGNORECASE)
"""Prefix of Label Studio and other upload forms: ``1a2b3c4d-name.jpg``."""
_ROBOFLOW = re.compile(r"^(.+)_(\w{3,4})\.rf\.\w+\.\w+$")
"""``name_jpg.rf.0123abcd.jpg`` was ``name.jpg``."""
_SHOWN = 3
"""Most images or rows of one kind that have a fault each."""


class WrittenNames:
    """Finds the images that names in a table mean."""

    def __init__(self, images: ImageFiles) -> None:
        """Remember the images."""
        self.images = images

    def find(self, name: str) -> tuple[tuple[int, ...], bool]:
        """Indices of the images that a name may mean, and whether it names them as they are."""
        if found := self.images.find(name):
            return found, True
        for parts in _readings(name):
            if found := self._by_end(parts):
                return found, False
        number = _number(visible(name))
        return () if number is None else self._by_number.get(number, ()), False

    def known(self, name: str) -> bool:
        """Whether a name means an image."""
        return bool(self.find(name)[0])

    @cached_property
    def _by_stem(self) -> dict[str, list[tuple[int, list[str], str]]]:
        """Index, folders from the innermost, and suffix of the images by their folded stem."""
        found: dict[str, list[tuple[int, list[str], str]]] = {}
        for index, path in enumerate(self.images.paths):
            *folders, name = relative(path, self.images.root).split("/")
            stem = _fold(name[: len(name) - len(path.suffix)])
            found.setdefault(stem, []).append((index, [_fold(part) for part in folders[::-1]], path.suffix.lower()))
        return found

    @cached_property
    def _by_number(self) -> dict[int, tuple[int, ...]]:
        """Indices of the images whose name is a number, by it: spreadsheets drop leading zeros."""
        found: dict[int, tuple[int, ...]] = {}
        for index, name in enumerate(self.images.names):
            if (number := _number(name)) is not None:
                found[number] = (*found.get(number, ()), index)
        return found

    def _by_end(self, parts: list[str]) -> tuple[int, ...]:
        """Images whose path is the end of these parts of a path, or has them as its end; the longest agreement."""
        *folders, name = [_fold(part) for part in parts]
        folders = folders[::-1]
        dot = name.rfind(".")
        stem, suffix = (name[:dot], name[dot:]) if dot > 0 and name[dot:] in SUFFIXES else (name, "")
        best: dict[int, tuple[int, int]] = {}
        for index, own, own_suffix in self._by_stem.get(stem, ()):
            shared = min(len(own), len(folders))
            if own[:shared] == folders[:shared]:
                best[index] = (shared, _same_format(suffix, own_suffix))
        top = max(best.values(), default=None)
        return tuple(index for index, rank in best.items() if rank == top)


def match(named: Sequence[tuple[str, int | None]], images: ImageFiles, file: Path, faults: Faults) -> list[int | None]:
    """The image that each name means.

    Args:
        named: names with their lines.
        images: the images of the dataset.
        file: where the names are written.
        faults: collects a fault for names that mean no image, several, or the same one by different paths (one each
            for a few, one for all of many), and a remark if names had to be read as paths from another place.

    Returns:
        Index of each image, or None where there is a fault.
    """
    names = WrittenNames(images)
    found = [names.find(name) for name, _ in named]
    clashes = _clashes(named, found)
    result: list[int | None] = []
    missing: list[tuple[str, int | None]] = []
    vague: list[tuple[str, int | None]] = []
    for (name, line), (indices, _) in zip(named, found, strict=True):
        ok = len(indices) == 1 and indices[0] not in clashes
        result.append(indices[0] if ok else None)
        if not indices:
            missing.append((name, line))
        elif len(indices) > 1:
            vague.append((name, line))
    _fault_missing(missing, len(named), images, file, faults)
    _fault_vague(vague, names, file, faults)
    for index, (one, other) in list(clashes.items())[:1]:
        more = f" (and {counted(len(clashes) - 1, 'more image')})" if len(clashes) > 1 else ""
        what = f"{one[0][:80]!r} and {other[0][:80]!r} may both mean {images.names[index]!r}{more}"
        faults.add(file, other[1], what, "write each image's path in the folder of images")
    read = [
        (name, at)
        for (name, _), at, (_, exact) in zip(named, result, found, strict=True)
        if at is not None and not exact
    ]
    if read:
        name, at = read[0]
        differ = counted(len(read), "name differs", "names differ")
        what = f"{differ} from those of the images, such as {name[:80]!r}, read as {images.names[at]!r}"
        faults.warn(file, None, what, "write the names of the files if that is wrong")
    return result


def _clashes(
    named: Sequence[tuple[str, int | None]], found: Sequence[tuple[tuple[int, ...], bool]]
) -> dict[int, tuple[tuple[str, int | None], tuple[str, int | None]]]:
    """Images that a path from another place means and a different name means, too."""
    first: dict[int, tuple[str, int | None]] = {}
    loose: set[int] = set()
    clash: dict[int, tuple[tuple[str, int | None], tuple[str, int | None]]] = {}
    for entry, (indices, exact) in zip(named, found, strict=True):
        if len(indices) != 1:
            continue
        other = first.setdefault(indices[0], entry)
        if not exact:
            loose.add(indices[0])
        if _fold(entry[0]) != _fold(other[0]):
            clash.setdefault(indices[0], (other, entry))
    return {index: pair for index, pair in clash.items() if index in loose}


def _fault_missing(
    missing: list[tuple[str, int | None]], total: int, images: ImageFiles, file: Path, faults: Faults
) -> None:
    if len(missing) <= _SHOWN:
        for name, line in missing:
            what = f"no image {name!r} in {images.root}{nearest(name, images.names)}"
            faults.add(file, line, what, "add the image or correct the name")
        return
    name, line = missing[0]
    what = f"{len(missing)} of {total} names are those of no image in {images.root}, such as {name[:80]!r}"
    example = nearest(name, images.names) or f" (an image is {images.names[0]!r})"
    faults.add(file, line, what + example, "add the images or correct the names")


def _fault_vague(vague: list[tuple[str, int | None]], names: WrittenNames, file: Path, faults: Faults) -> None:
    more = f" (and {len(vague) - 1} more names are as vague)" if len(vague) > _SHOWN else ""
    for name, line in vague[: 1 if more else _SHOWN]:
        paths = [names.images.paths[index] for index in names.find(name)[0]]
        folders = len({path.parent for path in paths}) > 1
        shown = [relative(path, names.images.root) if folders else path.name for path in paths]
        choice = " and ".join(map(repr, shown[:3]))
        remedy = "write the name with its folder" if folders else "write the name with its suffix"
        faults.add(file, line, f"{name!r} may mean {choice}{more}", remedy)


def _readings(name: str) -> Iterator[list[str]]:
    """Parts of the path that a name may be, the likelier first."""
    text = visible(name).strip("'\"").replace("\\", "/")
    seen: list[list[str]] = []
    for plain in (text, _from_url(text)):
        parts = [part for part in re.sub(r"^[A-Za-z]:(?=/)", "", plain).split("/") if part not in ("", ".", "..")]
        if not parts:
            continue
        *folders, last = parts
        lasts = [last]
        if uploaded := _UPLOADED.match(last):
            lasts.append(uploaded[1])
        if original := _ROBOFLOW.match(last):
            lasts.append(f"{original[1]}.{original[2]}")
        for reading in ([*folders, lasts[0]], *([*folders, other] for other in lasts[1:]), *([x] for x in lasts[1:])):
            if reading not in seen:
                seen.append(reading)
    yield from seen


def _from_url(text: str) -> str:
    """The path in a URL, with its %-codes resolved; Label Studio names a local file after ``?d=``."""
    path, _, query = (
        _SCHEME.sub("", text).partition("?") if "%" in text or "?" in text or "://" in text else (text, "", "")
    )
    named = parse_qs(query).get("d", [""])[0]
    return unquote(named or path.partition("#")[0])


def _fold(text: str) -> str:
    """A name without case, with spaces as the underscores that upload forms write for them."""
    return re.sub(r"[\s_]+", "_", visible(text).casefold())


def _number(name: str) -> int | None:
    """The number that a name is, as in ``000012`` or pandas' ``12.0``; None if it is not one."""
    digits = re.fullmatch(r"([0-9]{1,18})(?:\.0)?", name)
    return int(digits[1]) if digits else None


def _same_format(one: str, other: str) -> int:
    """2 for equal suffixes, in lower case; 1 if one is not given or both are JPEG or TIFF; 0 for different formats."""
    if one == other:
        return 2
    kinds = ({".jpg", ".jpeg", ".jpe", ".jfif", ""}, {".tif", ".tiff", ""})
    return int(not one or any({one, other} <= kind for kind in kinds))
