"""The images of a run as the page lists them: what is known of each without opening it, in an order, filtered."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import palette
from deft.artifacts.journal import STATES, UNREVIEWED, Journal
from deft.artifacts.review import Stamp
from deft.contracts import InputError
from deft.export.source import Item, Source
from deft.guards.words import shown
from deft.review.order import Suggested

ORDERS = ("suggested", "name", "score", "class")
_FRESH = 1.0
"""Seconds for which the journals of other processes are not looked at again."""


@dataclass(frozen=True)
class Query:
    """Which images, in which order."""

    order: str = ORDERS[0]
    class_name: str = ""
    """Empty for all; so are the others."""
    state: str = ""
    context: str = ""
    text: str = ""
    """Part of the name, in any case."""


class Gallery:
    """The images of a run; an image's id is its index in ``items``. Thread-safe."""

    def __init__(self, source: Source) -> None:
        """Open the gallery.

        Raises:
            InputError: the review is damaged, or of another run.
        """
        self.source = source
        self.items: tuple[Item, ...] = tuple(source.items.values())
        self._ids = {item.name: number for number, item in enumerate(self.items)}
        self._folded = [item.name.casefold() for item in self.items]
        self._lock = threading.Lock()
        self._files: dict[str, tuple[Stamp, Journal]] = {}
        self._journals: dict[int, Journal] = {}
        self._seen = -_FRESH
        self._sizes: dict[int, tuple[int, int]] = {}
        self._ranks: NDArray[np.int64] = np.arange(len(self.items))
        self._suggested: dict[int, Suggested] = {}
        self.ranked = False
        """Whether the order of what most needs a look is known, or will not be."""
        self.contexts = tuple(source.splits.train.contexts)
        parts = source.parts
        self._labels = self._rows({part: data.labels for part, data in parts.items()}, len(source.classes))
        contexts = {part: data.context_labels for part, data in parts.items() if data.context_labels is not None}
        self._contexts = self._rows(contexts, len(self.contexts))
        self.refresh()

    def refresh(self) -> None:
        """Read what other processes have written; raises as :meth:`deft.artifacts.review.Review.journals`."""
        with self._lock:
            if time.monotonic() - self._seen < _FRESH:
                return
            self._files = self.source.review.journals(self._files)
            found = (journal for _, journal in self._files.values())
            self._journals = {self._ids[each.name]: each for each in found if each.name in self._ids}
            self._seen = time.monotonic()

    def journal(self, number: int) -> Journal:
        """The steps of an image, read again.

        Raises:
            InputError: its file is damaged.
        """
        found = self.source.review.journal(self.items[number].name)
        self.put(number, found)
        return found

    def put(self, number: int, journal: Journal) -> None:
        """Take note of the steps of an image."""
        with self._lock:
            known = self._journals.get(number)
            if known is None:
                self._journals = {**self._journals, number: journal}  # others may be iterating
            elif journal.revision >= known.revision:  # else somebody was faster
                self._journals[number] = journal

    def known(self, number: int) -> Journal:
        """The steps of an image as they were last read."""
        return self._journals.get(number) or Journal(self.items[number].name)

    def suggest(self, found: Sequence[Suggested]) -> None:
        """Take over an order of images that need a look; those it lacks follow by name."""
        ranked = {self._ids[each.name]: each for each in found if each.name in self._ids}
        ranks = np.full(len(self.items), len(self.items), dtype=np.int64)
        ranks[list(ranked)] = np.arange(len(ranked))
        self._ranks, self._suggested, self.ranked = ranks, ranked, True

    def _rows(self, rows: dict[str, NDArray[np.bool_]], width: int) -> NDArray[np.bool_]:
        """Rows of the splits as rows of all images, (N, width); no row of another width."""
        found = np.zeros((len(self.items), width), dtype=np.bool_)
        for number, item in enumerate(self.items):
            if item.part in rows and rows[item.part].shape[1] == width:
                found[number] = rows[item.part][item.index]
        return found

    def dataset_tags(self, number: int) -> list[int]:
        """Mask values of the classes that the dataset says an image shows."""
        return [int(k) + 1 for k in np.flatnonzero(self._labels[number])]

    def tags(self, number: int, journal: Journal) -> list[int]:
        """Mask values of the classes of an image, as they were changed."""
        if journal.now.tags is None:
            return self.dataset_tags(number)
        return [value for value, name in enumerate(self.source.classes, 1) if name in journal.now.tags]

    def _tagged(self) -> NDArray[np.bool_]:
        """The tags of all images as they were changed, (N, K)."""
        found = self._labels
        changed = {number: each for number, each in self._journals.items() if each.now.tags is not None}
        if changed:
            found = found.copy()
            for number, journal in changed.items():
                found[number] = [name in (journal.now.tags or ()) for name in self.source.classes]
        return found

    def size(self, number: int) -> tuple[int, int]:
        """(H, W) of a photograph.

        Raises:
            InputError: it cannot be read.
        """
        if number not in self._sizes:
            self._sizes[number] = self.source.size(self.items[number])
        return self._sizes[number]

    def entry(self, number: int, journal: Journal | None = None) -> dict[str, Any]:
        """An image as the page lists it."""
        item, journal = self.items[number], journal or self.known(number)
        fault, (height, width) = "", (0, 0)
        try:
            height, width = self.size(number)
        except InputError as error:
            fault = str(error)
        advice = self._suggested.get(number)
        now, own = journal.now, self.source.own_digest(item)
        return {
            "id": number,
            "name": item.name,
            "width": width,
            "height": height,
            "split": item.part,
            "state": now.state,
            "tags": self.tags(number, journal),
            "reason": "" if advice is None else advice.reason,
            "score": None if advice is None else round(advice.score, 4),
            "revision": journal.revision,
            "own": own,
            "older_maps": bool(now.mask and now.replaces) and now.replaces != own,
            **({"fault": fault} if fault else {}),
        }

    def entries(self, numbers: Iterable[int]) -> list[dict[str, Any]]:
        """Several images as the page lists them."""
        return [self.entry(number) for number in numbers]

    def overview(self) -> dict[str, Any]:
        """The classes and states of all images with their numbers."""
        self.refresh()
        colours, counts = palette(), self._tagged().sum(axis=0)
        states = Counter(journal.now.state for journal in self._journals.values())
        states[UNREVIEWED] += len(self.items) - len(self._journals)
        return {
            "classes": [
                {"id": k, "name": name, "color": "#" + bytes(colours[k]).hex(), "images": int(counts[k - 1])}
                for k, name in enumerate(self.source.classes, 1)
            ],
            "total": len(self.items),
            "counts": {state: states[state] for state in (UNREVIEWED, *STATES)},
            "orders": list(ORDERS),
            "contexts": list(self.contexts),
            "ranked": self.ranked,
        }

    def chosen(self, query: Query) -> list[int]:
        """The ids of the images that a query asks for, in its order.

        Raises:
            InputError: it asks for an order, class, state or context that there is not.
        """
        self.refresh()
        _refuse_unknown("order", query.order, ORDERS)
        keep = np.ones(len(self.items), dtype=np.bool_)
        tagged = self._tagged()
        if query.class_name:
            _refuse_unknown("class", query.class_name, self.source.classes)
            keep &= tagged[:, self.source.classes.index(query.class_name)]
        if query.context:
            _refuse_unknown("context", query.context, self.contexts)
            keep &= self._contexts[:, self.contexts.index(query.context)]
        if query.state:
            _refuse_unknown("state", query.state, (UNREVIEWED, *STATES))
            journals = self._journals
            in_state = [number for number, each in journals.items() if each.now.state == query.state]
            if query.state == UNREVIEWED:
                keep[[number for number in journals if number not in set(in_state)]] = False
            else:
                found = np.zeros_like(keep)
                found[in_state] = True
                keep &= found
        numbers = np.flatnonzero(keep).tolist()
        if query.text:
            wanted = query.text.casefold()
            numbers = [number for number in numbers if wanted in self._folded[number]]
        return sorted(numbers, key=self._key(query.order, tagged))

    def _key(self, order: str, tagged: NDArray[np.bool_]) -> Any:
        """The key by which an order sorts ids; ties keep the order of the run."""
        if order == "name":
            return self._folded.__getitem__
        if order == "score":
            scores = {number: -each.score for number, each in self._suggested.items()}
            return lambda number: scores.get(number, 1.0)
        ranks = self._ranks.tolist()
        if order == "class":
            first = np.where(tagged.any(axis=1), tagged.argmax(axis=1), tagged.shape[1]).tolist()
            return lambda number: (first[number], ranks[number])
        return ranks.__getitem__


def _refuse_unknown(what: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        raise InputError(f"{what} {shown(given[:60])!r}: expected one of {', '.join(known)}; reload the page")
