"""Masks of new photographs from a finished run: ``deft.load("runs/x").predict(image)``."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft.artifacts import HASHES, OutFolder, damages, file_stem, mask_png, or_newest_run, read_json
from deft.artifacts.record import run_record
from deft.contracts import InputError, LabelMap
from deft.data.files import ImageFiles
from deft.data.images import Scaled, read_scaled
from deft.data.layouts.entries import Entry, image_of
from deft.data.scaling import MAX_SIDE, resized_mask, shrunk
from deft.data.windows import InMemory, WindowedPhotograph, opened
from deft.engine.infer import device
from deft.engine.precision import AUTO, EXACT, choose
from deft.engine.ray_engine import Call, Ray
from deft.engine.stream import device_lock
from deft.guards.opening import exists
from deft.predict.photographs import Files, Work, for_photographs, photographs, reads, tag_indices, tags_of_files
from deft.predict.saved import HUB, checked_side, fetched, is_saved, network_in, saved_inference, saved_side
from deft.predict.shards import EntryTags, EntryWork, Streamed, digest, stream
from deft.report.overlay import overlay
from deft.segment.deeplab import SegmentationNetwork, load_network
from deft.segment.inference import Inference
from deft.segment.tiles import Segmentation, Tiles
from deft.settings import plain, restore

RECORDED = 0
"""Value of ``max_side`` that takes the one that a run was made with."""


class Predictor:
    """A trained segmentation network with the names of its classes; made by :func:`load`."""

    def __init__(
        self,
        network: SegmentationNetwork,
        classes: tuple[str, ...],
        inference: Inference,
        precision: str = EXACT,
        max_side: int | None = MAX_SIDE,
    ) -> None:
        self.network = network
        self.classes = classes
        self.inference = inference
        self.precision = precision
        self.max_side = max_side
        """Longer side at which photographs are read; None reads them as they are."""

    def predict(
        self,
        image: str | Path | NDArray[np.uint8],
        tags: tuple[str, ...] | list[str] | None = None,
        tiles: Tiles | None = None,
    ) -> LabelMap:
        """Mask of one photograph.

        Args:
            image: a file, or RGB uint8 (H, W, 3), upright.
            tags: names of the classes that may be found; None allows all.
            tiles: segment it at its own resolution, whatever ``max_side``; None does not.

        Returns:
            The mask, as large as the photograph, with class names; ``.found`` names what is in it.

        Raises:
            InputError: the file cannot be read, the array is no RGB image, or a tag is no class of the network.
        """
        if tiles is None:
            return self.mask_of(photograph(image, self.max_side), tags)
        if isinstance(image, str | Path):
            with opened(Path(image), self.finest(tiles)) as source:
                return self.in_tiles(source, tiles, tags).label_map(self.classes)
        whole = InMemory(photograph(image, None).pixels)
        return self.in_tiles(WindowedPhotograph(whole, whole.size), tiles, tags).label_map(self.classes)

    def in_tiles(
        self,
        source: WindowedPhotograph,
        tiles: Tiles,
        tags: tuple[str, ...] | list[str] | None = None,
        progress: Callable[[], object] | None = None,
    ) -> Segmentation:
        """Tiles of a photograph that is read in windows; otherwise as :meth:`predict`."""
        allowed = None if tags is None else tag_indices(tags, self.classes)
        how = (tiles, self.inference, allowed, self.precision, progress)
        return Segmentation(self.network, source.view, source.size, *how)

    def finest(self, tiles: Tiles) -> float:
        """The largest fraction of its resolution at which a photograph is looked at in tiles."""
        return tiles.scale * max(self.inference.scales)

    def mask_of(self, read: Scaled, tags: tuple[str, ...] | list[str] | None = None) -> LabelMap:
        """Mask of a photograph that has been read; otherwise as :meth:`predict`."""
        allowed = None if tags is None else tag_indices(tags, self.classes)
        return self.inference.predict(self.network, read.pixels, self.classes, allowed, self.precision, read.size)


def load(
    run: str | Path, inference: Inference | None = None, precision: str = AUTO, max_side: int | None = RECORDED
) -> Predictor:
    """The segmentation network of a run.

    Args:
        run: a run folder, a saved network (.safetensors), the folder of an exported model, or ``hub:OWNER/NAME``, such
            a folder on the hub, which is downloaded.
        inference: scales and flip; None takes those of the run.
        precision: ``auto`` takes the fastest that does no harm on this machine, ``32-true`` is exact,
            see :mod:`deft.engine.precision`.
        max_side: longer side at which photographs are read; 0 takes that of the run, None reads them as they are.

    Raises:
        InputError: there is no finished network.
    """
    path = network_file(run)
    inference = inference or inference_of(path)
    refuse_changed(path)
    network, classes = load_network(path)
    return Predictor(network.to(device()), classes, inference, settled(precision), reading_side(path, max_side))


def settled(precision: str) -> str:
    """A precision with ``auto`` settled for this machine; the workers of a command take the same one."""
    return choose(device()) if precision == AUTO else precision


def inference_of(network: Path) -> Inference:
    """The settings of inference recorded beside a saved network or in its run; the default ones if there are none."""
    if is_saved(network.parent):
        return saved_inference(network.parent)
    run = network.parent.parent
    if not exists(run / "run.json"):
        return Inference()
    found = restore(run_record(run, "settings")["settings"].get("inference"))
    if not isinstance(found, Inference):
        raise InputError(f"{run}: expected settings of inference in its run.json; repeat the deft run command")
    return found


def reading_side(network: Path, max_side: int | None) -> int | None:
    """``max_side`` with 0 replaced by the one beside a saved network or of its run; by the default one without both."""
    if max_side != RECORDED:
        return max_side
    if is_saved(network.parent):
        return saved_side(network.parent)
    run = network.parent.parent
    return recorded_side(run) if exists(run / "run.json") else MAX_SIDE


def recorded_side(run: Path) -> int | None:
    """The longer side at which a run has read its photographs; None for one that has read them as they are.

    Raises:
        InputError: the record holds something else.
    """
    side = run_record(run, "settings")["settings"].get("max_side")  # earlier versions had no bound
    return checked_side(side, run / "run.json", "repeat the deft run command")


def refuse_changed(path: Path) -> None:
    """Refuse a network of a run that is not the one that was trained there.

    Raises:
        InputError: the file was damaged or replaced since.
    """
    stage = path.parent / "stage.json"
    record = read_json(stage) if exists(stage) else {}
    made = record.get(HASHES) if isinstance(record, dict) else None
    if isinstance(made, dict) and path.name in made:
        for damage in damages(path.parent, {path.name: made[path.name]}):
            raise InputError(f"{damage}; repeat the deft run command, which trains it again")


def network_file(run: str | Path) -> Path:
    """The saved network of a run folder, of an exported model or of one on the hub, or the file itself.

    Raises:
        InputError: the folder holds no finished network, or the model cannot be downloaded.
    """
    name = run if isinstance(run, str) else run.as_posix()
    path = fetched(name) if name.startswith(HUB) else Path(run)
    if path.is_dir():
        if is_saved(path):
            return network_in(path)
        network = path / "segment" / "model.safetensors"
        if not network.exists():
            remedy = (
                "finish the run with the command it was begun with, or name another (the recipe may have had no "
                "segmentation network)"
            )
            raise InputError(
                f"{run}: expected a finished run with segment/model.safetensors, found none; "
                f"{or_newest_run(path, remedy)}"
            )
        return network
    return path


def photograph(image: str | Path | NDArray[np.uint8], max_side: int | None) -> Scaled:
    """A photograph that is given as a file or as pixels, scaled down to at most ``max_side``.

    Raises:
        InputError: the file cannot be read, or the array is no RGB image.
    """
    if isinstance(image, str | Path):
        return read_scaled(image, max_side)
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InputError(
            f"expected an image file or RGB uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}; "
            "deft.data.images.read_image reads any file into that form"
        )
    return Scaled(shrunk(pixels, max_side), (pixels.shape[0], pixels.shape[1]))


def predict_folder(
    run: Path,
    images: Path,
    out: Path,
    tags: Path | None = None,
    precision: str = AUTO,
    max_side: int | None = RECORDED,
    ray: Ray | None = None,
) -> int:
    """Write ``masks/`` (palette PNG) and ``overlays/`` (JPEG) for a photograph or a folder of them.

    Masks are as large as the photographs, overlays as large as these are read.

    Photographs are found in folders inside the folder too and keep their place. Masks that are there already are made
    again. Nothing is written beside the photographs.

    Args:
        run: as for :func:`load`.
        images: a folder, or one photograph.
        out: where to write.
        tags: table ``image,labels``; an image it does not name may hold any class.
        precision: as for :func:`load`.
        max_side: as for :func:`load`.
        ray: a cluster that does the work; it has to see the run and the photographs. None does it here.

    Returns:
        The number of photographs.

    Raises:
        InputError: nothing to read, an unreadable photograph (the others are done), or a tag that is no class.
    """
    found = photographs(images, tell=True)
    names = [name for stem in map(file_stem, found.names) for name in (f"masks/{stem}.png", f"overlays/{stem}.jpg")]
    made = OutFolder(out, reads(images, found, tags), names)
    side = reading_side(network_file(run), max_side)
    work = Call.of(masks_of, run=run, tags=tags, precision=settled(precision), max_side=side)
    return for_photographs(found, images, work, made, "predict", side, ray)


def masks_of(run: Path, found: ImageFiles, tags: Path | None, precision: str, max_side: int | None) -> Work:
    """Mask and picture of the photograph of an index in ``found``; for the rest see :func:`predict_folder`."""
    predictor = load(run, precision=precision, max_side=max_side)
    allowed = tags_of_files(tags, found, predictor.classes)
    turn = device_lock()

    def work(index: int, read: Scaled) -> Files:
        with turn:
            labels = predictor.mask_of(read, allowed.get(index))
        stem = file_stem(found.names[index])
        return {f"masks/{stem}.png": mask_png(labels.mask), f"overlays/{stem}.jpg": overlay_jpg(read.pixels, labels)}

    return work


def predict_shards(
    run: Path,
    shards: str,
    out: Path,
    tags: Path | None = None,
    tags_from: str = "",
    overlays: bool = False,
    precision: str = AUTO,
    max_side: int | None = RECORDED,
    ray: Ray | None = None,
) -> Streamed:
    """Write a shard of masks for each shard of photographs, ``<key>.png`` and, where asked for, ``<key>.jpg``.

    No more than a few photographs are in memory at a time, and none becomes a file. Shards that are in ``out`` already
    are kept.

    Args:
        run: as for :func:`load`.
        shards: ``shards:PATTERN``, see :func:`deft.data.layouts.shards.shard_paths`.
        out: folder of the results.
        tags: table ``image,labels`` by key; an image it does not name may hold any class.
        tags_from: suffix of the member that holds each image's tags, ``json`` for one; instead of ``tags``.
        overlays: write pictures to look at beside the masks.
        precision: as for :func:`load`.
        max_side: as for :func:`load`.
        ray: a cluster that does the work, a shard at a time; its machines have to see the run, the shards and ``out``.

    Raises:
        InputError: nothing to read, or photographs that cannot be used (the others are done).
    """
    precision = settled(precision)
    side = reading_side(network_file(run), max_side)
    made_from = {
        "network": digest(network_file(run)),
        "inference": plain(inference_of(network_file(run))),
        "precision": precision,
        "max_side": side,
        "tags": digest(tags),
        "tags from": tags_from,
        "overlays": overlays,
    }
    work = Call.of(
        masks_of_entries,
        run=run,
        tags=tags,
        tags_from=tags_from,
        overlays=overlays,
        precision=precision,
        max_side=side,
    )
    return stream(shards, out, work, made_from, "predict", tags, ray)


def masks_of_entries(
    run: Path, tags: Path | None, tags_from: str, overlays: bool, precision: str, max_side: int | None
) -> EntryWork:
    """Results of one entry of a shard; arguments and errors as for :func:`predict_shards`."""
    predictor = load(run, precision=precision, max_side=max_side)
    known = EntryTags.given(tags, tags_from, predictor.classes)
    turn = device_lock()

    def work(entry: Entry) -> Files:
        read, allowed = image_of(entry, predictor.max_side), known.of(entry)
        with turn:
            labels = predictor.mask_of(read, allowed)
        files = {"png": mask_png(labels.mask)}
        return files | {"jpg": overlay_jpg(read.pixels, labels)} if overlays else files

    return EntryWork(work, known.suffix)


def overlay_jpg(pixels: NDArray[np.uint8], labels: LabelMap) -> bytes:
    """JPEG of a mask drawn over its photograph (h, w, 3), which may be scaled down."""
    picture = io.BytesIO()
    mask = resized_mask(labels.mask, (pixels.shape[0], pixels.shape[1]))
    Image.fromarray(overlay(pixels, mask, names=labels.classes)).save(picture, format="JPEG", quality=90)
    return picture.getvalue()
