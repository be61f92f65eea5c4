"""Where the decisions of a review belong now, after photographs were renamed, replaced or removed, and classes changed.

A decision is about a photograph as its bytes were, and names classes as they were. It holds for the image of that name
as long as this is the same photograph, else for an image under whose name the photograph has come; of a photograph that
is no longer there it teaches nothing. Masks and tags follow the names of classes, whatever their order is now. Where
the bytes of photographs are not known (:mod:`deft.artifacts.photographs`), a name stands for its photograph.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import mask_png
from deft.artifacts.journal import REJECTED, UNREVIEWED, Journal, Reviewed
from deft.artifacts.review import RECORD, Review
from deft.contracts import IGNORE, InputError
from deft.data.differences import listed
from deft.data.faults import counted
from deft.guards.opening import read_regular
from deft.guards.words import shown


@dataclass(frozen=True)
class Placed:
    """The journals of a review by the names that their photographs have now."""

    review: Review
    """With classes of its own."""
    journals: Mapping[str, Journal]
    """By name of now; a journal itself keeps the name that its image has in the review."""
    gone: tuple[str, ...] = ()
    """Names of images that somebody has decided about, and whose photographs are no longer there."""
    replaced: tuple[str, ...] = ()
    """Names of images that somebody has decided about, and that are other photographs now."""

    @property
    def decided(self) -> dict[str, Reviewed]:
        """What was decided, by name of now, in the review's own classes."""
        return {name: journal.now for name, journal in self.journals.items() if journal.now.decided}

    def remark(self) -> str:
        """What has become of decisions, on one line; empty if all of them are where they were."""
        moved = [journal for name, journal in self.journals.items() if name != journal.name]
        renamed = [journal.name for journal in moved if journal.now.decided]
        kinds = (
            (self.gone, "is no longer in the data and is left out", "are no longer in the data and are left out"),
            (
                self.replaced,
                "is another photograph now and counts as unreviewed",
                "are other photographs now and count as unreviewed",
            ),
            (renamed, "has another name now, which is followed", "have other names now, which are followed"),
        )
        parts = [
            f"{counted(len(names), 'reviewed image')} {one if len(names) == 1 else many} ({listed(names)})"
            for names, one, many in kinds
            if names
        ]
        return f"{shown(self.review.folder)}: {', '.join(parts)}" if parts else ""

    def without(self, names: Collection[str]) -> Placed:
        """The same but for images that turn out to be other photographs."""
        found = [name for name in self.decided if name in names]
        kept = {name: journal for name, journal in self.journals.items() if name not in names}
        return replace(self, journals=kept, replaced=tuple(sorted({*self.replaced, *found})))


def place(review: Review, names: Collection[str], now: Mapping[str, str]) -> Placed:
    """Find the photographs of a review among those of now.

    Args:
        review: with classes of its own, :meth:`deft.artifacts.review.Review.recorded`.
        names: of all images of now.
        now: digests of their photographs, as far as they are known.

    Raises:
        InputError: the review is damaged.
    """
    before, names = review.photographs, set(names)
    journals: dict[str, Journal] = {}
    moved: list[Journal] = []
    for _, (_, found) in sorted(review.journals().items()):
        journal = found.seen(before.get(found.name, ""))
        image, here = journal.now.image, now.get(journal.name, "")
        if journal.name in names and (not image or not here or image == here):
            journals[journal.name] = journal
        else:
            moved.append(journal)
    # A photograph has come under a name if it was not there before: a copy that was stays what it is.
    free: dict[str, list[str]] = {}
    for name, image in now.items():
        if name not in journals and before.get(name) != image:
            free.setdefault(image, []).append(name)
    gone: list[str] = []
    replaced: list[str] = []
    for journal in moved:
        if targets := free.get(journal.now.image):
            journals[targets.pop(0)] = journal
        elif journal.now.decided:
            (replaced if journal.name in names else gone).append(journal.name)
    return Placed(review, journals, tuple(sorted(gone)), tuple(sorted(replaced)))


@dataclass(frozen=True)
class Turned:
    """A state in the classes of now."""

    state: Reviewed
    mask: NDArray[np.uint8] | None = None
    """Its mask (H, W); None if the review's own file holds as it is, or there is no mask."""
    content: bytes | None = None
    """The file of ``mask``."""
    lost: tuple[str, ...] = ()
    """Classes in it that are no longer there; the state is of no use then."""


def turned(review: Review, name: str, state: Reviewed, classes: Sequence[str]) -> Turned:
    """A state in the classes of now.

    Args:
        review: with classes of its own.
        name: of the image, in the review.
        state: of its journal.
        classes: names of the K classes of now.

    Raises:
        InputError: the mask is damaged.
    """
    if review.classes == tuple(classes):
        return Turned(state)
    lost = {tag for tag in state.tags or () if tag not in classes}
    if lost and state.state == REJECTED:  # whose tags teach nothing
        lost, state = set(), replace(state, tags=None)
    if not state.mask:
        return Turned(state, lost=tuple(sorted(lost)))
    mask = review.load(name, state)
    values, gone = _values(review.classes, classes)
    there = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist()
    strangers = [gone[value] for value in there if value in gone]
    if strangers and state.state in (REJECTED, UNREVIEWED):  # whose mask teaches nothing
        return Turned(replace(state, mask="", replaces="", threshold=None), lost=tuple(sorted(lost)))
    lost.update(strangers)
    if lost or all(values[value] == value for value in there):
        return Turned(state, lost=tuple(sorted(lost)))
    mask = values[mask]
    content = mask_png(mask)
    return Turned(replace(state, mask=sha256(content).hexdigest()), mask, content)


def _values(before: Sequence[str], now: Sequence[str]) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Values of now for those of masks in other classes, (256,), and what the values without one were."""
    places = {name: value for value, name in enumerate(now, 1)}
    values = np.zeros(256, dtype=np.uint8)
    values[IGNORE] = IGNORE
    gone = {value: f"mask value {value}" for value in range(len(before) + 1, IGNORE)}
    for value, name in enumerate(before, 1):
        if name in places:
            values[value] = places[name]
        else:
            gone[value] = name
    return values, gone


def content_of(review: Review, name: str, state: Reviewed) -> bytes:
    """The file of a mask of the review, as it is.

    Args:
        review: with classes of its own.
        name: of the image, in the review.
        state: with a mask.

    Raises:
        InputError: it has changed since the state was read.
    """
    content = read_regular(review.mask_file(name, state.mask))
    if sha256(content).hexdigest() != state.mask:
        raise InputError(f"{shown(name)!r} was reviewed again while the run began; repeat the command")
    return content


def refuse_lost(lost: Mapping[Path, Sequence[str]]) -> None:
    """Refuse decisions with classes that the data no longer has.

    Args:
        lost: the classes, by the journal of the image that was decided about.

    Raises:
        InputError: there are any.
    """
    if not lost:
        return
    classes = sorted({name for each in lost.values() for name in each})
    paths = sorted(lost)
    raise InputError(
        f"{shown(paths[0].parent.parent)}: expected a review in classes of the data, got "
        f"{counted(len(paths), 'reviewed image')} with {', '.join(repr(shown(name)) for name in classes)}, which the "
        f"data does not have; bring the class back, write its new name into {RECORD} and the tags of these files, or "
        f"remove them: {', '.join(shown(path) for path in paths[:3])}{', ...' if len(paths) > 3 else ''}"
    )
