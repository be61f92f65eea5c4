"""``datasets:PATH``: a folder that Hugging Face's ``datasets`` wrote with ``save_to_disk``; the only import of pyarrow.

```
PATH/dataset_dict.json                                      the names of the splits, each a folder as below
PATH/train/dataset_info.json, state.json, data-00000-of-00001.arrow
```

Labels are a column of class labels, texts, lists of these, or objects with a category. Images are the bytes in the
column of images; nothing is decoded before it is needed, and no code of the dataset runs. Test splits are not read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.contracts import DigestFiles, InputError, Sample, Splits
from deft.data.faults import Faults
from deft.data.fingerprints import taught
from deft.data.images import Scaled, read_scaled
from deft.data.labels import multi_hot
from deft.data.layouts.json_files import read_json
from deft.data.layouts.name_lists import check_classes
from deft.data.layouts.values import class_of, is_nothing, short, whole_number
from deft.data.options import split_options
from deft.data.places import places_of
from deft.guards.opening import exists

_TRAIN = ("train", "training")
_VAL = ("validation", "val", "valid", "dev")
_COLUMNS = ("labels", "label", "tags", "tag", "classes", "class", "categories", "category", "fine_label", "objects")
_INSIDE = ("categories", "category", "labels", "label", "classes", "class")
_OPTIONS = ("column", "image")


@dataclass(frozen=True, eq=False)
class SavedImages:
    """A ``Dataset`` of one split; labels are in memory, images are read from the arrow files on demand."""

    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: NDArray[np.bool_]
    """Multi-hot, (N, K)."""
    files: tuple[Path, ...]
    """The arrow files."""
    column: str
    """The column of the images."""
    rows: tuple[tuple[int, int], ...]
    """File and row within it of each image, (N,)."""
    contexts: tuple[str, ...] = ()
    context_labels: NDArray[np.bool_] | None = None
    groups: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """No image has a mask."""
        return np.zeros(len(self.names), dtype=np.bool_)

    def __len__(self) -> int:
        """N."""
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Decode one image; raises InputError naming its row if that fails."""
        return self.scaled(index, None)

    def scaled(self, index: int, max_side: int | None) -> Sample:
        """Decode one image, scaled down to at most ``max_side``."""
        file, row = self.rows[index]
        where = f"{self.files[file]}, row {row}"
        try:
            value = _table(self.files[file], self.column)[row].as_py()
        except ValueError as error:  # text in it, or the name of a field, is in no encoding
            raise InputError(f"{where}: not readable ({error}); save it again") from None
        content = value.get("bytes") if isinstance(value, dict) else value
        path = value.get("path") if isinstance(value, dict) else None
        if not isinstance(content, bytes):
            beside = self.files[file].parent / path if isinstance(path, str) else None
            if beside is None or not exists(beside):
                raise InputError(f"{where}: expected the bytes of an image, got {short(path)}; save it with its images")
            return self._sample(index, read_scaled(beside, max_side))
        try:
            return self._sample(index, read_scaled(content, max_side))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def _sample(self, index: int, read: Scaled) -> Sample:
        photograph = None if read.pixels.shape[:2] == read.size else read.size
        return Sample(self.names[index], read.pixels, self.labels[index].copy(), photograph=photograph)

    @property
    def places(self) -> set[Path]:
        """The folders of the arrow files."""
        return places_of(self.files)

    def fingerprint(self) -> str:
        """Digest of classes, names, labels, rows and the bytes of each arrow file; reads every file."""
        return taught(self).fingerprint

    def image_digests(self, digests: DigestFiles) -> list[str]:
        """Digest of each image's arrow file, and its row within it, (N,)."""
        found = digests(self.files)
        return [f"{found[file]} {row}" for file, row in self.rows]

    def truth_digest(self, digests: DigestFiles) -> str:
        """Nothing: no image has a mask."""
        return ""


def read_saved(path: Path, options: str, faults: Faults) -> Splits | None:
    """Read the labels; no image is decoded.

    Args:
        path: the folder.
        options: the text after ``?``: ``column=NAME`` of the labels, ``image=NAME`` of the images.
        faults: collects the faults of the files.

    Raises:
        InputError: an option is unknown, or pyarrow is not installed.
    """
    chosen = dict.fromkeys(_OPTIONS, "")
    for option in split_options(options):
        name, _, value = option.partition("=")
        if name not in _OPTIONS or not value:
            raise InputError(f"datasets:PATH?{options}: expected column=NAME of the labels or image=NAME of the images")
        chosen[name] = value
    _pyarrow()
    folders = [path]
    if exists(path / "dataset_dict.json"):
        content = read_json(path / "dataset_dict.json", faults)
        names = content.get("splits") if isinstance(content, dict) else None
        known = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
        train = next((name for name in _TRAIN if name in known), None)
        val = next((name for name in _VAL if name in known), None)
        if train is None:
            what = f"expected a split named train, got {short(names)}"
            faults.add(path / "dataset_dict.json", None, what, "open the folder of one split")
            return None
        folders = [path / name for name in (train, val) if name is not None]
    parts = [_part(folder, chosen["column"], chosen["image"], faults) for folder in folders]
    read = [part for part in parts if part is not None]
    if len(read) < len(parts):
        return None
    declared = read[0].names
    found = {tag for part in read for tags in part.tags for tag in tags}
    classes = (
        tuple(dict.fromkeys([*declared, *sorted(found.difference(declared))])) if declared else tuple(sorted(found))
    )
    check_classes(classes, None, folders[0], faults)
    if not classes:
        faults.add(folders[0], None, "expected labels, found none", "name their column: datasets:PATH?column=NAME")
        return None
    position = {name: index for index, name in enumerate(classes)}
    first, *others = [
        SavedImages(
            classes=classes,
            names=tuple(f"{folder.name}-{index:08d}" for index in range(len(part.tags))),
            labels=multi_hot([sorted(position[tag] for tag in tags) for tags in part.tags], len(classes)),
            files=part.files,
            column=part.image,
            rows=part.rows,
        )
        for folder, part in zip(folders, read, strict=True)
    ]
    return Splits(first, others[0] if others else None)


@dataclass(frozen=True)
class _Part:
    """The rows of one split."""

    files: tuple[Path, ...]
    image: str
    names: tuple[str, ...]
    """Names of the classes, if the column has them."""
    tags: list[tuple[str, ...]]
    rows: tuple[tuple[int, int], ...]


def _part(folder: Path, column: str, image: str, faults: Faults) -> _Part | None:
    info, state = folder / "dataset_info.json", folder / "state.json"
    if not exists(info) or not exists(state):
        what = "expected dataset_info.json and state.json, as save_to_disk writes them, found none"
        faults.add(folder, None, what, "open the folder that was given to save_to_disk")
        return None
    before = len(faults.errors)
    features = _field(read_json(info, faults), "features")
    listed = _field(read_json(state, faults), "_data_files")
    if len(faults.errors) > before:
        return None
    names = [each.get("filename") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    files = tuple(folder / name for name in names if isinstance(name, str) and Path(name).name == name)
    if not isinstance(features, dict) or not files:
        faults.add(folder, None, "expected features and data files, found none", "save it again with save_to_disk")
        return None
    images = [name for name, kind in features.items() if _type(kind) == "Image"]
    others = [name for name in features if name not in images]
    image = image or (images[0] if images else "")
    column = column or next((name for known in _COLUMNS for name in others if name.casefold() == known), "")
    if image not in features or column not in features:
        what = f"expected a column of images and one of labels, got {', '.join(map(short, features)) or 'none'}"
        faults.add(info, None, what, "name them: datasets:PATH?image=NAME,column=NAME")
        return None
    declared = _declared(features[column])
    tags: list[tuple[str, ...]] = []
    rows: list[tuple[int, int]] = []
    for number, file in enumerate(files):
        try:
            values = list(_values(_table(file, column)))
            count = len(_table(file, image))
        except InputError as error:
            what, _, remedy = str(error).removeprefix(f"{file}: ").rpartition("; ")
            faults.add(file, None, what, remedy)
            return None
        if count != len(values):
            faults.add(file, None, "its columns differ in length", "save it again with save_to_disk")
            return None
        for row, value in enumerate(values):
            try:
                tags.append(_tags(value, declared))
            except ValueError as error:
                faults.add(file, None, f"row {row}: {error} in {short(column)}", "correct or remove the row")
                tags.append(())
            rows.append((number, row))
    return _Part(files, image, tuple(name for name in declared if name), tags, tuple(rows))


def _field(content: Any, name: str) -> Any:
    return content.get(name) if isinstance(content, dict) else None


def _type(feature: Any) -> str:
    return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def _declared(feature: Any, depth: int = 0) -> tuple[str, ...]:
    """Names of class labels in a feature: its own, those of its items, or of a field that holds the category."""
    if depth > 8:
        return ()
    if isinstance(feature, list) and feature:
        return _declared(feature[0], depth + 1)
    if not isinstance(feature, dict):
        return ()
    if _type(feature) == "ClassLabel":
        names = feature.get("names")
        return tuple(class_of(name) or "" for name in names) if isinstance(names, list) else ()
    if "feature" in feature:
        return _declared(feature["feature"], depth + 1)
    key = next((name for name in _INSIDE if name in feature), None)
    return _declared(feature[key], depth + 1) if key else ()


def _tags(value: Any, declared: Sequence[str]) -> tuple[str, ...]:
    """Labels of a row: numbers of declared classes, texts, lists of these, or objects with categories."""
    if isinstance(value, dict):
        key = next((name for name in _INSIDE if name in value), None)
        if key is None:
            raise ValueError(f"expected objects with categories, got {short(list(value))}")
        return _tags(value[key], declared)
    if isinstance(value, list):
        return tuple(dict.fromkeys(tag for each in value for tag in _tags(each, declared)))
    if is_nothing(value):
        return ()
    index = whole_number(value) if declared and not isinstance(value, str) else None
    if index == -1:  # no label, in datasets
        return ()
    if index is not None and not (0 <= index < len(declared) and declared[index]):
        raise ValueError(f"expected a class from 0 to {len(declared) - 1}, got {short(value)}")
    name = declared[index] if index is not None else class_of(value)
    if name is None:
        raise ValueError(f"expected labels, got {short(value)}")
    return (name,)


def _values(column: Any) -> Iterator[Any]:
    for chunk in column.chunks:
        yield from chunk.to_pylist()


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise InputError("datasets: needs the package pyarrow; pip install 'deft-wsss[datasets]'") from None
    return pyarrow


def _table(file: Path, column: str) -> Any:
    """A column of an arrow file, mapped into memory; each process opens it once."""
    try:
        status = os.stat(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name is no file name"
        raise InputError(f"{file}: not an arrow file ({reason}); save it again") from None
    return _mapped(file, column, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _mapped(file: Path, column: str, *_: int) -> Any:
    pyarrow = _pyarrow()
    try:
        mapped = pyarrow.memory_map(str(file))
        try:
            table = pyarrow.ipc.open_stream(mapped).read_all()
        except pyarrow.ArrowInvalid:
            table = pyarrow.ipc.open_file(pyarrow.memory_map(str(file))).read_all()
        found = table.column(column)
        found.validate(full=True)
    except (pyarrow.ArrowException, OSError, KeyError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise InputError(f"{file}: not an arrow file with a column {column!r} ({reason}); save it again") from None
    return found
