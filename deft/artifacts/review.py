"""Masks that people have looked at, ``RUN/review/``: each image accepted, corrected or rejected.

::

    RUN/review/review.json               version and classes
    RUN/review/images/NAME.json          the journal of an image: its steps, and which of them holds
    RUN/review/masks/NAME/DIGEST.png     palette PNGs: 0 background, k class k, 255 ignore, as the run's own masks
    RUN/review/network/                  the network's masks of the training images, for suggestions (deft.suggest)
    RUN/review/suggest.npz               what was measured of these images

Nothing else in the run changes, and a run can be resumed, verified and made again beside its review.

Several processes may write at once. Each takes the lock, writes the mask, which is named after its SHA-256, and then
the journal, both whole or not at all: whenever a process is killed, an image is as the last journal says. Masks that no
step needs are removed at the end, and by the next step after a kill. An image keeps
:data:`deft.artifacts.journal.MOST_STEPS` steps.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.artifacts.files import atomic_write, file_stem, load_mask, mask_png, read_json, write_json
from deft.artifacts.hashes import digest
from deft.artifacts.journal import (
    ACCEPTED,
    CORRECTED,
    REJECTED,
    STATES,
    UNREVIEWED,
    Journal,
    Reviewed,
    journal_of,
)
from deft.artifacts.lock import InUseError, claim
from deft.artifacts.photographs import RECORD as PHOTOGRAPHS
from deft.artifacts.photographs import recorded
from deft.contracts import IGNORE, InputError
from deft.guards.opening import exists
from deft.guards.output import make_folder, refuse_link
from deft.guards.words import shown

__all__ = ["ACCEPTED", "CORRECTED", "REJECTED", "STATES", "UNREVIEWED", "Decision", "Review", "Reviewed", "StaleError"]

FOLDER = "review"
RECORD = "review.json"
NETWORK = "network"
MEASURED = "suggest.npz"
VERSION = 2
_LONGEST = 150
"""Bytes of the name of a file, beyond which it is shortened and ends in a hash."""
_PATIENCE = 30.0
"""Seconds to wait for other processes that write."""


class StaleError(InputError):
    """Somebody has changed the image meanwhile; nothing was written."""


@dataclass(frozen=True)
class Decision:
    """One image to be written."""

    name: str
    state: str
    mask: NDArray[np.uint8] | None = None
    """(H, W); None keeps the mask that the image has in the review, if it has one."""
    replaces: str = ""
    tags: tuple[str, ...] | None = None
    threshold: float | None = None
    what: str = ""
    time: str = ""
    """When it was made, as in :class:`Reviewed`; empty for now."""
    image: str = ""
    """Digest of the photograph that was looked at; empty for the one that the run was made of."""


Stamp = tuple[int, int, int]
"""Identity, time of change and size of a file: another one if the file was replaced."""


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
        self._photographs: tuple[Stamp | None, dict[str, str]] = (None, {})

    @classmethod
    def recorded(cls, run: Path, classes: Sequence[str]) -> Review:
        """Open a review with the classes that it was made with, whatever those of now are.

        Args:
            run: the run folder.
            classes: names of the classes of now, for a run without a review.

        Raises:
            InputError: its record is damaged, or of another version.
        """
        review = cls(run, classes)
        if exists(review.record):
            review.classes = review._recorded_classes()
        return review

    @property
    def record(self) -> Path:
        """The file that says whose review it is."""
        return self.folder / RECORD

    @property
    def photographs(self) -> dict[str, str]:
        """Digest of each photograph that the run was made of, by name, as far as it is known."""
        run = self.folder.parent
        try:
            stamp: Stamp | None = _stamp(os.stat(run / PHOTOGRAPHS))
        except OSError:
            stamp = None
        if stamp != self._photographs[0]:
            self._photographs = (stamp, {} if stamp is None else recorded(run))
        return self._photographs[1]

    def journal_file(self, name: str) -> Path:
        """The file of an image's steps, which need not exist."""
        return self.folder / "images" / f"{_flat(name)}.json"

    def mask_file(self, name: str, mask: str) -> Path:
        """The file of a mask of an image, which need not exist.

        Args:
            name: of the image.
            mask: SHA-256 of the file, as in :class:`Reviewed`.
        """
        return self.folder / "masks" / _flat(name) / f"{mask}.png"

    def read(self) -> dict[str, Reviewed]:
        """What was decided about each image, by name; empty if there is no review.

        Raises:
            InputError: a file is damaged, of another version, or of other classes.
        """
        found = (journal for _, journal in self.journals().values())
        return {journal.name: journal.now for journal in found if journal.now.state != UNREVIEWED}

    def retagged(self) -> dict[str, tuple[str, ...]]:
        """The tags of images whose tags were changed, reviewed or not, by name; raises as :meth:`read`."""
        found = (journal for _, journal in self.journals().values())
        return {journal.name: journal.now.tags for journal in found if journal.now.tags is not None}

    def journals(self, known: Mapping[str, tuple[Stamp, Journal]] | None = None) -> dict[str, tuple[Stamp, Journal]]:
        """The journals of all images that have steps, by the names of their files.

        Args:
            known: an earlier result; files that are as they were are not read again.

        Raises:
            InputError: as :meth:`read`.
        """
        self._check_record()
        found: dict[str, tuple[Stamp, Journal]] = {}
        for entry in _entries(self.folder / "images"):
            stamp = _stamp(entry.stat(follow_symlinks=False))
            before = (known or {}).get(entry.name)
            found[entry.name] = (
                before if before is not None and before[0] == stamp else (stamp, self._journal(Path(entry.path)))
            )
        return found

    def journal(self, name: str) -> Journal:
        """The steps of an image; raises as :meth:`read`."""
        self._check_record()
        path = self.journal_file(name)
        return self._journal(path) if exists(path) else Journal(name)

    def mask(self, name: str) -> NDArray[np.uint8] | None:
        """The reviewed mask of an image, (H, W); None if it was rejected, or nobody has decided about it.

        Raises:
            InputError: the mask is missing or was changed by another program.
        """
        found = self.journal(name).now
        return None if found.state in (REJECTED, UNREVIEWED) else self.load(name, found)

    def load(self, name: str, reviewed: Reviewed) -> NDArray[np.uint8]:
        """The mask (H, W) of a state that has one; raises as :meth:`mask`."""
        path = self.mask_file(name, reviewed.mask)
        if not exists(path) or digest(path) != reviewed.mask:
            came = "damaged, or changed by another program" if exists(path) else "missing"
            raise InputError(f"{shown(path)}: {came}; bring the mask in again with deft import, or undo the step")
        return load_mask(path)

    def begin(self) -> None:
        """Write the record, that of a review without images."""
        write_json(self.record, {"version": VERSION, "classes": list(self.classes)})

    def write(
        self,
        name: str,
        mask: NDArray[np.uint8] | None,
        state: str,
        tags: Iterable[str] | None = None,
        replaces: str = "",
    ) -> None:
        """Write the decision about an image, whole or not at all, as a step that can be undone.

        Args:
            name: of the image.
            mask: uint8 (H, W), 0 background, k + 1 for class k, 255 ignore; None keeps the one in the review, which
                only a rejected image may lack.
            state: one of ``STATES``.
            tags: classes that the image shows, if they changed.
            replaces: SHA-256 of the file of the mask that was looked at.

        Raises:
            InputError: another process keeps writing, or what is there is no review of this version.
            ValueError: the state, the mask or a tag is none.
        """
        self.write_all([Decision(name, state, mask, replaces, None if tags is None else tuple(tags))])

    def write_all(self, decisions: Sequence[Decision]) -> None:
        """:meth:`write` for several images; nothing is written if one of them is no decision."""
        pictures = [self._checked(each) for each in decisions]
        if decisions:
            with self._locked():
                for each, picture in zip(decisions, pictures, strict=True):
                    self._follow(each, picture, self.journal(each.name))

    def step(self, decision: Decision, revision: int) -> Journal:
        """Write one step of an image that has been seen at a revision.

        Args:
            decision: its state may also be ``unreviewed``.
            revision: of the journal that was seen.

        Raises:
            StaleError: the image has another revision by now.
            InputError, ValueError: as :meth:`write`.
        """
        picture = self._checked(decision)
        with self._locked():
            return self._follow(decision, picture, self._at(decision.name, revision))

    def move(self, name: str, revision: int, by: int) -> Journal:
        """Undo (-1) or redo (1) a step of an image; nothing happens if there is none. Raises as :meth:`step`."""
        with self._locked():
            before = self._at(name, revision)
            after = before.moved(by)
            if after is not before:
                write_json(self.journal_file(name), after.to_json())
            return after

    def begin_again(self, name: str, image: str) -> None:
        """Count an image as unreviewed, because it is another photograph than was looked at; it can be undone.

        Args:
            name: of the image.
            image: digest of the photograph of now; empty if it is not known.
        """
        with self._locked():
            before = self.journal(name).seen(self.photographs.get(name, ""))
            step = Reviewed(UNREVIEWED, what="photograph", time=_now(), image=image)
            write_json(self.journal_file(name), before.followed(step).to_json())

    def _at(self, name: str, revision: int) -> Journal:
        """The journal of an image; StaleError if it has another revision."""
        found = self.journal(name)
        if found.revision != revision:
            raise StaleError(
                f"{shown(name)!r}: expected revision {found.revision}, got {revision}: somebody has changed the image "
                "meanwhile; look at it again"
            )
        return found

    def _follow(self, decision: Decision, picture: bytes | None, before: Journal) -> Journal:
        """Write a step: first its mask, then the journal; the lock is held."""
        mask = before.now.mask if picture is None else sha256(picture).hexdigest()
        if not mask and decision.state in (ACCEPTED, CORRECTED):
            raise ValueError(_needs_mask(decision))
        step = Reviewed(decision.state, mask, decision.replaces, decision.tags, decision.threshold, decision.what)
        image = decision.image or self.photographs.get(decision.name, "")
        after = before.followed(replace(step, time=decision.time or _now(), image=image))
        if picture is not None:
            path = self.mask_file(decision.name, mask)
            refuse_link(path.parent)
            if not exists(path) or digest(path) != mask:
                atomic_write(path, picture)
        write_json(self.journal_file(decision.name), after.to_json())
        needed = {f"{each}.png" for each in after.masks}
        for entry in _entries(self.folder / "masks" / _flat(decision.name), ".png"):
            if entry.name not in needed:
                with suppress(OSError):  # the next step tries again
                    os.unlink(entry.path)
        return after

    def _checked(self, decision: Decision) -> bytes | None:
        """The file of a mask; ValueError if it is no decision."""
        mask = decision.mask
        if decision.state not in (*STATES, UNREVIEWED):
            raise ValueError(f"expected a state {', '.join(STATES)}, got {decision.state!r}")
        if mask is None and decision.state in (ACCEPTED, CORRECTED) and not self.journal(decision.name).now.mask:
            raise ValueError(_needs_mask(decision))
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
        for path in (self.folder, self.folder / "images", self.folder / "masks"):
            refuse_link(path)
            make_folder(path, "review")
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                with claim(self.folder / "lock"):
                    if not exists(self.record):
                        self.begin()
                    yield
                return
            except InUseError:
                if time.monotonic() > until:
                    raise
            time.sleep(0.02)

    def _check_record(self) -> None:
        """Refuse the review of another run or version."""
        if exists(self.record) and self._recorded_classes() != self.classes:
            raise InputError(f"{shown(self.record)}: expected the classes of the run, got others; move the folder away")

    def _recorded_classes(self) -> tuple[str, ...]:
        """The classes that the review was made with."""
        content, where = read_json(self.record), shown(self.record)
        if not isinstance(content, dict) or "version" not in content:
            raise InputError(f"{where}: expected the record of a review, got other JSON; restore it, or move it away")
        if content["version"] != VERSION:
            raise InputError(
                f"{where}: expected version {VERSION} of a review, got {str(content['version'])[:40]!r}; use the "
                "version of deft that wrote it"
            )
        classes = content.get("classes")
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes[:IGNORE]):
            raise InputError(f"{where}: expected the classes of the run, got none; restore it, or move the folder away")
        if len(classes) >= IGNORE:
            raise InputError(f"{where}: expected fewer than {IGNORE} classes, got {len(classes)}; restore it")
        return tuple(classes)

    def _journal(self, path: Path) -> Journal:
        """The journal in a file, checked."""
        found, where = journal_of(read_json(path)), shown(path)
        if found is None:
            raise InputError(f"{where}: expected the steps of an image, got other JSON; restore the file, or remove it")
        if f"{_flat(found.name)}.json" != path.name:
            raise InputError(f"{where}: holds the steps of {shown(found.name)!r}; rename the file, or remove it")
        return found


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _needs_mask(decision: Decision) -> str:
    return f"{decision.name!r} is {decision.state}, which needs a mask, got none"


def _flat(name: str) -> str:
    """The name of an image's files, without folders: distinct for distinct names."""
    flat = file_stem(name).replace("/", "%2F")
    if len(flat.encode()) <= _LONGEST:
        return flat
    hashed = sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return flat.encode()[:120].decode(errors="ignore") + "%" + hashed


def _entries(folder: Path, suffix: str = ".json") -> list[os.DirEntry[str]]:
    """The files in a folder that end so, but for those that are being written; none if there is no folder."""
    try:
        with os.scandir(folder) as found:
            return [entry for entry in found if entry.name.endswith(suffix) and not entry.name.startswith(".")]
    except FileNotFoundError:
        return []


def is_review(folder: Path) -> bool:
    """Whether a folder in a run is its review, and no link; suggestions alone make one without decisions."""
    if folder.name != FOLDER or folder.is_symlink() or not os.path.isdir(folder):
        return False
    return any(exists(folder / name) for name in (RECORD, MEASURED, f"{NETWORK}/stage.json"))
