"""The archive for PASCAL VOC 2012's test server, and a check that refuses what the server would refuse.

::

    results/VOC2012/Segmentation/comp6_test_cls/NAME.png     one for each name in ImageSets/Segmentation/test.txt

comp5 is for networks that saw images of VOC alone, comp6 for all others. Each mask is an indexed 8-bit PNG of the size
of its image with values 0 to 20, classes in VOC's order. Submissions fail nearly always by folder, mode, size or name.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from deft.artifacts import MADE, RunFolder, atomic_write, file_stem, load_mask, mask_png, read_run, save_mask
from deft.artifacts.record import stage_key
from deft.contracts import InputError, Sample
from deft.data.faults import Faults, refuse
from deft.data.files import image_files
from deft.data.images import Scaled, image_size
from deft.data.layouts.file_dataset import FileDataset
from deft.data.layouts.name_lists import read_names
from deft.data.layouts.voc import VOC_CLASSES
from deft.data.places import places_of
from deft.data.working_size import working_size
from deft.engine.infer import for_each
from deft.guards.opening import exists, open_regular
from deft.guards.output import check_out, refuse_link
from deft.guards.words import shown
from deft.predict.masks import load
from deft.settings import key_of

COMPETITIONS = (5, 6)
_MEMBER = re.compile(r"(?:\./)?results/VOC2012/Segmentation/comp([56])_test_cls/([^/]+)\.png")
_LARGEST = 16_000_000
"""Maximum bytes read of one PNG; an archive may claim any size."""
_SHOWN = 10


def submit(run: Path, out: Path, comp: int, images: FileDataset) -> int:
    """Predict the test images and write the archive; masks that an earlier call made are kept.

    Args:
        run: a finished run folder, with a segmentation network for VOC's 20 classes.
        out: the archive, .tar.gz or .tgz; written only when a reader finds no fault in it.
        comp: 5 or 6.
        images: those of the test list, see :func:`listed_images`.

    Returns:
        The number of masks.

    Raises:
        InputError: the run has no network, or one of other classes, or the archive would be refused.
    """
    if not out.name.endswith((".tar.gz", ".tgz")):
        raise InputError(f"--out {out}: the server takes .tar.gz or .tgz; name the archive so")
    _folder(comp)
    check_out(out, places_of(images.images), folder=False)
    _refuse_foreign(out)
    predictor = load(run)
    if predictor.classes != VOC_CLASSES:
        raise InputError(
            f"{run}: expected a network for VOC's 20 classes, aeroplane to tvmonitor in its order, got "
            f"{', '.join(predictor.classes)}; train on voc:VOC2012 without a classes.txt"
        )
    record, made = run / "run.json", run / "segment" / "stage.json"
    if not exists(record) or not exists(made):
        raise InputError(f"{run}: expected a run folder, with run.json; give the folder that deft run wrote")
    folder = RunFolder(run, read_run(run))
    try:
        photographs = working_size(images, predictor.max_side)
        stage = folder.stage(
            "submission", key_of("submission", predictor.inference, stage_key(made), photographs.fingerprint())
        )
        paths = [stage.folder / f"{file_stem(name)}.png" for name in images.names]
        if not stage.done:
            with stage.making():

                def work(index: int, sample: Sample) -> None:
                    read = Scaled(sample.image, sample.full_size)
                    save_mask(paths[index], predictor.mask_of(read).mask, stage.key)

                missing = [index for index, path in enumerate(paths) if not path.exists()]
                for_each(photographs, missing, work, title="test images")
            if exists(run / MADE):
                folder.seal()
        packed = pack(dict(zip(images.names, paths, strict=True)), comp)
    finally:
        folder.close()
    faults = faults_of(io.BytesIO(packed), sizes_of(images), comp)
    if faults:
        raise InputError("\n".join([f"--out {out}: not written, the server would refuse it:", *faults]))
    atomic_write(out, packed)
    return len(paths)


def _refuse_foreign(out: Path) -> None:
    """Refuse to write over a file that is no archive of masks for the server."""
    if not exists(out):
        return
    refuse_link(out)
    try:
        with open_regular(out) as file, tarfile.open(fileobj=file, mode="r:gz") as archive:
            first = archive.next()
        known = first is not None and _MEMBER.fullmatch(first.name) is not None
    except (tarfile.TarError, OSError, EOFError, zlib.error):
        known = False
    if not known:
        raise InputError(f"--out {shown(out)}: expected a new file, got one that deft did not make; name another")


def _folder(comp: int) -> str:
    if comp not in COMPETITIONS:
        raise InputError(f"--comp {comp}: expected 5 (images of VOC alone) or 6 (any)")
    return f"results/VOC2012/Segmentation/comp{comp}_test_cls"


def pack(masks: Mapping[str, Path], comp: int) -> bytes:
    """The archive of masks, palette PNGs by image name; equal masks make equal bytes.

    Raises:
        InputError: ``comp`` is neither 5 nor 6.
    """
    place = _folder(comp)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(masks):
            content = mask_png(load_mask(masks[name]))
            entry = tarfile.TarInfo(f"{place}/{name}.png")
            entry.size = len(content)  # times, owners and rights stay at their defaults, the same on every machine
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def check_archive(path: Path, images: FileDataset, comp: int | None = None) -> None:
    """Refuse an archive that the server would refuse; arguments as for :func:`faults_of`.

    Raises:
        InputError: lists its faults.
    """
    with open_regular(path) as file:
        faults = faults_of(file, sizes_of(images), comp)
    if faults:
        raise InputError("\n".join([f"{path}: the server would refuse it:", *faults]))


def faults_of(file: IO[bytes], sizes: Mapping[str, tuple[int, int]], comp: int | None = None) -> list[str]:
    """What the server would refuse; nothing is unpacked.

    Args:
        file: a .tar.gz.
        sizes: (H, W) of each test image, by name.
        comp: 5 or 6; None takes the first that the archive holds.

    Returns:
        Faults, the first ten spelled out; empty for a good archive.
    """
    faults: list[str] = []
    seen: set[str] = set()
    try:
        with tarfile.open(fileobj=file, mode="r:gz") as archive:
            for member in archive:
                if member.isdir():
                    continue
                match = _MEMBER.fullmatch(member.name)
                if not member.isfile():
                    faults.append(f"{member.name}: neither a file nor a folder; pack plain files")
                elif match is None or (comp or int(match[1])) != int(match[1]):
                    wanted = f"comp{comp}" if comp else "comp5 or comp6"
                    faults.append(f"{member.name}: expected results/VOC2012/Segmentation/{wanted}_test_cls/NAME.png")
                elif match[2] not in sizes:
                    faults.append(f"{member.name}: no image of that name in the test list")
                elif match[2] in seen:
                    faults.append(f"{member.name}: there twice")
                else:
                    comp = int(match[1])
                    seen.add(match[2])
                    content = archive.extractfile(member)
                    data = b"" if content is None or member.size > _LARGEST else content.read()
                    faults += [f"{member.name}: {what}" for what in _png_faults(data, sizes[match[2]])]
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        faults.append(f"no archive .tar.gz that can be read to its end ({error})")
    faults += [f"{name}.png is missing" for name in sizes if name not in seen]
    return faults[:_SHOWN] + ([f"... and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else [])


def _png_faults(data: bytes, size: tuple[int, int]) -> list[str]:
    """The first fault of one mask, if any: kind, size or values, checked in that order."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 33:
        return ["no PNG"]
    if (data[24], data[25]) != (8, 3):
        return ["expected an indexed PNG of 8 bits; save class numbers with a palette, not colours"]
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if (height, width) != size:
        return [f"{width} x {height} pixels, its image has {size[1]} x {size[0]}"]
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            highest = int(np.asarray(image).max())
    except (OSError, SyntaxError, ValueError) as error:
        return [f"damaged ({error})"]
    return [f"holds {highest}, expected 0 to {len(VOC_CLASSES)}"] if highest > len(VOC_CLASSES) else []


def sizes_of(images: FileDataset) -> dict[str, tuple[int, int]]:
    """(H, W) of each image by name, from headers alone."""
    return {name: image_size(path) for name, path in zip(images.names, images.images, strict=True)}


def listed_images(data: str, folder: Path | None = None, ids: Path | None = None) -> FileDataset:
    """The images to submit: those of ``voc:PATH``'s test list, or of any folder and list.

    Args:
        data: ``voc:PATH``, read where no folder is given.
        folder: of images, with ``ids``.
        ids: names, one per line.

    Raises:
        InputError: a list or an image is missing, or only one of folder and list is given.
    """
    if (folder is None) != (ids is None):
        raise InputError("--images and --ids belong together: the folder of images, and the list of their names")
    if folder is None or ids is None:
        kind, _, place = data.partition(":")
        if kind != "voc" or not place:
            raise InputError(f"expected data voc:PATH, got {data!r}; give --data voc:PATH, or --images and --ids")
        root = Path(place).expanduser()
        folder, ids = root / "JPEGImages", root / "ImageSets" / "Segmentation" / "test.txt"
    if not exists(ids) or not os.path.isdir(folder):
        missing = ids if os.path.isdir(folder) else folder
        raise InputError(
            f"{missing}: expected the test images and their list, there is none; VOC's test set is a download of its "
            "own, to be unpacked over the other"
        )
    faults, files = Faults(), image_files(folder)
    found = [(name, files.find_or_fault(name, faults, ids, line)) for line, name in read_names(ids, faults)]
    refuse(faults.all, str(ids))
    known = {name: files.paths[index] for name, index in found if index is not None}
    count = len(known)
    return FileDataset(
        classes=VOC_CLASSES,
        names=tuple(known),
        images=tuple(known.values()),
        labels=np.zeros((count, len(VOC_CLASSES)), dtype=np.bool_),
        masks=(None,) * count,
        scored=np.zeros(count, dtype=np.bool_),
    )
