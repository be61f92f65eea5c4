"""Seeds of new photographs from a finished run: where its seed method finds the classes.

::

    locator = deft.load_locator("runs/x")
    seeds = locator.locate("photo.jpg", tags=["dog"])   # maps in [0, 1], one for each tag
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import OutFolder, file_stem, seeds_npz
from deft.artifacts.record import run_record, stage_key
from deft.backbone import build_backbone
from deft.classify.classifier import load_classifier
from deft.contracts import InputError, ReadsFiles, Sample, SeedMaps
from deft.data.files import ImageFiles
from deft.data.images import Scaled
from deft.data.labels import multi_hot
from deft.data.layouts.entries import Entry, image_of
from deft.data.scaling import MAX_SIDE
from deft.engine.method import MethodContext, SeedMethod, ZeroShot, learning
from deft.engine.precision import AUTO
from deft.engine.ray_engine import Call, Ray
from deft.engine.stream import device_lock
from deft.guards.opening import exists
from deft.predict.masks import RECORDED, photograph, recorded_side, refuse_changed, settled
from deft.predict.photographs import Files, Work, for_photographs, photographs, reads, tag_indices, tags_of_files
from deft.predict.shards import EntryTags, EntryWork, Streamed, digest, stream
from deft.seeds.cam import Cam
from deft.seeds.frozen import FrozenCam
from deft.settings import plain, restore

PRESENT = 0.5
"""Default probability above which a class counts as present in a photograph without tags."""
_MODEL = "model.safetensors"
_WEIGHTS = ("classifier", "localiser")
"""Stages with the weights that seeds need; the second only for methods that train beyond the classifier."""


class Locator:
    """The seed method of a run with the names of its classes; made by :func:`load_locator`."""

    def __init__(
        self,
        seeds: Callable[[Sample], SeedMaps | None],
        scores: Callable[[Sample], SeedMaps] | None,
        classes: tuple[str, ...],
        present: float = PRESENT,
        max_side: int | None = MAX_SIDE,
    ) -> None:
        """Wrap the function that a seed method prepared.

        Args:
            seeds: maps of one image for its tags.
            scores: the probability of every class, with whatever maps; None for seeds that have it themselves.
            classes: names of the K classes.
            present: probability above which a class is present in an image without tags.
            max_side: longer side at which photographs are read; None reads them as they are.
        """
        self.seeds = seeds
        self.scores = scores
        self.classes = classes
        self.present = present
        self.max_side = max_side

    def locate(
        self, image: str | Path | NDArray[np.uint8], tags: tuple[str, ...] | list[str] | None = None
    ) -> SeedMaps:
        """Maps of the classes in one photograph.

        Args:
            image: a file, or RGB uint8 (H, W, 3), upright.
            tags: names of the classes that are in it; None takes those that the classifier finds.

        Returns:
            Maps in [0, 1] on the grid of stride 4 of the image as it is read, one for each class, with the classifier's
            probabilities; :func:`deft.seedmaps.enlarged` enlarges them to the photograph.

        Raises:
            InputError: the file cannot be read, the array is no RGB image, or a tag is no class of the run.
        """
        return self.seeds_of(photograph(image, self.max_side), tags)

    def seeds_of(self, read: Scaled, tags: tuple[str, ...] | list[str] | None = None) -> SeedMaps:
        """Maps of a photograph that has been read; otherwise as :meth:`locate`."""
        pixels = read.pixels
        none = np.zeros(len(self.classes), dtype=np.bool_)
        if tags is None:
            scored = (self.scores or self.seeds)(Sample("", pixels, none))
            labels = np.asarray(scored.scores if scored else ()) > self.present
        else:
            labels = multi_hot([tag_indices(tags, self.classes)], len(self.classes))[0]
        found = self.seeds(Sample("", pixels, labels))
        if found is None:
            raise AssertionError("seeds that are read from files are refused before")
        return found if pixels.shape[:2] == read.size else replace(found, photograph=read.size)


class _NoImages:
    """An empty dataset with class names, for a method that is already trained."""

    contexts: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    context_labels = None

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.labels = np.zeros((0, len(classes)), dtype=np.bool_)
        self.scored = np.zeros(0, dtype=np.bool_)
        self.groups: dict[str, NDArray[np.bool_]] = {}

    def fingerprint(self) -> str:
        return ""

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> Sample:
        raise IndexError(index)


def load_locator(run: str | Path, precision: str = AUTO, max_side: int | None = RECORDED) -> Locator:
    """The seed method of a run, with what it has learned.

    Args:
        run: a run folder with a trained classifier, or whose seeds need none.
        precision: ``auto`` takes the fastest that does no harm on this machine, ``32-true`` is exact,
            see :mod:`deft.engine.precision`.
        max_side: longer side at which photographs are read; 0 takes that of the run, None reads them as they are.

    Raises:
        InputError: the run has not come as far as its seeds, has no classifier, or its seeds are files of the user.
    """
    run = Path(run)
    record, method = _method(run)
    classes = tuple(str(name) for name in record["data"]["classes"])
    side, settings = _reading_side(run, max_side), record["settings"]
    head = settings["classifier"]
    network = None if head is None else load_classifier(run / _WEIGHTS[0] / _MODEL, restore(head["head"]))
    learned = run / _WEIGHTS[1] / "stage.json"  # its key is in the files that are kept beside it
    context = MethodContext(
        data=_NoImages(classes),
        seeds=_no_seeds,
        # A method without a classifier looks at no backbone either: any will do.
        backbone=build_backbone("test_resnet", "none", 16) if network is None else network.backbone,
        network=network,
        folder=run / _WEIGHTS[1],
        made_by=stage_key(learned) if exists(learned) else "",
        side=1,
        seed=0,
        precision=settled(precision),
    )
    located = method.prepare(context)
    if isinstance(method, ZeroShot):
        return Locator(located, None, classes, method.presence, side)
    # Seeds of a frozen backbone have the scores of all classes, whatever the tags.
    scores = (method if isinstance(method, FrozenCam) else Cam(scales=(1.0,))).prepare(context)
    return Locator(located, scores, classes, getattr(method, "present", PRESENT), side)


def _reading_side(run: Path, max_side: int | None) -> int | None:
    return recorded_side(run) if max_side == RECORDED else max_side


def _method(run: Path) -> tuple[Any, SeedMethod]:
    """The record of a run and its seed method, if that works on new photographs."""
    record = run_record(run, "settings", "data.classes")
    method: SeedMethod = restore(record["settings"].get("seeds"))
    unknown = record["settings"].get("classifier") is None or isinstance(getattr(method, "base", method), ReadsFiles)
    if unknown and not isinstance(method, ZeroShot):
        raise InputError(
            f"{run}: expected a run whose seeds are read from a classifier, got one whose seeds are files of maps; "
            "nothing can make those of new photographs here. Name another run"
        )
    for name in _kept(record, method):
        if not (run / name / _MODEL).exists():
            raise InputError(
                f"{run}: expected {name}/model.safetensors, found none; finish the run with the command it was begun "
                "with, or name another"
            )
        refuse_changed(run / name / _MODEL)
    return record, method


def _kept(record: Mapping[str, Any], method: SeedMethod) -> list[str]:
    """Those of :data:`_WEIGHTS` that the seeds of a run need."""
    needed = record["settings"].get("classifier") is not None, learning(method) is not None
    return [name for name, need in zip(_WEIGHTS, needed, strict=True) if need]


def locate_folder(
    run: Path,
    images: Path,
    out: Path,
    tags: Path | None = None,
    precision: str = AUTO,
    max_side: int | None = RECORDED,
    ray: Ray | None = None,
) -> int:
    """Write ``NAME.npz`` for a photograph or each in a folder, as :func:`deft.artifacts.load_seeds` reads it.

    Folders inside the folder keep their place. Seeds that are there already are made again.

    Args:
        run: as for :func:`load_locator`.
        images: a folder, or one photograph.
        out: where to write.
        tags: table ``image,labels``; an image it does not name gets the maps of what the classifier finds.
        precision: as for :func:`load_locator`.
        max_side: as for :func:`load_locator`.
        ray: a cluster that does the work; it has to see the run and the photographs. None does it here.

    Returns:
        The number of photographs.

    Raises:
        InputError: nothing to read, an unreadable photograph (the others are done), or a tag that is no class.
    """
    found = photographs(images, tell=True)
    made = OutFolder(out, reads(images, found, tags), (f"{file_stem(name)}.npz" for name in found.names))
    side = _reading_side(run, max_side)
    work = Call.of(seeds_of, run=run, tags=tags, precision=settled(precision), max_side=side)
    return for_photographs(found, images, work, made, "seeds", side, ray)


def seeds_of(run: Path, found: ImageFiles, tags: Path | None, precision: str, max_side: int | None) -> Work:
    """Seeds of the photograph of an index in ``found``; for the rest see :func:`locate_folder`."""
    locator = load_locator(run, precision, max_side)
    known = tags_of_files(tags, found, locator.classes)
    turn = device_lock()

    def work(index: int, read: Scaled) -> Files:
        with turn:
            seeds = locator.seeds_of(read, known.get(index))
        return {f"{file_stem(found.names[index])}.npz": seeds_npz(seeds)}

    return work


def locate_shards(
    run: Path,
    shards: str,
    out: Path,
    tags: Path | None = None,
    tags_from: str = "",
    precision: str = AUTO,
    max_side: int | None = RECORDED,
    ray: Ray | None = None,
) -> Streamed:
    """Write a shard of seeds, ``<key>.npz``, for each shard of photographs.

    See :func:`deft.predict.masks.predict_shards`.

    Args:
        run: as for :func:`load_locator`.
        shards: ``shards:PATTERN``.
        out: folder of the results.
        tags: table ``image,labels`` by key; an image it does not name gets the maps of what the classifier finds.
        tags_from: suffix of the member that holds each image's tags, ``json`` for one; instead of ``tags``.
        precision: as for :func:`load_locator`.
        max_side: as for :func:`load_locator`.
        ray: a cluster that does the work, a shard at a time; its machines have to see the run, the shards and ``out``.

    Raises:
        InputError: nothing to read, or photographs that cannot be used (the others are done).
    """
    precision = settled(precision)
    side = _reading_side(run, max_side)
    record, method = _method(run)
    classifier = record["settings"]["classifier"]
    made_from = {
        **{name: digest(run / name / _MODEL) for name in _kept(record, method)},
        **({"head": classifier["head"]} if classifier else {}),
        **({"files": method.fingerprint()} if isinstance(method, ReadsFiles) else {}),
        "seeds": plain(method),
        "precision": precision,
        "max_side": side,
        "tags": digest(tags),
        "tags from": tags_from,
    }
    work = Call.of(seeds_of_entries, run=run, tags=tags, tags_from=tags_from, precision=precision, max_side=side)
    return stream(shards, out, work, made_from, "seeds", tags, ray)


def seeds_of_entries(run: Path, tags: Path | None, tags_from: str, precision: str, max_side: int | None) -> EntryWork:
    """Seeds of one entry of a shard; arguments and errors as for :func:`locate_shards`."""
    locator = load_locator(run, precision, max_side)
    known = EntryTags.given(tags, tags_from, locator.classes)
    turn = device_lock()

    def work(entry: Entry) -> Files:
        read, present = image_of(entry, locator.max_side), known.of(entry)
        with turn:
            seeds = locator.seeds_of(read, present)
        return {"npz": seeds_npz(seeds)}

    return EntryWork(work, known.suffix)


def _no_seeds(index: int) -> SeedMaps:
    raise LookupError(f"there is no training image {index} here")
