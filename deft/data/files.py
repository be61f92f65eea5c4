"""The image files below a folder and their names."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deft.data.faults import Faults, nearest
from deft.data.images import SUFFIXES


@dataclass(frozen=True)
class ImageFiles:
    """Images below one folder, sorted by path."""

    root: Path
    paths: tuple[Path, ...]
    names: tuple[str, ...]
    """Path relative to ``root`` with ``/`` between folders, without suffix if that is unique, else with it."""
    _by_key: dict[str, tuple[int, ...]] = field(repr=False)

    def find(self, name: str) -> tuple[int, ...]:
        """Indices of the images that a name may refer to: none, one, or several that differ only in their suffix."""
        return self._by_key.get(_key(name), ())

    def find_or_fault(self, name: str, faults: Faults, file: Path, line: int | None) -> int | None:
        """Index of the image with this name; adds a fault at ``file:line`` if there is none or more than one."""
        found = self.find(name)
        if len(found) == 1:
            return found[0]
        if found:
            choice = " and ".join(repr(self.paths[index].name) for index in found)
            faults.add(file, line, f"{name!r} may mean {choice}", "write the name with its suffix")
        else:
            # Similar names are searched only for the first faults: a dataset may have thousands of such rows.
            near = nearest(name, self.names) if len(faults.all) < 20 else ""
            faults.add(file, line, f"no image {name!r} in {self.root}{near}", "add the image or correct the name")
        return None

    def merged(self, stands_for: Mapping[int, int]) -> ImageFiles:
        """Merge images: image ``i`` is replaced by image ``stands_for[i]``; images that are not keys are left out."""
        kept = sorted(set(stands_for.values()))
        place = {index: new for new, index in enumerate(kept)}
        by_key = {
            key: tuple(sorted({place[stands_for[index]] for index in indices if index in stands_for}))
            for key, indices in self._by_key.items()
        }
        return ImageFiles(
            self.root, tuple(self.paths[index] for index in kept), tuple(self.names[index] for index in kept), by_key
        )


def one_image(path: Path) -> ImageFiles:
    """One image alone, whatever else is in its folder; none if its suffix is no image's."""
    if path.suffix.lower() not in SUFFIXES:
        return ImageFiles(path.parent, (), (), {})
    keys: dict[str, tuple[int, ...]] = {_key(path.name): (0,), _key(path.stem): (0,)}
    return ImageFiles(path.parent, (path,), (relative(path, path.parent)[: -len(path.suffix)],), keys)


def image_files(root: Path, skip: frozenset[str] = frozenset()) -> ImageFiles:
    """All images below a folder, except hidden ones.

    Args:
        root: an existing folder.
        skip: names of folders directly in ``root`` to leave out.
    """
    paths = sorted(path for path in files_below(root, skip) if path.suffix.lower() in SUFFIXES)
    full = [relative(path, root) for path in paths]
    stems = [name[: len(name) - len(path.suffix)] for name, path in zip(full, paths, strict=True)]
    count = Counter(stems)
    names = [stem if count[stem] == 1 else name for stem, name in zip(stems, full, strict=True)]
    if len(set(names)) < len(names):  # "a.jpg", "a.png" and "a.jpg.png" at once
        names = full
    by_key: dict[str, list[int]] = {}
    for index, (stem, name) in enumerate(zip(stems, full, strict=True)):
        by_key.setdefault(_key(name), []).append(index)
        by_key.setdefault(_key(stem), []).append(index)
    exact = {_key(name): [index] for index, name in enumerate(full)}  # a full name always refers to that file
    frozen = {key: tuple(indices) for key, indices in (by_key | exact).items()}
    return ImageFiles(root, tuple(paths), tuple(names), frozen)


def files_below(root: Path, skip: frozenset[str] = frozenset()) -> list[Path]:
    """Every file below ``root``; follows links to folders, but visits each folder once."""
    seen: set[tuple[int, int]] = set()
    found: list[Path] = []
    pending = [os.fspath(root)]
    while pending:
        folder = pending.pop()
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or (folder == os.fspath(root) and entry.name in skip):
                    continue
                if entry.is_dir():
                    pending.append(entry.path)
                else:
                    found.append(Path(entry.path))
    return found


def relative(path: Path, root: Path) -> str:
    r"""Path relative to ``root`` with ``/``; bytes that are not UTF-8 are escaped, as in ``\xe9``."""
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")


def _key(name: str) -> str:
    """Normal form of a name: composed accents, forward slashes, no leading ``./``."""
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/").removeprefix("./"))
