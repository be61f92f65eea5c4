"""The thresholds that there are for one set of maps, and which of them is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deft.artifacts import read_json, write_json
from deft.thresholds.auto import AUTO, Threshold, number
from deft.thresholds.criterion import Choice, needed

How = Literal["fixed", "auto", "tuned"]
"""Set as a number before anything was seen, chosen without masks, or chosen on drawn masks."""
TUNED = "tuned.json"


@dataclass(frozen=True)
class Cuts:
    """Thresholds of one set of maps."""

    field: str
    """The setting, as ``--set`` knows it."""
    setting: Threshold
    choice: Choice | None
    """What is chosen without masks; None for maps that have one value everywhere."""
    tuned: float | None = None
    """What was chosen on drawn masks."""

    @property
    def how(self) -> How:
        """Where the threshold that is used comes from."""
        if self.tuned is not None:
            return "tuned"
        return "auto" if self.setting == AUTO else "fixed"

    @property
    def used(self) -> float:
        """The threshold that masks are made at.

        Raises:
            InputError: it is to be chosen from maps that have one value everywhere.
        """
        if self.tuned is not None:
            return self.tuned
        return needed(self.choice, self.field).threshold if self.setting == AUTO else number(self.setting)

    @property
    def known(self) -> dict[str, float]:
        """Every threshold that needed no mask of the images it is scored on, by :data:`How`."""
        found: dict[str, float] = {} if self.setting == AUTO else {"fixed": number(self.setting)}
        if self.choice is not None:
            found["auto"] = self.choice.threshold
        if self.tuned is not None:
            found["tuned"] = self.tuned
        return found

    def to_json(self) -> dict[str, Any]:
        """For ``run.json``: what is used, how it was chosen, from how many images, and how flat the choice is."""
        chosen = self.choice
        flat = {} if chosen is None else {"from": chosen.images, "equally good": [chosen.low, chosen.high]}
        return {"threshold": self.used, "chosen": self.how, **self.known, **flat}


@dataclass(frozen=True)
class Tuned:
    """What ``deft tune`` chose."""

    thresholds: Mapping[str, float]
    """By stage: ``seeds``, and ``refined`` where there is a refiner."""
    images: tuple[str, ...]
    """Names of the images whose masks they were chosen on: they are not scored any more."""
    off: Mapping[str, float]
    """By stage: mIoU that the choice loses, in the mean over samples drawn from these masks, in [0, 1]."""


def read_tuned(folder: Path) -> Tuned | None:
    """What was chosen on drawn masks for a run; None where nothing was."""
    path = folder / TUNED
    if not path.exists():
        return None
    value = read_json(path)
    return Tuned(dict(value["thresholds"]), tuple(value["images"]), dict(value["off"]))


def write_tuned(folder: Path, tuned: Tuned) -> None:
    """Keep it in the run folder, where every later command on the run finds it."""
    content = {"thresholds": dict(tuned.thresholds), "images": list(tuned.images), "off": dict(tuned.off)}
    write_json(folder / TUNED, content)
