"""The image files below a folder and their names."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deft.data.faults import Faults, nearest
from deft.data.images import SUFFIXES
from deft.data.passed_over import PassedOver


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
        return self._by_key.get(normal_name(name), ())

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
    """One image alone, with its neighbours that differ in their suffix only; none if its suffix is no image's.

    Nothing else in its folder is looked at.
    """
    if path.suffix.lower() not in SUFFIXES:
        return ImageFiles(path.parent, (), (), {})
    beside = named_images(path.parent, {path, *_same_stem(path)})
    index = beside.paths.index(path)
    return beside.merged({index: index})


def _same_stem(image: Path) -> list[Path]:
    """The files next to an image that differ from it in their suffix only."""
    try:
        return [file for file in image.parent.iterdir() if file.stem == image.stem and file.suffix.lower() in SUFFIXES]
    except OSError:
        return []


def image_files(root: Path, skip: frozenset[str] = frozenset(), faults: Faults | None = None) -> ImageFiles:
    """All images below a folder, except hidden ones and those that systems and programs make.

    Args:
        root: an existing folder.
        skip: names of folders directly in ``root`` to leave out.
        faults: collects remarks on what is left out.
    """
    return named_images(root, (path for path in files_below(root, skip, faults) if path.suffix.lower() in SUFFIXES))


def named_images(root: Path, found: Iterable[Path]) -> ImageFiles:
    """Images below a folder with their names."""
    paths = sorted(found)
    full = [relative(path, root) for path in paths]
    stems = [name[: len(name) - len(path.suffix)] for name, path in zip(full, paths, strict=True)]
    count = Counter(stems)
    names = [stem if count[stem] == 1 else name for stem, name in zip(stems, full, strict=True)]
    if len(set(names)) < len(names):  # "a.jpg", "a.png" and "a.jpg.png" at once
        names = full
    by_key: dict[str, list[int]] = {}
    for index, (stem, name) in enumerate(zip(stems, full, strict=True)):
        by_key.setdefault(normal_name(name), []).append(index)
        by_key.setdefault(normal_name(stem), []).append(index)
    exact = {normal_name(name): [index] for index, name in enumerate(full)}  # a full name always refers to that file
    frozen = {key: tuple(indices) for key, indices in (by_key | exact).items()}
    return ImageFiles(root, tuple(paths), tuple(names), frozen)


def expected_images(root: Path, names: Sequence[str], stems: Sequence[str], suffixes: Sequence[str]) -> ImageFiles:
    """Images that need not be there, as if they lay below a folder: what annotations of them alone refer to.

    Args:
        root: the folder.
        names: name of each image, (N,).
        stems: path of each relative to the folder, without suffix, (N,).
        suffixes: of each, (N,). An image is found by its name and its stem, with its suffix and without.
    """
    by_key: dict[str, dict[int, None]] = {}
    for index, (name, stem, suffix) in enumerate(zip(names, stems, suffixes, strict=True)):
        for key in (name, stem, name + suffix, stem + suffix):
            by_key.setdefault(normal_name(key), {})[index] = None
    by_key |= {normal_name(name): {index: None} for index, name in enumerate(names)}  # a whole name is one image's
    frozen = {key: tuple(indices) for key, indices in by_key.items()}
    paths = tuple(root / (stem + suffix) for stem, suffix in zip(stems, suffixes, strict=True))
    return ImageFiles(root, paths, tuple(names), frozen)


def files_below(root: Path, skip: frozenset[str] = frozenset(), faults: Faults | None = None) -> list[Path]:
    """Every file below ``root``; follows links to folders, but visits each folder once.

    Hidden entries, folders of systems and programs, folders that may not be read, and pipes and devices are left out;
    links that lead nowhere are kept if they have the name of a file, so that they are reported when they are read.

    Args:
        root: an existing folder.
        skip: names of folders directly in ``root`` to leave out.
        faults: collects remarks on what is left out.

    Raises:
        OSError: ``root`` itself cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    found: list[Path] = []
    passed = PassedOver()
    top = os.fspath(root)
    pending = [top]
    while pending:
        folder = pending.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            with os.scandir(folder) as scan:
                entries = list(scan)
        except OSError:
            if folder == top:
                raise
            passed.closed.append(folder)
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            kind = _kind(entry)
            if kind == "folder":
                skipped = folder == top and entry.name in skip
                if not skipped and not passed.skips_folder(entry.name, entry.path):
                    pending.append(entry.path)
            elif kind == "file" and not passed.skips_file(entry.name, entry.path):
                found.append(Path(entry.path))
            elif kind != "file":
                (passed.closed if kind == "loop" else passed.special).append(entry.path)
    if faults is not None:
        passed.tell(top, faults)
    return found


def _kind(entry: os.DirEntry[str]) -> str:
    """``folder``, ``file`` (or a link to nowhere), ``loop`` (a link in circles), or ``special`` (a pipe, a device)."""
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() or entry.is_symlink() else "special"
    except OSError:
        return "loop"


def relative(path: Path, root: Path) -> str:
    r"""Path relative to ``root`` with ``/``; bytes that are not UTF-8 are escaped, as in ``\xe9``."""
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")


def normal_name(name: str) -> str:
    """Normal form of a name: composed accents, forward slashes, no leading ``./``."""
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/").removeprefix("./"))
