"""What people do to the images of a run: each step is written to its review at once, or refused and not written.

Whoever sends a step says which revision of the image was looked at. Two windows, or two processes, cannot overwrite
each other: the second is told that the image has changed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts.journal import ACCEPTED, CORRECTED, REJECTED, UNREVIEWED, Journal, Reviewed
from deft.artifacts.review import Decision, StaleError
from deft.contracts import InputError
from deft.data.scaling import fitted, resized_mask
from deft.export.source import PREDICTIONS, PSEUDO, Item, Source
from deft.guards.words import shown
from deft.review.gallery import Gallery
from deft.review.maps import FINAL, KINDS, map_file, maps_of, mask_at, own_threshold

EDIT_SIDE = 2048
"""Most pixels a side at which a mask is edited; it is stored at the size of the photograph all the same."""
SECONDS = 8.0
"""After which a change of many masks is answered, so that the page can tell how far it is."""


class Session:
    """A run that is being reviewed. Thread-safe, also against other processes."""

    def __init__(self, source: Source) -> None:
        """Open the review of a run; raises as :class:`Gallery`."""
        self.source = source
        self.gallery = Gallery(source)
        self.threshold = own_threshold(source)
        self.round = 0
        """How often the run has made a round since the session began: keys of what is kept of its files."""

    def turn(self, source: Source, made: bool = False) -> None:
        """Read the run elsewhere from now on, or again.

        Args:
            source: the same run, nothing of which has been read yet.
            made: whether it has made a round, so that what was read is out of date.

        Raises:
            InputError: it has no record any more; it is read as before then.
        """
        threshold = own_threshold(source)
        # What follows may be read in between: with the new files under the old number, never the other way round.
        self.source = self.gallery.source = source
        self.threshold = threshold
        vars(self).pop("layers", None)
        self.round += made

    @cached_property
    def layers(self) -> list[str]:
        """The layers that some image of the run may have."""
        stages = {"pseudo": "masks", "refined": "refined", "seeds": "seeds"}
        network = ["network"] if self.source.stage("segment") or self.source.stage("predictions") else []
        return ["mask", *(layer for layer, stage in stages.items() if self.source.stage(stage)), *network]

    def item(self, number: int) -> Item:
        """An image.

        Raises:
            LookupError: there is none with this id.
        """
        if not 0 <= number < len(self.gallery.items):
            raise LookupError(f"no image {number}: expected an id below {len(self.gallery.items)}")
        return self.gallery.items[number]

    def edit_size(self, number: int) -> tuple[int, int]:
        """(H, W) at which the mask of an image is shown and drawn; raises as :meth:`Gallery.size`."""
        return fitted(self.gallery.size(number), EDIT_SIDE)

    def details(self, number: int, journal: Journal | None = None) -> dict[str, Any]:
        """Everything that the page shows beside an image."""
        item = self.item(number)
        journal = journal or self.gallery.journal(number)
        entry = self.gallery.entry(number, journal)
        height, width = fitted((entry["height"], entry["width"]), EDIT_SIDE)
        kinds = [kind for kind in KINDS if map_file(self.source, kind, item) is not None]
        maps: dict[str, list[int]] = {}
        for kind in kinds:
            try:
                maps[kind] = [k + 1 for k in maps_of(self.source, kind, item).classes]
            except InputError as error:
                entry.setdefault("fault", str(error))
        return entry | {
            "dataset_tags": self.gallery.dataset_tags(number),
            "edit_width": width,
            "edit_height": height,
            "threshold": self._threshold_of(item, journal.now),
            "can_undo": journal.can_undo,
            "can_redo": journal.can_redo,
            "layers": ["mask", *self._layers(item, maps)],
            "maps": maps,
        }

    def _layers(self, item: Item, maps: dict[str, list[int]]) -> list[str]:
        pseudo = ["pseudo"] if self.source.stage_mask(PSEUDO, item) is not None else []
        makes = self.source.stage("segment") is not None or self.source.stage_mask(PREDICTIONS, item) is not None
        network = ["network"] if makes else []
        return [*pseudo, *maps, *network]

    def _threshold_of(self, item: Item, now: Reviewed) -> float | None:
        if map_file(self.source, FINAL, item) is None:
            return None
        return self.threshold if now.threshold is None else now.threshold

    def mask(self, number: int, journal: Journal | None = None) -> NDArray[np.uint8]:
        """The mask (H, W) that holds of an image: that of the review, else the run's own, else background alone.

        Raises:
            InputError: it is damaged, or the photograph of an image without a mask cannot be read.
        """
        item = self.item(number)
        now = (journal or self.gallery.journal(number)).now
        if now.mask:
            return self.source.review.load(item.name, now)
        masks = self.source.own(item)
        return np.zeros(self.gallery.size(number), np.uint8) if masks is None else self.source.mask(masks, item)

    def draw(self, number: int, revision: int, drawn: NDArray[np.uint8], what: str, seen: str | None = None) -> Journal:
        """A mask that somebody has drawn.

        Args:
            number: id of the image.
            revision: that was looked at.
            drawn: uint8 (h, w) at :meth:`edit_size`.
            what: one word for the step.
            seen: digest of the run's own mask that was looked at; None takes the one of now.

        Raises:
            StaleError: the image has another revision.
            InputError: the mask has another size, or values that are no class of the run.
        """
        size = self.edit_size(number)
        if drawn.shape != size:
            raise InputError(
                f"expected a mask of {size[1]} x {size[0]} pixels, got {drawn.shape[1]} x {drawn.shape[0]}; reload it"
            )
        journal = self._at(number, revision)
        mask = carried_over(drawn, self.mask(number, journal))
        kept = self._kept(number, journal)
        if seen is not None and not journal.now.mask:
            kept = replace(kept, replaces=seen)
        return self._step(number, journal, replace(kept, state=CORRECTED, mask=mask, threshold=None, what=what))

    def decide(self, number: int, revision: int, state: str, seen: str | None = None) -> Journal:
        """Accept or reject an image, or take that back.

        An image is accepted with the mask that holds; one whose mask is not the run's own is ``corrected`` instead.

        Args:
            number: id of the image.
            revision: that was looked at.
            state: ``accepted``, ``rejected`` or ``unreviewed``.
            seen: digest of the run's own mask that was looked at; None takes the one of now.

        Raises:
            StaleError: the image has another revision.
            InputError: the state is none, there is no mask to accept, or the run has made another one meanwhile.
        """
        journal = self._at(number, revision)
        kept = replace(self._kept(number, journal), state=state, what=state)
        if state in (REJECTED, UNREVIEWED):
            return self._step(number, journal, kept)
        if state != ACCEPTED:
            raise InputError(f"state {shown(state[:60])!r}: expected accepted, rejected or unreviewed")
        item, masks = self.item(number), self.source.own(self.item(number))
        if masks is None and not journal.now.mask:
            raise InputError(f"{shown(item.name)!r} has no mask to accept; draw one, or reject the image")
        if seen is not None and not journal.now.mask and seen != self.source.own_digest(item):
            raise InputError(f"the run has learned, and made another mask of {shown(item.name)!r}; look at it again")
        own = None if masks is None else self.source.mask(masks, item)
        mask = self.mask(number, journal)
        same = own is not None and own.shape == mask.shape and bool((own == mask).all())
        made = replace(kept, state=ACCEPTED if same else CORRECTED, replaces=self.source.own_digest(item))
        return self._step(number, journal, made if journal.now.mask else replace(made, mask=mask))

    def tag(self, number: int, revision: int, tags: Sequence[int]) -> Journal:
        """Change the classes of an image, which are mask values; its mask stays.

        Raises:
            StaleError: the image has another revision.
            InputError: a tag is no class of the run.
        """
        journal = self._at(number, revision)
        wrong = [tag for tag in tags if not 1 <= tag <= len(self.source.classes)]
        if wrong:
            raise InputError(f"expected tags from 1 to {len(self.source.classes)}, got {wrong[0]}; reload the page")
        same = sorted(set(tags)) == self.gallery.dataset_tags(number)
        names = None if same else tuple(self.source.classes[tag - 1] for tag in sorted(set(tags)))
        return self._step(number, journal, replace(self._kept(number, journal), tags=names, what="tags"))

    def move(self, number: int, revision: int, by: int) -> Journal:
        """Undo (-1) or redo (1) a step; raises StaleError as the others."""
        self._at(number, revision)
        journal = self.source.review.move(self.item(number).name, revision, by)
        self.gallery.put(number, journal)
        return journal

    def cut(self, number: int, revision: int, threshold: float) -> Journal | None:
        """Make the mask of one image again from its maps, at another threshold; None if it stays as it is.

        Raises:
            StaleError: the image has another revision.
            InputError: it has no maps.
        """
        journal = self._at(number, revision)
        mask = mask_at(self.source, self.item(number), threshold)
        before = self.mask(number, journal)
        if before.shape == mask.shape and (before == mask).all():
            return None
        state = UNREVIEWED if journal.now.state == UNREVIEWED else CORRECTED
        made = replace(self._kept(number, journal), state=state, mask=mask, threshold=threshold, what="threshold")
        return self._step(number, journal, replace(made, replaces=self.source.own_digest(self.item(number))))

    def cut_all(
        self, class_value: int | None, threshold: float, start: int = 0, seconds: float = SECONDS
    ) -> tuple[int, int | None]:
        """:meth:`cut` for all images of a class, or all, that nobody has decided about or drawn on.

        Args:
            class_value: mask value of the class; None for all images.
            threshold: in [0, 1).
            start: id of the first image.
            seconds: after which it stops, at least one image further.

        Returns:
            The number of masks that have changed, and the id to go on from; None if all are done.
        """
        changed, until = 0, time.monotonic() + seconds
        self.gallery.refresh()
        for number in range(start, len(self.gallery.items)):
            journal = self.gallery.known(number)
            drawn = bool(journal.now.mask) and journal.now.threshold is None
            if journal.now.state != UNREVIEWED or drawn or map_file(self.source, FINAL, self.item(number)) is None:
                continue
            if class_value is not None and class_value not in self.gallery.tags(number, journal):
                continue
            if time.monotonic() > until and number > start:
                return changed, number
            with suppress(StaleError):  # somebody is at work on this image
                changed += self.cut(number, journal.revision, threshold) is not None
        return changed, None

    def _at(self, number: int, revision: int) -> Journal:
        """The steps of an image; StaleError if it has another revision."""
        self.item(number)
        journal = self.gallery.journal(number)
        if journal.revision != revision:
            raise StaleError(f"the image has changed meanwhile (revision {journal.revision}, not {revision})")
        return journal

    def _kept(self, number: int, journal: Journal) -> Decision:
        """The state that holds of an image, as a decision that keeps its mask and how that was made."""
        item, now = self.item(number), journal.now
        replaces = now.replaces if now.mask else self.source.own_digest(item)  # one made of older maps stays marked
        return Decision(item.name, now.state, None, replaces, now.tags, now.threshold)

    def _step(self, number: int, journal: Journal, decision: Decision) -> Journal:
        """Write a step."""
        try:
            after = self.source.review.step(decision, journal.revision)
        except InputError:
            raise
        except ValueError as error:  # a mask or tags that are none
            raise InputError(str(error)) from None
        self.gallery.put(number, after)
        return after


def carried_over(drawn: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A mask that was drawn at another size, at the size of the one before; pixels that nobody touched stay.

    Args:
        drawn: uint8 (h, w), the mask before resized to this size, and changed.
        before: uint8 (H, W).

    Returns:
        uint8 (H, W).
    """
    size = (before.shape[0], before.shape[1])
    if drawn.shape == size:
        return drawn
    touched = drawn != resized_mask(before, (drawn.shape[0], drawn.shape[1]))
    return np.where(resized_mask(touched.view(np.uint8), size) > 0, resized_mask(drawn, size), before)
