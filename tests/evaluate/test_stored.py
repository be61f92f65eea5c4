from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from deft.contracts import InputError
from deft.evaluate.stored import read_scores, swept_threshold, unusable
from fuzz.records import scores_json


def put(value: Any, place: str, new: Any) -> Any:
    """A copy of a value with another one at a dotted place; ``...`` removes it."""
    value = copy.deepcopy(value)
    *parents, last = place.split(".")
    inside = value
    for part in parents:
        inside = inside[int(part) if isinstance(inside, list) else part]
    if new is ...:
        del inside[last]
    else:
        inside[int(last) if isinstance(inside, list) else last] = new
    return value


def test_scores_with_every_part_and_with_none_are_read(tmp_path: Path) -> None:
    for scores in (scores_json(), {"classes": ["cow"]}, put(scores_json(), "val.seeds", {})):
        (tmp_path / "scores.json").write_text(json.dumps(scores))
        assert read_scores(tmp_path) == scores and unusable(scores) == ""


@pytest.mark.parametrize(
    ("place", "new"),
    [
        ("classes", ...),
        ("classes", "cow"),
        ("classes", ["cow"]),
        ("train", []),
        ("train.seeds", ...),
        ("train.seeds.used", ...),
        ("train.seeds.used.threshold", "0.3"),
        ("train.seeds.swept.miou", "high"),
        ("train.seeds.swept.miou", -0.1),
        ("train.seeds.curve", [0.1]),
        ("train.seeds.curve.0", 37.5),
        ("val.tags.map", 1.01),
        ("val.segmentation.iou.1", -1),
        ("train.seeds.thresholds", [0, None, 1]),
        ("train.masks.used.iou", [0.1]),
        ("train.images", ["a"]),
        ("train.images", {"a": None}),
        ("val.tags.ap", [0.5]),
        ("val.groups", [1]),
        ("val.groups.aligned.count", "many"),
        ("val.segmentation.iou.0", {}),
        ("coverage.sums", [[1.0]]),
        ("coverage.sums.0", [1.0]),
        ("coverage.sums.3.0", None),
        ("coverage.images", 2.5),
        ("left out", ["a"]),
        ("refinement.seeds", {}),
        ("precision.seeds.miou of float32", ...),
        ("precision.images", None),
        ("doubtful.tags", [{"image": "a"}]),
        ("doubtful.doubted", True),
    ],
)
def test_edited_scores_are_one_message(place: str, new: Any, tmp_path: Path) -> None:
    scores = put(scores_json(), place, new)
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    with pytest.raises(InputError) as caught:
        read_scores(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'scores.json'}: expected ") and "remove the file" in message
    assert "\n" not in message and unusable(scores)


def test_the_best_threshold_needs_scored_training_images(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text(json.dumps(scores_json()))
    assert swept_threshold(tmp_path) == 0.3
    for scores in (put(scores_json(), "train", ...), put(scores_json(), "train.seeds", {})):
        (tmp_path / "scores.json").write_text(json.dumps(scores))
        with pytest.raises(InputError, match="expected scores of the training images, got none"):
            swept_threshold(tmp_path)
