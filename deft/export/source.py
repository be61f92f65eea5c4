"""A run as exports and imports see it: its classes, images, masks and review. Nothing is locked or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import HASHES, Stage, damages, file_stem, load_mask
from deft.artifacts.hashes import digest
from deft.artifacts.record import run_record
from deft.artifacts.review import REJECTED, STATES, Review, Reviewed
from deft.contracts import Dataset, InputError, Splits
from deft.data.examples import without_truth
from deft.data.faults import nearest
from deft.data.layouts.file_dataset import FileDataset
from deft.data.layouts.outlined import OutlinedImages
from deft.data.working_size import KnowsSizes
from deft.export.picture import TRAIN, VAL
from deft.guards.opening import exists
from deft.guards.words import shown
from deft.runner.recorded import data_of, open_data_of
from deft.runner.verify import stages

PSEUDO, PREDICTIONS, REVIEWED = MASKS = ("pseudo", "predictions", "reviewed")
UNREVIEWED = "unreviewed"


@dataclass(frozen=True)
class Choice:
    """Which masks of which images."""

    masks: str = PSEUDO
    """``pseudo``, ``predictions`` or ``reviewed``."""
    only: tuple[str, ...] = ()
    """Names of images; empty for all."""
    classes: tuple[str, ...] = ()
    """Images that are tagged with one of these; empty for all."""
    states: tuple[str, ...] = ()
    """Images in one of these states of the review, or ``unreviewed``; empty for all."""


@dataclass(frozen=True)
class Item:
    """An image of a run."""

    name: str
    part: str
    """``train`` or ``val``."""
    index: int
    """In its part."""


@dataclass(frozen=True, eq=False)
class Source:
    """A run that was opened."""

    run: Path
    classes: tuple[str, ...]
    splits: Splits
    given: str
    """``KIND:PATH`` of its data."""
    kept: Path | None = None
    """Folder with its record and its stages as they were, while the run itself is at work on its next round."""

    @classmethod
    def of(cls, run: Path, data: str | None = None) -> Source:
        """Open a run.

        Args:
            run: its folder.
            data: as for :func:`deft.runner.recorded.reopen`.

        Raises:
            InputError: the folder holds no run, or its data cannot be used.
        """
        record = run_record(run)
        splits = open_data_of(run, record, data)
        return cls(run, tuple(splits.train.classes), splits, data_of(run, record, data))

    @property
    def folder(self) -> Path:
        """Where its record and its stages are read."""
        return self.kept or self.run

    @cached_property
    def parts(self) -> dict[str, Dataset]:
        """The images by part, without their ground truth."""
        found = {TRAIN: self.splits.train} | ({} if self.splits.val is None else {VAL: self.splits.val})
        return {part: without_truth(data) for part, data in found.items()}

    @cached_property
    def items(self) -> dict[str, Item]:
        """The images by name; of two with one name the training image."""
        found: dict[str, Item] = {}
        for part, data in self.parts.items():
            for index, name in enumerate(data.names):
                found.setdefault(name, Item(name, part, index))
        return found

    @cached_property
    def review(self) -> Review:
        """Where reviewed masks are."""
        return Review(self.run, self.classes)

    @cached_property
    def reviewed(self) -> dict[str, Reviewed]:
        """What was decided so far, by name."""
        return self.review.read()

    def file(self, item: Item) -> Path | None:
        """The file of an image; None if it is in an archive, or rendered."""
        data = self.parts[item.part]
        return data.images[item.index] if isinstance(data, FileDataset | OutlinedImages) else None

    def size(self, item: Item) -> tuple[int, int]:
        """(H, W) of an image, as its mask."""
        data = self.parts[item.part]
        if isinstance(data, KnowsSizes) and self.reads_upright(item):
            return data.size_of(item.index)
        return data[item.index].full_size

    def reads_upright(self, item: Item) -> bool:
        """Whether the run sees an image upright where EXIF turns it; else as stored, as its outlines ask for."""
        data = self.parts[item.part]
        if not isinstance(data, OutlinedImages):
            return True
        return not data.scored[item.index] or data.drawn_upright(item.index)

    def tags(self, item: Item) -> tuple[str, ...]:
        """Classes of an image, those of its review if they were changed there."""
        known = self.reviewed.get(item.name)
        if known is not None and known.tags is not None:
            return known.tags
        row = self.parts[item.part].labels[item.index]
        return tuple(self.classes[k] for k in np.flatnonzero(row))

    def stage_mask(self, masks: str, item: Item) -> Path | None:
        """The file of a pseudo-mask or a prediction, if there is one."""
        stage = self._stage(masks)
        if stage is None or (masks == PSEUDO and item.part != TRAIN):
            return None
        path = stage.folder / _within(masks, item)
        return path if exists(path) else None

    def mask(self, masks: str, item: Item) -> NDArray[np.uint8]:
        """A mask (H, W) that :meth:`chosen` has listed.

        Raises:
            InputError: it is damaged.
        """
        if masks == REVIEWED:
            return self.review.load(item.name, self.reviewed[item.name])
        stage, path = self._stage(masks), self.stage_mask(masks, item)
        if stage is None or path is None:
            raise InputError(
                f"{shown(self.run)}: the mask of {shown(item.name)!r} has gone; repeat the deft run command"
            )
        name = _within(masks, item)
        if name in (made := self._made[stage.name]):
            for damage in damages(stage.folder, {name: made[name]}):
                raise InputError(f"{damage}; repeat the command that made the run: it makes again what is damaged")
        return load_mask(path)

    def own(self, item: Item) -> str | None:
        """Which of the run's masks is an image's own: its pseudo-mask, else its prediction; None without both."""
        return next((masks for masks in (PSEUDO, PREDICTIONS) if self.stage_mask(masks, item) is not None), None)

    def own_digest(self, item: Item) -> str:
        """SHA-256 of the file of an image's own mask, in hex, as its stage has recorded it; empty without a mask."""
        masks = self.own(item)
        stage = None if masks is None else self._stage(masks)
        if masks is None or stage is None:
            return ""
        name = _within(masks, item)
        recorded = self._made[stage.name].get(name)
        return recorded if isinstance(recorded, str) else digest(stage.folder / name)

    def chosen(self, choice: Choice) -> list[Item]:
        """The images with the masks that were asked for.

        Raises:
            InputError: there are no such masks, or a name, a class or a state is unknown.
        """
        _refuse_unknown("--masks", (choice.masks,), MASKS)
        _refuse_unknown("--class", choice.classes, self.classes)
        _refuse_unknown("--state", choice.states, (*STATES, UNREVIEWED))
        _refuse_unknown("--only", choice.only, tuple(self.items), what="name of an image of the run")
        there = [item for item in self.items.values() if self._has(choice.masks, item)]
        if not there:
            raise InputError(f"{shown(self.run)}: {_LACKING[choice.masks]}")
        only, classes, states = set(choice.only), set(choice.classes), set(choice.states)
        without = [name for name in choice.only if not self._has(choice.masks, self.items[name])]
        if without:
            known = "pseudo-mask" if choice.masks == PSEUDO else choice.masks.removesuffix("s") + " mask"
            raise InputError(f"--only: {shown(without[0])!r} has no {known}; leave it out, or choose other --masks")
        found = [
            item
            for item in there
            if (not only or item.name in only)
            and (not classes or classes.intersection(self.tags(item)))
            and (not states or self._state(item) in states)
        ]
        if not found:
            raise InputError(f"{shown(self.run)}: none of its {len(there)} masks is of such an image; ask for others")
        return found

    def _state(self, item: Item) -> str:
        known = self.reviewed.get(item.name)
        return UNREVIEWED if known is None else known.state

    def _has(self, masks: str, item: Item) -> bool:
        if masks == REVIEWED:
            return self._state(item) not in (UNREVIEWED, REJECTED)
        return self.stage_mask(masks, item) is not None

    def _stage(self, masks: str) -> Stage | None:
        """The finished stage of pseudo-masks or predictions."""
        return self.stage("masks" if masks == PSEUDO else "predictions")

    def stage(self, name: str) -> Stage | None:
        """A finished stage of the run."""
        return self._stages.get(name)

    @cached_property
    def _stages(self) -> Mapping[str, Stage]:
        return {stage.name: stage for stage in stages(self.folder) if stage.done}

    @cached_property
    def _made(self) -> Mapping[str, Mapping[str, Any]]:
        """The digests of the files of each finished stage, as far as they were kept."""
        found = {name: stage.record.get(HASHES) for name, stage in self._stages.items()}
        return {name: made if isinstance(made, dict) else {} for name, made in found.items()}


_LACKING = {
    PSEUDO: "expected a run with pseudo-masks, found none; finish it with the command it was begun with",
    PREDICTIONS: "expected masks that its network has made, found none; finish the run with the command it was begun "
    "with (the recipe may have no network), or write masks of new photographs with deft predict",
    REVIEWED: "expected reviewed masks, found none; bring some in with deft import",
}


def _within(masks: str, item: Item) -> str:
    """The file of a mask within the folder of its stage."""
    stem = f"{file_stem(item.name)}.png"
    return stem if masks == PSEUDO else f"{item.part}/{stem}"


def _refuse_unknown(option: str, given: Sequence[str], known: Sequence[str], what: str = "") -> None:
    for word in given:
        if word not in known:
            wanted = what or f"one of {', '.join(known)}"
            raise InputError(
                f"{option} {shown(word)}: expected {wanted}, got another{nearest(word, known)}; correct it"
            )
