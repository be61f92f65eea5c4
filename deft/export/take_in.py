"""``deft import``: masks from another tool into the review of a run.

Everything is read and checked before anything is written. An image whose mask is the run's own is accepted, any other
corrected; images that are not in the files keep what was decided about them.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft.artifacts import file_stem, mask_png
from deft.artifacts.review import ACCEPTED, CORRECTED, Decision
from deft.contracts import BACKGROUND, IGNORE, InputError, Progress
from deft.data.faults import Faults, nearest
from deft.data.files import ImageFiles, expected_images
from deft.data.images import image_sizes, turned_upright
from deft.data.layouts.outlines import Instance, Polygons, draw, require_pycocotools
from deft.data.layouts.photographs import IGNORED, MISSING_REMEDY, Photograph
from deft.export.source import Item, Source
from deft.guards.opening import exists
from deft.guards.words import shown

REFUSE, AS_IGNORE, AS_BACKGROUND = OTHER_CLASSES = ("refuse", "ignore", "background")
_GROUND = frozenset(("background", "__background__", "_background_"))
_BATCH = 256
_SHOWN = 5

Values = Callable[[], tuple[NDArray[np.uint8], Mapping[int, str]]]
"""Reads a mask (H, W): its values, and the name of each that occurs."""


class Found(NamedTuple):
    """The annotation of an image, in a file from another tool: objects, or a mask."""

    image: int
    """Index of the image."""
    file: Path
    photograph: Photograph | None = None
    values: Values | None = None
    keeps_ignored: bool = False
    """The format has no areas to ignore: those of the run's mask stay where no object is."""


Reader = Callable[[Path, ImageFiles, Sequence[str], Faults], list[Found]]
"""Reads a format: path, images of the run, names of its classes, and what collects faults."""


@dataclass(frozen=True)
class TakenIn:
    """What an import has done."""

    accepted: int
    corrected: int
    remarks: tuple[str, ...]
    """About what was left out."""


@dataclass(frozen=True)
class Taking:
    """How files are understood."""

    as_stored: bool = False
    """Masks are of the pixels as stored where the size does not tell whether EXIF was applied."""
    others: str = REFUSE
    """What becomes of classes that the run does not have: ``refuse``, ``ignore`` or ``background``."""
    only: tuple[str, ...] = ()
    """Names of images; empty for all in the files."""


def take_in(
    source: Source, read: Reader, path: Path, taking: Taking | None = None, progress: Progress | None = None
) -> TakenIn:
    """Read files and write their masks into the run's review, all of them or none.

    Args:
        source: the run.
        read: reads the format.
        path: the folder or file.
        taking: how the files are understood.
        progress: called with the number of images read, and their total.

    Raises:
        InputError: the files cannot be read, or do not fit the run: up to five faults, each with its remedy.
    """
    taking = taking or Taking()
    if not exists(path) or not (path.is_dir() or path.is_file()):
        raise InputError(f"{shown(path)}: expected a file or folder to import, found none; correct the path")
    strangers = [name for name in taking.only if name not in source.items]
    if strangers:
        near = nearest(strangers[0], tuple(source.items))
        raise InputError(f"--only {shown(strangers[0])}: expected the name of an image of the run{near}; correct it")
    items = list(source.items.values())
    faults = Faults()
    found = read(path, _images(source, items, path), source.classes, faults)
    remarks = [str(each) for each in faults.all if each.remedy == MISSING_REMEDY]
    _refuse([str(each) for each in faults.errors if each.remedy != MISSING_REMEDY])
    chosen = [each for each in found if not taking.only or items[each.image].name in taking.only]
    if not chosen:
        raise InputError("\n".join([f"{shown(path)}: expected masks of images of the run, found none", *remarks[:1]]))
    things = (one for each in chosen if each.photograph is not None for one in each.photograph.things)
    if any(isinstance(one.outline, Polygons) for one in things):
        require_pycocotools("import")
    named = _Names(source.classes, taking.others)
    wrong: list[str] = []
    pictures: dict[str, bytes] = {}
    for done, each in enumerate(chosen, 1):
        item = items[each.image]
        try:
            mask = _mask(source, item, each, named, taking.as_stored)
        except (ValueError, InputError) as error:
            told = str(error)
            wrong.append(told if isinstance(error, InputError) else f"{shown(each.file)}: {item.name!r}: {told}")
        else:
            pictures[item.name] = mask_png(mask)
        if progress is not None:
            progress(done, len(chosen))
    _refuse([*named.faults(path), *wrong])
    states: Counter[str] = Counter()
    names = list(pictures)
    for start in range(0, len(names), _BATCH):
        decisions = [_decision(source, source.items[name], pictures[name]) for name in names[start : start + _BATCH]]
        source.review.write_all(decisions)
        states.update(each.state for each in decisions)
    return TakenIn(states[ACCEPTED], states[CORRECTED], tuple(remarks))


def _refuse(faults: Sequence[str]) -> None:
    if faults:
        more = [f"... and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        raise InputError("\n".join([*faults[:_SHOWN], *more, "nothing was imported"]))


def _images(source: Source, items: Sequence[Item], path: Path) -> ImageFiles:
    """The images of a run, as if they lay beside what is imported."""
    files = [source.file(item) for item in items]
    suffixes = [".png" if file is None else file.suffix for file in files]
    stems = [file_stem(item.name) for item in items]
    root = path if path.is_dir() else path.parent
    return expected_images(root, [item.name for item in items], stems, suffixes)


class _Names:
    """Mask values of the names in the files; collects those that are no class of the run."""

    def __init__(self, classes: Sequence[str], others: str) -> None:
        self._values = {name: k for k, name in enumerate(classes, 1)} | {IGNORED: IGNORE}
        self._classes, self._others = tuple(classes), others
        self._strangers: Counter[str] = Counter()

    def __getitem__(self, name: str) -> int:
        value = self._values.get(name)
        if value is not None:
            return value
        if name.casefold() in _GROUND or self._others == AS_BACKGROUND:
            return BACKGROUND
        if self._others == REFUSE:
            self._strangers[name] += 1
        return IGNORE

    def faults(self, path: Path) -> list[str]:
        """One for each name."""
        return [
            f"{shown(path)}: {shown(name)!r}, in {count} of the images, is no class of the run"
            f"{nearest(name, self._classes)}; rename it, or choose --other-classes ignore or background"
            for name, count in self._strangers.items()
        ]


def _mask(source: Source, item: Item, found: Found, named: _Names, as_stored: bool) -> NDArray[np.uint8]:
    """The mask of an image, (H, W) as its photograph.

    Raises:
        ValueError: the annotation does not fit the image.
    """
    size = source.size(item)
    turned = _turned(source, item)
    stored = size if turned is None else image_sizes(turned).stored
    if found.values is not None:
        values, names = found.values()
        lookup = np.zeros(256, dtype=np.uint8)
        there = np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist()
        for value in there:
            lookup[value] = named[names[value]]
        return _upright(lookup[values], size, stored, turned, as_stored)
    photograph = found.photograph
    if photograph is None:
        raise AssertionError("an annotation is of objects, or a mask")
    bare = sorted({one.name for one in photograph.things if one.outline is None and not one.tag})
    if bare:
        raise ValueError(
            f"an object of {bare[0]!r} has no outline, only a box, a line or a point; outline it, or remove it"
        )
    instances = [
        Instance(value, one.outline)
        for one in photograph.things
        if one.outline is not None and (value := IGNORE if one.ignored else named[one.name]) != BACKGROUND
    ]
    drawn_on = photograph.size or (stored if as_stored else size)
    if drawn_on not in (size, stored):
        raise ValueError(_other_size(size, drawn_on))
    mask = _upright(draw(instances, drawn_on), size, stored, turned, as_stored)
    before = _own_mask(source, item) if found.keeps_ignored else None
    if before is not None and before.shape == mask.shape:
        mask[(before == IGNORE) & (mask == BACKGROUND)] = IGNORE
    return mask


def _turned(source: Source, item: Item) -> Path | None:
    """The file of a photograph that EXIF turns, and whose mask in the run is upright."""
    path = source.file(item)
    if path is None:
        return None
    sizes = image_sizes(path)
    return path if sizes.turned and source.reads_upright(item) else None


def _upright(
    mask: NDArray[np.uint8], size: tuple[int, int], stored: tuple[int, int], turned: Path | None, as_stored: bool
) -> NDArray[np.uint8]:
    """A mask on the upright photograph, from one on either; its size tells which, unless both have one size."""
    came = (mask.shape[0], mask.shape[1])
    if turned is not None and came == stored and (as_stored or stored != size):
        return turned_upright(mask, turned)
    if came != size:
        raise ValueError(_other_size(size, came))
    return mask


def _other_size(size: tuple[int, int], came: tuple[int, int]) -> str:
    return (
        f"expected a mask of the size of the photograph, {size[1]} x {size[0]}, got {came[1]} x {came[0]}; export it "
        "at full size"
    )


def _own_mask(source: Source, item: Item) -> NDArray[np.uint8] | None:
    """The pseudo-mask of an image, else its prediction, else None."""
    masks = source.own(item)
    return None if masks is None else source.mask(masks, item)


def _decision(source: Source, item: Item, picture: bytes) -> Decision:
    mask = np.array(Image.open(io.BytesIO(picture)), dtype=np.uint8)
    before = _own_mask(source, item)
    same = before is not None and before.shape == mask.shape and bool((before == mask).all())
    row = source.parts[item.part].labels[item.index]
    tags = {source.classes[k] for k in np.flatnonzero(row)}
    shows, showed = _classes_in(source, mask), set() if before is None else _classes_in(source, before)
    now = (tags | shows) - (showed - shows)
    return Decision(
        item.name,
        ACCEPTED if same else CORRECTED,
        mask,
        source.own_digest(item),
        None if now == tags else tuple(name for name in source.classes if name in now),
        what="import",
    )


def _classes_in(source: Source, mask: NDArray[np.uint8]) -> set[str]:
    """Names of the classes in a mask."""
    counts = np.bincount(mask.ravel(), minlength=256)
    return {name for k, name in enumerate(source.classes, 1) if counts[k]}
