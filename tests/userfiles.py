"""Files as users bring them: pictures, archives, and maps that another tool made."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from deft.artifacts import file_stem
from deft.contracts import Dataset


def picture(colour: tuple[int, int, int] = (10, 200, 30), kind: str = "PNG") -> bytes:
    """A picture file of 6 x 4 pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), colour).save(buffer, format=kind)
    return buffer.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """An archive of these members, in this order; a name may come twice."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_maps(folder: Path, data: Dataset, kind: str = "npz", scale: float = 1.0) -> Path:
    """Maps that are the truth of each image, at its size, as another tool would make them; returns the folder.

    Args:
        folder: where they go.
        data: images with masks.
        kind: ``npz``, one archive an image, or ``png``, a folder an image with a picture a class.
        scale: the value of a map where its class is.
    """
    for index, name in enumerate(data.names):
        sample = data[index]
        tags = np.flatnonzero(sample.labels)
        maps = [(sample.mask == k + 1).astype(np.float32) * scale for k in tags]
        path = folder / file_stem(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "npz" and len(tags):
            np.savez_compressed(f"{path}.npz", classes=[data.classes[k] for k in tags], maps=np.stack(maps))
        elif kind == "png":
            for k, array in zip(tags, maps, strict=True):
                path.mkdir(exist_ok=True)
                Image.fromarray((array * 255).astype(np.uint8)).save(path / f"{data.classes[k]}.png")
    return folder
