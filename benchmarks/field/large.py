"""Photographs of 24 megapixels and more: read at a bounded size, in bounded memory, with results of full size."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from memory import LIMIT, photograph
from PIL import Image

from field.case import Case, Content, encoded, grey, picture
from field.runs import PHOTOS, Ended, all_of, copied, expected, process, run_words, whole

_WIDE, _LARGEST, _PANORAMA = (4000, 6000), (7680, 10240), (2000, 12000)
"""(H, W) of 24, 79 and 24 megapixels."""
_ALL_SCALES = "seeds.scales=(0.5,1.0,1.5,2.0)"


@cache
def _picture(size: tuple[int, int], kind: str, seed: int, turned: int = 0) -> bytes:
    pixels, _ = photograph(size, seed % 2, np.random.default_rng(seed))
    if kind == "PNG":
        return encoded(Image.fromarray(pixels), "PNG", compress_level=1)
    exif = Image.Exif()
    if turned:
        exif[0x0112] = turned
    return encoded(Image.fromarray(pixels), "JPEG", quality=90, exif=exif)


@cache
def _mask(size: tuple[int, int]) -> bytes:
    values = np.zeros(size, np.uint8)
    values[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 1
    return grey(values)


def _made(make: Callable[..., bytes], *given: object) -> Content:
    """A file that is made when the case is."""
    return lambda path: path.write_bytes(make(*given))


def _bounded(ended: Ended) -> str:
    return "" if ended.peak <= LIMIT * 1e9 else f"took {ended.peak / 1e9:.1f} GB, more than {LIMIT:g}"


def _sizes(folder: Path, **wanted: tuple[int, int]) -> str:
    """Whether masks have the sizes of their photographs."""
    for name, size in wanted.items():
        if not (path := folder / f"{name}.png").is_file():
            return f"{path.name} was not made"
        with Image.open(path) as mask:
            if mask.size != size[::-1]:
                return f"the mask of {name} has {mask.size} pixels instead of {size[::-1]}"
    return ""


def _trained(*settings: str, **wanted: tuple[int, int]) -> Callable[[Path], str]:
    """A run, from the classifier to the predictions, with pseudo-masks as large as the photographs."""

    def wrong(folder: Path) -> str:
        run = folder / "out" / "run"
        ended = process(run_words(folder / "photos", run, "seed_threshold=0.3", *settings))
        return all_of(expected(ended, 0), _bounded(ended), whole(run), _sizes(run / "masks", **wanted))

    return wrong


def _called(words: str, *more: str, said: str = "", **wanted: tuple[int, int]) -> Callable[[Path], str]:
    """A command; ``@`` is the folder of the case, and ``RUN`` a copy of the finished run."""

    def wrong(folder: Path) -> str:
        run = str(copied(folder))
        ended = process([word.replace("RUN", run).replace("@", str(folder)) for word in words.split()])
        return all_of(expected(ended, 0, said), _bounded(ended), _sizes(folder / "out" / "new" / "masks", **wanted))

    return wrong


def _resnet(folder: Path) -> str:
    """Seeds over all scales and flips of a usual network."""
    run = folder / "out" / "run"
    words = run_words(folder / "photos", run, "segment=none", _ALL_SCALES)
    words[words.index("test_resnet")] = "resnet18"
    ended = process([*words, "--max-side", "512"])
    return all_of(expected(ended, 0), _bounded(ended), whole(run), _sizes(run / "masks", x=_WIDE))


def _data(**files: Content) -> dict[str, Content]:
    """The small photographs with large ones beside them; ``x__jpg`` is an image, ``mask__x`` a drawn mask."""
    found = dict(PHOTOS)
    rows = str(found["photos/labels.csv"])
    for name, content in files.items():
        first, _, second = name.partition("__")
        if first == "mask":
            found[f"photos/masks/{second}.png"] = content
        else:
            found[f"photos/images/{first}.{second}"] = content
            rows += f"{first},cow\n"
    return {**found, "photos/labels.csv": rows}


_JPEG = _made(_picture, _WIDE, "JPEG", 1)
CASES: list[Case] = [
    Case("deepcell-tf 288: large photographs", name, files, wrong)
    for name, files, wrong in (
        (
            "JPEGs, all scales",
            _data(x__jpg=_JPEG, y__jpg=_made(_picture, _WIDE, "JPEG", 2)),
            _trained(_ALL_SCALES, x=_WIDE, y=_WIDE),
        ),
        ("a PNG", _data(x__png=_made(_picture, _WIDE, "PNG", 1)), _trained(x=_WIDE)),
        (
            "a panorama",
            _data(x__jpg=_made(_picture, _PANORAMA, "JPEG", 3)),
            _trained(x=_PANORAMA),
        ),
        (
            "turned by EXIF, with a drawn mask",
            _data(x__jpg=_made(_picture, _WIDE, "JPEG", 1, 6), mask__x=_made(_mask, _WIDE[::-1])),
            _trained(x=_WIDE[::-1]),
        ),
    )
]
CASES += [
    Case("Memory of large photographs", name, files, wrong)
    for name, files, wrong in (
        (
            "check, 79 megapixels",
            _data(x__png=_made(_picture, _LARGEST, "PNG", 1), mask__x=_made(_mask, _LARGEST)),
            _called("check folder:@/photos", said="no faults"),
        ),
        ("seeds of ResNet-18", _data(x__jpg=_JPEG), _resnet),
        (
            "predict, 24 megapixels",
            {"photos/x.jpg": _JPEG, "photos/y.png": picture()},
            _called("predict RUN @/photos --out @/out/new", x=_WIDE, y=(12, 16)),
        ),
        (
            "seeds, 79 megapixels",
            {"photos/x.png": _made(_picture, _LARGEST, "PNG", 1)},
            _called("seeds RUN @/photos --out @/out/new"),
        ),
    )
]
