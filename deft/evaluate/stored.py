"""Scores as they are stored in ``scores.json``, checked when they are read again: a page or a study is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deft.artifacts.expected import ANY, difference, read_expected
from deft.contracts import InputError
from deft.guards.words import shown

RECORD = "scores.json"
_FRACTIONS = {"miou", "iou", "map", "ap", "curve", "equal pixels", "miou of float32"}
_ROUNDING = 1e-6
REMEDY = "remove the file and repeat the deft run command, which only scores again"
_NUMBER: Any = (float, type(None))
_IOU: Any = {"miou": _NUMBER, "iou": [_NUMBER]}
_CUT: Any = {"threshold": float, **_IOU}
_CUTS = ("fixed", "auto", "tuned", "chosen on train")
_SWEEP: Any = (
    {
        **{"curve": [float], "thresholds": [float], "swept": _CUT, "used": {"chosen": str, **_CUT}},
        **{f"{name}?": _CUT for name in _CUTS},
    },
    {},
)
_PART: Any = {"tags?": {"map": _NUMBER, "ap": [_NUMBER]}, "seeds?": _SWEEP, "segmentation?": _IOU}
_EQUAL: Any = {"equal pixels": float, "miou?": float, "miou of float32?": float}
_MAPS = {"colours": float, "crf?": float, "network?": float}
FORM: Any = {
    "classes": [str],
    "made_of?": ANY,
    "parts?": {str: str},
    "truth?": ANY,
    "train?": {"seeds": _SWEEP, "masks": _SWEEP, "images": {str: float}},
    "val?": {**_PART, "groups?": {str: {"count": int, "map?": _NUMBER, **_PART}}},
    "coverage?": {"images": int, "pixels": int, "sums": [*([[float]] * 7), [_NUMBER]]},
    "reviewed?": {
        **{"taught": int, "held out": int, "rejected": int},
        **{"masks?": {**_IOU, "images": int}, "segmentation?": {**_IOU, "images": int}},
    },
    "left out?": {str: str},
    "thresholds?": ANY,
    "refinement?": {"harmed": bool, "seeds": _MAPS, "refined": _MAPS},
    "precision?": {"precision": str, "images": int, "seeds?": _EQUAL, "segmentation?": _EQUAL},
    "doubtful?": {"doubted": int, "tags": [{"image": str, "class": str, "given": bool}]},
}
"""What :func:`deft.evaluate.scores.evaluate` writes, as far as it is read again."""


def read_scores(folder: Path) -> dict[str, Any]:
    """The scores of a run.

    Args:
        folder: of the run.

    Raises:
        InputError: there are none, or they were edited to something that cannot be.
    """
    scores: dict[str, Any] = read_expected(folder / RECORD, FORM, REMEDY)
    if wrong := _inconsistent(scores):
        raise InputError(f"{shown(folder / RECORD)}: {wrong}; {REMEDY}")
    return scores


def swept_threshold(folder: Path) -> float:
    """The seeds' best threshold on the training images of a run, chosen on their ground truth.

    Raises:
        InputError: as for :func:`read_scores`, or no training image was scored.
    """
    seeds = read_scores(folder).get("train", {}).get("seeds")
    if not seeds:
        raise InputError(f"{shown(folder / RECORD)}: expected scores of the training images, got none; {REMEDY}")
    return float(seeds["swept"]["threshold"])


def unusable(scores: Any) -> str:
    """Why scores cannot be used; empty if they can."""
    return difference(scores, FORM) or _inconsistent(scores)


def _inconsistent(scores: dict[str, Any]) -> str:
    """What is wrong with scores of the right form: a value that cannot be, or lists that belong together."""
    classes = len(scores["classes"])
    for name, part in _objects(scores):
        for entry in _FRACTIONS & part.keys():
            values = part[entry] if isinstance(part[entry], list) else [part[entry]]
            wrong = [value for value in values if value is not None and not -_ROUNDING <= value <= 1 + _ROUNDING]
            if wrong:
                return f"expected {shown(name)!r} to have {entry} from 0 to 1, got {wrong[0]:g}"
        for entry, length in (("iou", classes + 1), ("ap", classes)):
            if entry in part and len(part[entry]) != length:
                return f"expected {shown(name)!r} to have {entry} of {length} values, got {len(part[entry])}"
        if "curve" in part and not 0 < len(part["curve"]) == len(part["thresholds"]):
            return f"expected {shown(name)!r} to have a value for each of its thresholds, got {len(part['curve'])}"
        if "miou" in part and "equal pixels" in part and "miou of float32" not in part:
            return f"expected {shown(name)!r} to have 'miou of float32', found none"
    for row in scores.get("coverage", {}).get("sums", ()):
        if len(row) != classes + 1:
            return f"expected 'coverage.sums' to have rows of {classes + 1} values, got {len(row)}"
    return ""


def _objects(scores: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects with numbers of a split, of its parts, or of the comparison of precisions, by their dotted name."""
    pending: list[tuple[str, Any]] = [
        (name, scores[name]) for name in ("train", "val", "reviewed", "precision") if name in scores
    ]
    while pending:
        name, part = pending.pop()
        yield name, part
        pending += [(f"{name}.{key}", each) for key, each in part.items() if isinstance(each, dict) and key != "images"]
