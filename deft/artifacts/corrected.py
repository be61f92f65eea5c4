"""What a round has taken over from a review, ``RUN/corrected/``: a copy, because a review goes on while a run trains.

::

    RUN/corrected/corrections.json   names of the images: those that teach, are held out, are rejected, have other tags
    RUN/corrected/masks/NAME.png     their reviewed masks
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deft.artifacts.expected import read_expected
from deft.artifacts.files import file_stem
from deft.artifacts.stage import Stage
from deft.guards.opening import exists
from deft.settings import key_of

FOLDER = "corrected"
RECORD = "corrections.json"
_FORM: Any = {"taught": {str: str}, "held out": {str: str}, "val": {str: str}, "rejected": [str], "tags": {str: [str]}}
_REMEDY = "remove the folder and repeat the deft run command"


@dataclass(frozen=True)
class Corrected:
    """Reviewed images of a run, by name; masks by the SHA-256 of their files."""

    run: Path
    taught: Mapping[str, str] = field(default_factory=dict)
    """Training images whose reviewed masks teach."""
    held_out: Mapping[str, str] = field(default_factory=dict)
    """Training images with a reviewed mask that teach no network of masks."""
    val: Mapping[str, str] = field(default_factory=dict)
    """Images of the held-out split with a reviewed mask."""
    rejected: tuple[str, ...] = ()
    """Training images that teach nothing."""
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Classes of training images that are not those of the dataset."""

    def mask_file(self, name: str) -> Path:
        """The file of the reviewed mask of an image."""
        return self.run / FOLDER / "masks" / f"{file_stem(name)}.png"

    @property
    def stage(self) -> Stage:
        """The stage that holds them, with the key of their content."""
        return Stage(FOLDER, self.run / FOLDER, key_of(FOLDER, self.to_json()))

    @property
    def masks_key(self) -> str:
        """Digest of what teaches the networks of masks; empty if nothing is changed for them."""
        if not self.taught and not self.held_out:
            return ""
        return key_of("reviewed masks", [sorted(self.taught.items()), sorted(self.held_out)])

    @property
    def scores_key(self) -> list[str]:
        """What scores depend on; empty if nothing was reviewed."""
        any_of_it = self.taught or self.held_out or self.val or self.rejected
        return [self.stage.key] if any_of_it else []

    def to_json(self) -> dict[str, Any]:
        """Content of the record."""
        return {
            "taught": dict(sorted(self.taught.items())),
            "held out": dict(sorted(self.held_out.items())),
            "val": dict(sorted(self.val.items())),
            "rejected": sorted(self.rejected),
            "tags": {name: list(tags) for name, tags in sorted(self.tags.items())},
        }


def read_corrected(run: Path) -> Corrected:
    """What a round has taken over; nothing if it has no such folder.

    Raises:
        InputError: the record cannot be read, or holds something else.
    """
    path = run / FOLDER / RECORD
    if not exists(path):
        return Corrected(run)
    value = read_expected(path, _FORM, _REMEDY)
    tags = {name: tuple(classes) for name, classes in value["tags"].items()}
    return Corrected(run, value["taught"], value["held out"], value["val"], tuple(value["rejected"]), tags)
