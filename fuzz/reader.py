"""What is fuzzed: a reader, the files around it, and the files that are generated for each input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from deft.contracts import InputError
from deft.data.faults import Faults, refuse
from deft.data.opening import read_data

Files = Mapping[str, bytes]
"""Contents by path relative to the folder of an input."""
_SAMPLES = 4
"""Number of images that are decoded of a dataset that could be opened."""


@dataclass(frozen=True)
class Reader:
    """One reader; every exception but ``InputError`` that leaves ``read`` is a failure."""

    name: str
    inputs: st.SearchStrategy[Files]
    """The files of an input."""
    read: Callable[[Path], object]
    """Called with the folder of the files."""
    beside: Callable[[], Files] = dict
    """The files of every input, which do not change."""
    share: float = 1.0
    """How many inputs it has for one of the other readers; less for one that takes long."""


class Place:
    """A folder whose files are replaced by those of the next input."""

    def __init__(self, folder: Path, beside: Files) -> None:
        """Write the files that do not change."""
        self.folder = folder
        self._written: set[Path] = set()
        for name, content in beside.items():
            self._write(folder / name, content)

    def fill(self, files: Files) -> None:
        """Remove the files of the last input, and write those of this one."""
        for path in self._written:
            path.unlink(missing_ok=True)
        self._written = {self.folder / name for name in files}
        for name, content in files.items():
            self._write(self.folder / name, content)

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def attempt(reader: Reader, place: Place, files: Files) -> bool:
    """Read one input; whether it was accepted. Any exception but ``InputError`` is raised on."""
    place.fill(files)
    try:
        reader.read(place.folder)
    except InputError as error:
        if not str(error):
            raise AssertionError("an error without a message") from None
        return False
    return True


def dataset(kind: str, name: str = "", options: str = "") -> Callable[[Path], None]:
    """A function that opens a dataset, looks at its faults, labels and first images, and raises InputError for faults.

    Args:
        kind: as in ``KIND:PATH``.
        name: of the file within the folder that is opened; empty for the folder itself.
        options: as after ``?``.
    """

    def read(folder: Path) -> None:
        faults = Faults()
        splits = read_data(f"{kind}:{folder / name if name else folder}{options}", faults)
        for fault in faults.all:
            line = str(fault)
            if not line.isprintable() or not fault.what or not fault.remedy:
                raise AssertionError(f"a fault that cannot be printed, or without a remedy: {line!r}")
        if splits is None:
            if not faults.errors:
                raise AssertionError("nothing was read, and no fault says why")
            refuse(faults.all, kind)
            return
        for part in (splits.train, splits.val):
            if part is None:
                continue
            if part.labels.shape != (len(part), len(part.classes)) or part.labels.dtype != np.bool_:
                raise AssertionError(
                    f"labels {part.labels.shape} of {len(part)} images and {len(part.classes)} classes"
                )
            if len(set(part.names)) < len(part):
                raise AssertionError("two images of one name")
            for index in range(min(_SAMPLES, len(part))):
                try:
                    sample = part[index]
                except InputError:
                    continue
                if sample.mask is not None and sample.mask.shape != sample.image.shape[:2]:
                    raise AssertionError(f"a mask {sample.mask.shape} of an image {sample.image.shape}")
        refuse(faults.all, kind)

    return read
