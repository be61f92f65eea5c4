"""Files as users bring them: pictures, archives, a COCO release, and maps that another tool made."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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


CATEGORIES = [{"id": 90, "name": "tooth brush"}, {"id": 1, "name": "person"}, {"id": 13, "name": "stop sign"}]
Box = tuple[int, int, int, int]
"""Left, upper, right, lower."""


def polygon(box: Box) -> list[list[int]]:
    left, upper, right, lower = box
    return [[left, upper, right, upper, right, lower, left, lower]]


def run_lengths(box: Box, size: tuple[int, int]) -> dict[str, Any]:
    """Column by column, beginning with zeros, as COCO keeps crowds."""
    mask = np.zeros(size, dtype=np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, len(flat)]).tolist()
    return {"size": list(size), "counts": counts if flat[0] == 0 else [0, *counts]}


def write_coco(root: Path, year: str = "2014", side: tuple[int, int] = (48, 64)) -> Path:
    """Four training images (objects, overlap, crowd with object, nothing) and two to hold out."""
    height, width = side
    person, sign, crowd = (4, 4, 40, 40), (10, 10, 20, 18), (30, 0, 64, 48)
    scenes: dict[str, list[list[tuple[int, Box, bool]]]] = {
        "train": [
            [(1, person, False)],
            [(13, sign, False), (1, person, False)],
            [(1, crowd, True), (90, sign, False)],
            [],
        ],
        "val": [[(13, person, False)], [(1, crowd, True)]],
    }
    (root / "annotations").mkdir(parents=True)
    for part, listed in scenes.items():
        folder = root / f"{part}{year}"
        folder.mkdir()
        images, annotations = [], []
        for number, objects in enumerate(listed, 1):
            name = f"COCO_{part}{year}_{number:012d}.jpg"
            pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name)
            images.append({"id": number, "file_name": name, "height": height, "width": width})
            for category, box, many in objects:
                outline = run_lengths(box, side) if many else polygon(box)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": category,
                        "iscrowd": int(many),
                        "segmentation": outline,
                    }
                )
        content = {"images": images[::-1], "annotations": annotations, "categories": CATEGORIES}
        (root / "annotations" / f"instances_{part}{year}.json").write_text(json.dumps(content))
    return root


def save_noise(path: Path, size: tuple[int, int] = (40, 60), orientation: int = 1) -> Path:
    """A photograph of (H, W) stored pixels, with an EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (*size, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def tags_of(data: Dataset) -> dict[str, list[str]]:
    """The classes of each image, by its name."""
    return {
        name: [data.classes[k] for k in np.flatnonzero(row)] for name, row in zip(data.names, data.labels, strict=True)
    }


def mask_of(data: Dataset, name: str) -> np.ndarray:
    """The mask of an image that has one."""
    mask = data[data.names.index(name)].mask
    assert mask is not None
    return mask
