"""The images that a run folder was made from, ``images.json``, and how those of now differ from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deft.artifacts import atomic_write, read_json
from deft.artifacts.contents import DIGITS, whole
from deft.artifacts.photographs import RECORD, digests, stored
from deft.backbone import weights_key
from deft.contracts import DigestFiles, InputError, Splits
from deft.data.differences import differences
from deft.data.fingerprints import Taught, taught
from deft.guards.opening import exists, read_regular
from deft.pipeline import Pipeline
from deft.settings import places_of

_EARLIER = 64
"""Hex digits of the fingerprints of earlier versions, which were of the sizes and times of files."""


@dataclass(frozen=True)
class Images:
    """What both splits of a run teach."""

    train: Taught
    val: Taught | None

    @classmethod
    def of(cls, splits: Splits, digests: DigestFiles = whole) -> Images:
        """Read the files of both splits, as far as their digests are not known.

        Raises:
            InputError: a file cannot be read.
        """
        return cls(taught(splits.train, digests), None if splits.val is None else taught(splits.val, digests))

    @property
    def photographs(self) -> dict[str, str]:
        """Digest of each photograph by name, as far as it is known (:mod:`deft.artifacts.photographs`)."""
        return digests(self._parts())

    @property
    def names(self) -> set[str]:
        """Names of all images."""
        return {*self.train.tags, *(() if self.val is None else self.val.tags)}

    def _parts(self) -> dict[str, Any]:
        parts = {"train": self.train} | ({} if self.val is None else {"val": self.val})
        return {part: one.to_json() for part, one in parts.items()}

    def store(self, run: Path) -> None:
        """Write them into a run folder; names in any encoding are escaped."""
        content = json.dumps(self._parts(), separators=(",", ":"))
        if not exists(run / RECORD) or read_regular(run / RECORD) != content.encode():
            atomic_write(run / RECORD, content.encode())

    def held_out_remark(self, run: Path) -> str:
        """What has changed among the held-out images, since a run folder was written; empty if nothing has."""
        before = stored(run).get("val")
        if before is None or self.val is None or not (found := differences(before, self.val)):
            return ""
        return f"held-out images: {found}; what was made of them is made again, and nothing that was trained"


def told(run: Path, now: Mapping[str, Any], pipeline: Pipeline, images: Images) -> dict[str, str]:
    """How entries of a run's record differ from those of now, for :func:`deft.settings.refuse_other`.

    Args:
        run: its folder, which need not exist.
        now: the record that would be written now.
        pipeline: of now.
        images: of now.
    """
    found = {f"settings.{name}": "" for name in places_of(pipeline)}
    try:
        record = read_json(run / "run.json") if exists(run / "run.json") else {}
    except InputError:
        return found  # reading it again says what is wrong
    before = record.get("data") if isinstance(record, dict) else None
    settings = record.get("settings") if isinstance(record, dict) else None
    weights = settings.get("weights") if isinstance(settings, dict) else None
    if weights_key(str(weights)) == weights_key(now["settings"]["weights"]):
        found["settings.weights"] = ""
    elif weights == "hub" and now["settings"]["weights"].startswith("hub "):
        found["settings.weights"] = (
            "initial weights: the folder is of an earlier version of deft, which recorded no tag and no hash of the "
            f"weights of the hub; whether they were {now['settings']['weights'].removeprefix('hub ')} cannot be told"
        )
    if not isinstance(before, dict):
        return found
    taught_before = stored(run).get("train")
    changed = differences(taught_before, images.train)
    earlier = len(str(before.get("fingerprint"))) == _EARLIER != len(images.train.fingerprint) == DIGITS
    if taught_before is None and earlier:
        found["data.fingerprint"] = (
            "images: the folder is of an earlier version of deft, which knew images by the sizes and times of their "
            "files; whether they are these cannot be told, so that every stage has to be made again, in a new folder"
        )
    elif changed:
        found["data.fingerprint"] = f"images to learn from: {changed}"
    return found
