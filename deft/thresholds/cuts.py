"""The thresholds of one set of maps (fixed, auto, tuned), and which of them is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deft.artifacts import write_json
from deft.artifacts.expected import read_expected
from deft.guards.opening import exists
from deft.thresholds.auto import AUTO, Threshold, number
from deft.thresholds.criterion import LONGER, Choice, needed

How = Literal["fixed", "auto", "tuned"]
"""How a threshold was chosen: set to a number in advance, without masks, or on drawn masks."""
TUNED = "tuned.json"
_FORM = {"thresholds": {str: float}, "images": [str], "off": {str: float}}


@dataclass(frozen=True)
class Cuts:
    """Thresholds of one set of maps."""

    field: str
    """Dotted name of the setting, as in ``--set``."""
    setting: Threshold
    """Value of the setting."""
    choice: Choice | None
    """Threshold chosen without masks; None for maps that have one value everywhere."""
    tuned: float | None = None
    """Threshold chosen on drawn masks; None if there is none."""
    images: int = 1
    """Number of images with maps."""
    remedy: str = LONGER
    """What makes better maps, for messages."""

    @property
    def how(self) -> How:
        """How the threshold in use was chosen."""
        if self.tuned is not None:
            return "tuned"
        return "auto" if self.setting == AUTO else "fixed"

    @property
    def used(self) -> float:
        """The threshold in use.

        Raises:
            InputError: it is ``auto``, and the maps have one value everywhere.
        """
        if self.tuned is not None:
            return self.tuned
        return self.needed(self.field).threshold if self.setting == AUTO else number(self.setting)

    def needed(self, what: str) -> Choice:
        """The threshold chosen without masks.

        Args:
            what: it is for, for the message.

        Raises:
            InputError: the maps have one value everywhere, or there are none.
        """
        return needed(self.choice, what, self.images, self.remedy)

    @property
    def known(self) -> dict[str, float]:
        """All thresholds chosen without masks of the images to be scored, by :data:`How`."""
        found: dict[str, float] = {} if self.setting == AUTO else {"fixed": number(self.setting)}
        if self.choice is not None:
            found["auto"] = self.choice.threshold
        if self.tuned is not None:
            found["tuned"] = self.tuned
        return found

    def to_json(self) -> dict[str, Any]:
        """JSON values for ``run.json``: the threshold, how it was chosen, on how many images, and equally good ones."""
        chosen = self.choice
        flat = {} if chosen is None else {"from": chosen.images, "equally good": [chosen.low, chosen.high]}
        return {"threshold": self.used, "chosen": self.how, **self.known, **flat}


@dataclass(frozen=True)
class Tuned:
    """Thresholds chosen by ``deft tune``."""

    thresholds: Mapping[str, float]
    """By stage: ``seeds``, and ``refined`` if there is a refiner."""
    images: tuple[str, ...]
    """Names of the images on whose masks they were chosen; these are no longer scored."""
    off: Mapping[str, float]
    """By stage: expected loss in mIoU, in [0, 1], estimated on bootstrap samples of these masks."""


def read_tuned(folder: Path) -> Tuned | None:
    """The thresholds tuned for a run; None if there are none.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    path = folder / TUNED
    if not exists(path):
        return None
    value = read_expected(path, _FORM, "remove the file and repeat the deft tune command")
    return Tuned(dict(value["thresholds"]), tuple(value["images"]), dict(value["off"]))


def write_tuned(folder: Path, tuned: Tuned) -> None:
    """Store the thresholds in the run folder, for all later commands on the run."""
    content = {"thresholds": dict(tuned.thresholds), "images": list(tuned.images), "off": dict(tuned.off)}
    write_json(folder / TUNED, content)
