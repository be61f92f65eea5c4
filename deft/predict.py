"""Masks of new photographs from a finished run: ``deft.load("runs/x").predict(image)``."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft.artifacts import atomic_write, file_stem, read_json, save_mask
from deft.contracts import InputError, LabelMap
from deft.data.faults import Faults, refuse
from deft.data.files import ImageFiles, image_files
from deft.data.images import SUFFIXES, read_image
from deft.data.labels import label_matrix, read_label_csv
from deft.engine.infer import device
from deft.report.overlay import overlay
from deft.segment.deeplab import SegmentationNetwork, load_network
from deft.segment.inference import Inference
from deft.settings import restore


class Predictor:
    """A trained segmentation network with the names of its classes; made by :func:`load`."""

    def __init__(self, network: SegmentationNetwork, classes: tuple[str, ...], inference: Inference) -> None:
        self.network = network
        self.classes = classes
        self.inference = inference

    def predict(
        self, image: str | Path | NDArray[np.uint8], tags: tuple[str, ...] | list[str] | None = None
    ) -> LabelMap:
        """Mask of one photograph.

        Args:
            image: a file, or RGB uint8 (H, W, 3), upright.
            tags: names of the classes that may be found; None allows all.

        Returns:
            The mask with class names; ``.found`` names what is in it.

        Raises:
            InputError: the file cannot be read, the array is no RGB image, or a tag is no class of the network.
        """
        pixels = read_image(image) if isinstance(image, str | Path) else np.asarray(image)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise InputError(
                f"expected an image file or RGB uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}; "
                "deft.data.images.read_image reads any file into that form"
            )
        return self.inference.predict(self.network, pixels, self.classes, self._allowed(tags))

    def _allowed(self, tags: tuple[str, ...] | list[str] | None) -> tuple[int, ...] | None:
        if tags is None:
            return None
        unknown = [tag for tag in tags if tag not in self.classes]
        if unknown:
            raise InputError(f"{unknown[0]!r} is no class of this network; it knows {', '.join(self.classes)}")
        return tuple(sorted(self.classes.index(tag) for tag in set(tags)))


def load(run: str | Path, inference: Inference | None = None) -> Predictor:
    """The segmentation network of a run.

    Args:
        run: a run folder, or a saved network (.safetensors).
        inference: scales and flip; None takes those of the run.

    Raises:
        InputError: there is no finished network.
    """
    path = Path(run)
    if path.is_dir():
        path = path / "segment" / "model.safetensors"
        if not path.exists():
            raise InputError(
                f"{run}: expected a finished run with segment/model.safetensors, found none; finish the run with the "
                "command it was begun with, or name another (the recipe may have had no segmentation network)"
            )
    record = path.parent.parent / "run.json"
    if inference is None and record.exists():
        inference = restore(read_json(record)["settings"]["inference"])
    network, classes = load_network(path)
    return Predictor(network.to(device()), classes, inference or Inference())


def predict_folder(run: Path, images: Path, out: Path, tags: Path | None = None) -> int:
    """Write ``masks/`` (palette PNG) and ``overlays/`` (JPEG) for a photograph or a folder of them.

    Photographs are found in folders inside the folder too and keep their place. Masks that are there already are made
    again. Nothing is written beside the photographs.

    Args:
        run: as for :func:`load`.
        images: a folder, or one photograph.
        out: where to write.
        tags: table ``image,labels``; an image it does not name may hold any class.

    Returns:
        The number of photographs.

    Raises:
        InputError: nothing to read, an unreadable photograph (the others are done), or a tag that is no class.
    """
    from tqdm import tqdm

    predictor = load(run)
    found = _photographs(images)
    if out.resolve() == found.root.resolve():
        raise InputError(f"--out {out}: expected another folder than that of the photographs; name a new one")
    allowed = _allowed_by_table(tags, found, predictor.classes) if tags is not None else {}
    unreadable = []
    for index, (path, name) in enumerate(
        zip(tqdm(found.paths, unit="image", desc="predict"), found.names, strict=True)
    ):
        try:
            pixels = read_image(path)
        except InputError as error:
            unreadable.append(str(error))
            continue
        labels = predictor.predict(pixels, allowed.get(index))
        save_mask(out / "masks" / f"{file_stem(name)}.png", labels.mask)
        picture = io.BytesIO()
        Image.fromarray(overlay(pixels, labels.mask, names=labels.classes)).save(picture, format="JPEG", quality=90)
        atomic_write(out / "overlays" / f"{file_stem(name)}.jpg", picture.getvalue())
    if unreadable:
        done = f"{len(found.paths) - len(unreadable)} of {len(found.paths)} photographs are done; these cannot be read:"
        raise InputError("\n".join([done, *unreadable]))
    return len(found.paths)


def _photographs(images: Path) -> ImageFiles:
    """One photograph, or all in a folder."""
    if images.is_file():
        beside = image_files(images.parent)
        if images in beside.paths:
            index = beside.paths.index(images)
            return beside.merged({index: index})
    elif images.is_dir() and (found := image_files(images)).paths:
        return found
    raise InputError(f"{images}: expected a photograph or a folder that holds some ({', '.join(sorted(SUFFIXES))})")


def _allowed_by_table(table: Path, found: ImageFiles, classes: tuple[str, ...]) -> dict[int, tuple[str, ...]]:
    """Tags of the photographs that the table names."""
    if not table.is_file():
        raise InputError(f"--tags {table}: expected a CSV file with the header image,labels; there is no such file")
    faults = Faults()
    rows = read_label_csv(table, classes, faults)
    label_matrix(rows, classes, faults)
    allowed = {}
    for row in rows:
        index = found.find_or_fault(row.name, faults, row.file, row.line)
        if index is not None:
            allowed[index] = row.tags
    refuse(faults.all, str(table))
    return allowed
