"""Masks that people have looked at, ``RUN/review/``: each image accepted, corrected or rejected.

::

    RUN/review/review.json        for each image: its state, its tags if they changed, digests of its masks
    RUN/review/masks/NAME.png     palette PNG: 0 background, k class k, 255 ignore, as the run's own masks
    RUN/review/network/           the network's masks of the training images, for suggestions (deft.suggest)
    RUN/review/suggest.npz        what was measured of these images

Nothing else in the run changes, and a run can be resumed, verified and made again beside its review.

Several processes may write at once. Each takes the lock, writes the record and then the mask; the record of an image
keeps that of the mask before it, so that after a kill between the two the image is as it was before.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts.files import atomic_write, file_stem, load_mask, mask_png, read_json, write_json
from deft.artifacts.folder import InUseError, claim
from deft.artifacts.hashes import digest
from deft.contracts import IGNORE, InputError
from deft.guards.opening import exists
from deft.guards.output import make_folder, refuse_link
from deft.guards.words import shown

FOLDER = "review"
RECORD = "review.json"
NETWORK = "network"
MEASURED = "suggest.npz"
VERSION = 1
ACCEPTED, CORRECTED, REJECTED = STATES = ("accepted", "corrected", "rejected")
_PATIENCE = 30.0
"""Seconds to wait for other processes that write."""


@dataclass(frozen=True)
class Reviewed:
    """What somebody has decided about an image."""

    state: str
    """``accepted``: the mask is right as it was; ``corrected``: it was changed; ``rejected``: not to be used."""
    mask: str = ""
    """SHA-256 of the mask's file, in hex; empty if there is none, as of a rejected image."""
    replaces: str = ""
    """SHA-256 of the file of the run's mask that was looked at; empty if there was none."""
    tags: tuple[str, ...] | None = None
    """Classes that the image shows, if they are others than the dataset's; None if they are the same."""


@dataclass(frozen=True)
class Decision:
    """One image to be written."""

    name: str
    state: str
    mask: NDArray[np.uint8] | None = None
    """(H, W); None only if rejected."""
    replaces: str = ""
    tags: tuple[str, ...] | None = None


class Review:
    """The review of a run."""

    def __init__(self, run: Path, classes: Sequence[str]) -> None:
        """Open a review; nothing is read or written yet.

        Args:
            run: the run folder.
            classes: names of the run's K classes.
        """
        self.folder = run / FOLDER
        self.classes = tuple(classes)

    @property
    def record(self) -> Path:
        """The file of all states."""
        return self.folder / RECORD

    def mask_file(self, name: str) -> Path:
        """The file of an image's mask, which need not exist."""
        return self.folder / "masks" / f"{file_stem(name)}.png"

    def read(self) -> dict[str, Reviewed]:
        """What was decided about each image, by name; empty if there is no review.

        Raises:
            InputError: the record is damaged, of another version, or of other classes.
        """
        entries = self._entries()
        return {name: found for name, entry in entries.items() if (found := self._current(name, entry)) is not None}

    def mask(self, name: str) -> NDArray[np.uint8] | None:
        """The reviewed mask of an image, (H, W); None if it was rejected, or never reviewed.

        Raises:
            InputError: the mask is missing or was changed by another program.
        """
        found = self.read().get(name)
        if found is None or found.state == REJECTED:
            return None
        return self.load(name, found)

    def load(self, name: str, reviewed: Reviewed) -> NDArray[np.uint8]:
        """The mask (H, W) of an image that is not rejected; raises as :meth:`mask`."""
        path = self.mask_file(name)
        if not exists(path) or digest(path) != reviewed.mask:
            came = "damaged, or changed by another program" if exists(path) else "missing"
            raise InputError(f"{shown(path)}: {came}; bring the mask in again with deft import")
        return load_mask(path)

    def write(
        self,
        name: str,
        mask: NDArray[np.uint8] | None,
        state: str,
        tags: Iterable[str] | None = None,
        replaces: str = "",
    ) -> None:
        """Write the decision about an image, whole or not at all; a later one replaces it.

        Args:
            name: of the image.
            mask: uint8 (H, W), 0 background, k + 1 for class k, 255 ignore; None only if it is rejected.
            state: one of ``STATES``.
            tags: classes that the image shows, if they changed.
            replaces: SHA-256 of the file of the mask that was looked at.

        Raises:
            InputError: another process keeps writing, or what is there is no review of this version.
            ValueError: the state, the mask or a tag is none.
        """
        self.write_all([Decision(name, state, mask, replaces, None if tags is None else tuple(tags))])

    def write_all(self, decisions: Sequence[Decision]) -> None:
        """:meth:`write` for several images, with one change of the record."""
        pictures = {each.name: self._checked(each) for each in decisions}
        if not decisions:
            return
        with self._locked():
            entries = self._entries()
            for each in decisions:
                before = entries.get(each.name)
                current = None if before is None else self._current(each.name, before)
                picture = pictures[each.name]
                made = Reviewed(
                    each.state, "" if picture is None else sha256(picture).hexdigest(), each.replaces, each.tags
                )
                entries[each.name] = _plain(made) | ({} if current is None else {"before": _plain(current)})
            content = {"version": VERSION, "classes": list(self.classes), "images": dict(sorted(entries.items()))}
            write_json(self.record, content)
            for name, picture in pictures.items():
                if picture is not None:
                    atomic_write(self.mask_file(name), picture)

    def _checked(self, decision: Decision) -> bytes | None:
        """The file of a mask; ValueError if it is no decision."""
        mask = decision.mask
        if decision.state not in STATES:
            raise ValueError(f"expected a state {', '.join(STATES)}, got {decision.state!r}")
        if mask is None and decision.state != REJECTED:
            raise ValueError(f"{decision.name!r} is {decision.state}, which needs a mask, got none")
        strangers = [tag for tag in decision.tags or () if tag not in self.classes]
        if strangers:
            raise ValueError(f"expected tags among {', '.join(self.classes)}, got {strangers[0]!r}")
        if mask is None:
            return None
        if mask.dtype != np.uint8 or mask.ndim != 2 or mask.size == 0:
            raise ValueError(f"expected a mask uint8 (H, W), got {mask.dtype} {mask.shape}")
        wrong = mask[(mask > len(self.classes)) & (mask != IGNORE)]
        if len(wrong):
            raise ValueError(f"expected mask values from 0 to {len(self.classes)}, or 255, got {int(wrong[0])}")
        return mask_png(mask)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the review, for which other processes wait."""
        for path in (self.folder, self.folder / "masks"):
            refuse_link(path)
            make_folder(path, "review")
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                with claim(self.folder / "lock"):
                    yield
                return
            except InUseError:
                if time.monotonic() > until:
                    raise
            time.sleep(0.02)

    def _entries(self) -> dict[str, Any]:
        """The entries of the record, checked."""
        if not exists(self.record):
            return {}
        content = read_json(self.record)
        where = shown(self.record)
        if not isinstance(content, dict) or not isinstance(content.get("images"), dict) or "version" not in content:
            raise InputError(f"{where}: expected the record of a review, got other JSON; restore it, or move it away")
        if content["version"] != VERSION:
            raise InputError(
                f"{where}: expected version {VERSION} of a review, got {str(content['version'])[:40]!r}; use the "
                "version of deft that wrote it"
            )
        if content.get("classes") != list(self.classes):
            raise InputError(f"{where}: expected the classes of the run, got others; move the folder away")
        for name, entry in content["images"].items():
            if not _is_name(name) or _reviewed(entry) is None:
                raise InputError(f"{where}: {shown(name)!r} has no valid entry; restore the file, or remove the entry")
        return dict(content["images"])

    def _current(self, name: str, entry: Mapping[str, Any]) -> Reviewed | None:
        """What holds of an image: the entry, or the one before it if its mask was not written any more."""
        now = _reviewed(entry)
        if now is None or not now.mask:
            return now
        path = self.mask_file(name)
        if not exists(path):
            return _reviewed(entry.get("before"))
        before = _reviewed(entry.get("before"))
        if before is None:
            return now
        found = digest(path)
        return before if found != now.mask and before.mask in ("", found) else now


def _plain(reviewed: Reviewed) -> dict[str, Any]:
    """An entry without what is empty."""
    found = dataclasses.asdict(reviewed)
    return {name: list(value) if name == "tags" else value for name, value in found.items() if value not in ("", None)}


def _reviewed(entry: Any) -> Reviewed | None:
    """An entry as it was stored; None if it is none."""
    if not isinstance(entry, dict) or entry.get("state") not in STATES:
        return None
    mask, replaces, tags = entry.get("mask", ""), entry.get("replaces", ""), entry.get("tags")
    if not isinstance(mask, str) or not isinstance(replaces, str) or (not mask and entry["state"] != REJECTED):
        return None
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        return None
    return Reviewed(entry["state"], mask, replaces, None if tags is None else tuple(tags))


def _is_name(name: str) -> bool:
    """Whether a file can be named after it: half of a surrogate pair, which JSON may hold, has no bytes."""
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def is_review(folder: Path) -> bool:
    """Whether a folder in a run is its review, and no link; suggestions alone make one without decisions."""
    if folder.name != FOLDER or folder.is_symlink() or not os.path.isdir(folder):
        return False
    return any(exists(folder / name) for name in (RECORD, MEASURED, f"{NETWORK}/stage.json"))
