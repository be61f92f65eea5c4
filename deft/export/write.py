"""``deft export``: masks of a run for another tool, with their photographs."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from deft.artifacts import OutFolder, file_stem
from deft.artifacts.out_folder import RECORD
from deft.contracts import InputError, Progress
from deft.data.files import files_below
from deft.data.images import image_sizes
from deft.data.opening import places
from deft.export.picture import Picture, Place, Style, Writer
from deft.export.source import Choice, Item, Source
from deft.guards.opening import read_regular
from deft.guards.words import shown

_COPIED = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp"))
"""Suffixes of photographs that are copied as they are; others become PNG, which every tool reads."""
_JPEG = frozenset((".jpg", ".jpeg"))
_LARGEST = 1024**3


def export(
    source: Source,
    make: Callable[[Style], Writer],
    out: Path,
    style: Style,
    choice: Choice | None = None,
    *,
    photographs: bool = True,
    progress: Progress | None = None,
) -> int:
    """Write masks and photographs.

    Args:
        source: the run.
        make: makes the writer of the format.
        out: a new folder, or one with the same export, which is written again.
        style: how masks are written.
        choice: which masks of which images; all pseudo-masks if None.
        photographs: copy them too.
        progress: called with the number of images done, and their total.

    Returns:
        The number of masks.

    Raises:
        InputError: there are no such masks, a mask or a photograph is damaged, or ``out`` cannot be used.
    """
    choice = choice or Choice()
    items = source.chosen(choice)
    writer = make(style)
    planned = {item.name: _place(source, item) for item in items}
    names: list[str] = []
    for place in planned.values():
        names += [*([writer.image(place)] if photographs else []), *writer.beside(place)]
    names += writer.whole({place.part for place in planned.values()})
    _refuse_equal(names)
    folder = OutFolder(out, [source.run, *places(source.splits, source.given)], names)
    _refuse_others(out, set(names))
    for done, item in enumerate(items, 1):
        place, mask = planned[item.name], source.mask(choice.masks, item)
        files = writer.add(Picture(place, mask, source.tags(item)))
        if photographs:
            content, size = photograph(source, item)
            if size != mask.shape:
                raise InputError(
                    f"{shown(item.name)!r}: its mask has {mask.shape[1]} x {mask.shape[0]} pixels, its photograph "
                    f"{size[1]} x {size[0]}; put the photograph of the run back"
                )
            folder.write(writer.image(place), content)
        for name, text in files.items():
            folder.write(name, text)
        if progress is not None:
            progress(done, len(items))
    for name, content in writer.finish().items():
        folder.write(name, content)
    return len(items)


def photograph(source: Source, item: Item) -> tuple[bytes, tuple[int, int]]:
    """A photograph that looks the same to tools that apply EXIF and to those that do not, and its size (H, W).

    The file itself, unless EXIF turns it or few tools read it: then its pixels, upright, without EXIF.
    """
    path, suffix = source.file(item), _suffix(source, item)
    if path is not None and path.suffix.lower() in _COPIED:
        sizes = image_sizes(path)
        if not sizes.turned:
            return read_regular(path, _LARGEST), sizes.stored
    pixels = source.parts[item.part][item.index].image
    buffer = io.BytesIO()
    if suffix.lower() in _JPEG:
        Image.fromarray(pixels).save(buffer, format="JPEG", quality=95, subsampling=0)
    else:
        Image.fromarray(pixels).save(buffer, format="BMP" if suffix.lower() == ".bmp" else "PNG")
    return buffer.getvalue(), (pixels.shape[0], pixels.shape[1])


def _suffix(source: Source, item: Item) -> str:
    """The suffix of a photograph's file in the export."""
    path = source.file(item)
    if path is None or path.suffix.lower() not in _COPIED:
        return ".png"
    turned = path.suffix.lower() == ".webp" and image_sizes(path).turned
    return ".png" if turned else path.suffix


def _place(source: Source, item: Item) -> Place:
    return Place(file_stem(item.name), _suffix(source, item), item.part)


def _refuse_equal(names: list[str]) -> None:
    """Refuse paths that are equal on a disk that does not tell capitals apart, such as those of two splits."""
    seen: dict[str, str] = {}
    for name in names:
        if name.casefold() in seen:
            raise InputError(
                f"two images would be written to {shown(name)!r}; export them one after the other, with --only"
            )
        seen[name.casefold()] = name


def _refuse_others(out: Path, names: set[str]) -> None:
    """Refuse a folder with other files: a tool would read them as part of the export."""
    for path in _files(out):
        name = path.relative_to(out).as_posix()
        if name not in names and name != RECORD and not path.name.startswith(".part-"):
            raise InputError(
                f"--out {shown(out)}: expected a new folder, or the same export again, got one with other files, "
                f"{shown(name)!r} for one; name a new folder"
            )


def _files(out: Path) -> Iterator[Path]:
    if out.is_dir():
        yield from files_below(out)
