"""The journal of an image that people review: every step, with what held after it, to be undone and redone.

A step is a whole state, not a change, so that undoing and redoing only move a position. The first state of a journal is
that of an image that nobody has looked at, until old steps are left out.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any

ACCEPTED, CORRECTED, REJECTED = STATES = ("accepted", "corrected", "rejected")
UNREVIEWED = "unreviewed"
MOST_STEPS = 50
"""Steps of an image that can be undone; older ones, and masks that only they need, are left out."""
_TEXTS = ("mask", "replaces", "what", "time", "image")


@dataclass(frozen=True)
class Reviewed:
    """What somebody has decided about an image."""

    state: str
    """``accepted``: the mask is right as it was; ``corrected``: it was changed; ``rejected``: not to be used;
    ``unreviewed``: nobody has decided yet, although mask or tags may have been changed."""
    mask: str = ""
    """SHA-256 of the mask's file, in hex; empty if the run's own mask still holds, or there is none."""
    replaces: str = ""
    """SHA-256 of the file of the run's mask that was looked at; empty if there was none."""
    tags: tuple[str, ...] | None = None
    """Classes that the image shows, if they are others than the dataset's; None if they are the same."""
    threshold: float | None = None
    """Background threshold at which the mask was made from the run's maps; None if it was drawn, or is the run's."""
    what: str = ""
    """One word for the step that led here."""
    time: str = ""
    """When, UTC in ISO 8601."""
    image: str = ""
    """Digest of the photograph that was looked at (:mod:`deft.artifacts.photographs`); empty if it is not known."""

    @property
    def decided(self) -> bool:
        """Whether anything follows from it: a state, or other tags."""
        return self.state != UNREVIEWED or self.tags is not None


@dataclass(frozen=True)
class Journal:
    """The steps of one image."""

    name: str
    """Of the image."""
    steps: tuple[Reviewed, ...] = (Reviewed(UNREVIEWED),)
    """What held after each step, the oldest first; at least one."""
    at: int = 0
    """Index of the state that holds; those after it were undone."""
    revision: int = 0
    """Grows with every step, undoing and redoing included."""

    @property
    def now(self) -> Reviewed:
        """What holds."""
        return self.steps[self.at]

    @property
    def can_undo(self) -> bool:
        """Whether there is a state before."""
        return self.at > 0

    @property
    def can_redo(self) -> bool:
        """Whether a step was undone."""
        return self.at + 1 < len(self.steps)

    @property
    def masks(self) -> set[str]:
        """Digests of the masks that any of the states needs."""
        return {step.mask for step in self.steps if step.mask}

    @property
    def latest(self) -> str:
        """Time of the last step, also of one that was undone; empty if none has a time."""
        return max(step.time for step in self.steps)

    def seen(self, image: str) -> Journal:
        """The journal with the digest of a photograph in steps that somebody has made and that have none."""
        steps = tuple(step if step.image or not step.time else replace(step, image=image) for step in self.steps)
        return self if steps == self.steps else replace(self, steps=steps)

    def followed(self, step: Reviewed) -> Journal:
        """The journal after another step; steps that were undone are left out, and so are the oldest."""
        steps = (*self.steps[: self.at + 1], step)[-MOST_STEPS - 1 :]
        return Journal(self.name, steps, len(steps) - 1, self.revision + 1)

    def moved(self, by: int) -> Journal:
        """The journal after undoing (-1) or redoing (1); itself, with the same revision, if there is no such step."""
        at = self.at + by
        return replace(self, at=at, revision=self.revision + 1) if 0 <= at < len(self.steps) else self

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "name": self.name,
            "revision": self.revision,
            "at": self.at,
            "steps": [_plain(step) for step in self.steps],
        }


def journal_of(value: Any) -> Journal | None:
    """A journal from JSON values; None if they are none."""
    if not isinstance(value, dict) or not isinstance(value.get("steps"), list):
        return None
    name, at, revision = value.get("name"), value.get("at"), value.get("revision")
    steps = [_reviewed(step) for step in value["steps"]]
    if not isinstance(name, str) or not is_name(name) or any(step is None for step in steps):
        return None
    if type(at) is not int or type(revision) is not int or not 0 <= at < len(steps) or not 0 <= revision < 2**53:
        return None
    return Journal(name, tuple(step for step in steps if step is not None), at, revision)


def is_name(name: str) -> bool:
    """Whether a file can be named after it: half of a surrogate pair, which JSON may hold, has no bytes."""
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _plain(reviewed: Reviewed) -> dict[str, Any]:
    """A state without what is empty."""
    found = dataclasses.asdict(reviewed)
    return {name: list(value) if name == "tags" else value for name, value in found.items() if value not in ("", None)}


def _reviewed(value: Any) -> Reviewed | None:
    """A state as it was stored; None if it is none."""
    if not isinstance(value, dict) or value.get("state") not in (*STATES, UNREVIEWED):
        return None
    texts = {name: value.get(name, "") for name in _TEXTS}
    if not all(isinstance(text, str) for text in texts.values()) or not _is_digest(texts["mask"]):
        return None
    if not texts["mask"] and value["state"] in (ACCEPTED, CORRECTED):
        return None
    tags, threshold = value.get("tags"), value.get("threshold")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        return None
    if threshold is not None and not (type(threshold) in (int, float) and 0 <= threshold < 1):
        return None
    return Reviewed(value["state"], tags=None if tags is None else tuple(tags), threshold=threshold, **texts)


def _is_digest(text: str) -> bool:
    """Whether a text is empty or a SHA-256: the file of a mask is named after it."""
    return not text or (len(text) == 64 and set(text) <= set("0123456789abcdef"))
