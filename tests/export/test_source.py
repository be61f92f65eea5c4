"""Which masks of which images of a run are chosen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deft.artifacts.review import Review
from deft.contracts import InputError
from deft.export.source import Choice, Source
from export_runs import CLASSES, own_masks

TRAIN = ["a", "sub/b c", "turned", "upside"]


def names(run: Path, **choice: object) -> list[str]:
    return [item.name for item in Source.of(run).chosen(Choice(**choice))]  # type: ignore[arg-type]


def test_all_pseudo_masks_unless_others_are_asked_for(run: Path) -> None:
    assert names(run) == TRAIN
    assert names(run, masks="predictions") == ["held/out", "held/turned"]


def test_some_by_name_class_and_state(run: Path) -> None:
    assert names(run, only=("turned", "a")) == ["a", "turned"]
    assert names(run, classes=("cat",)) == TRAIN
    review = Review(run, CLASSES)
    own = own_masks(run)
    review.write("a", own["a"], "accepted", ["tooth brush"])
    review.write("turned", own["turned"], "corrected")
    review.write("upside", None, "rejected")
    assert names(run, classes=("tooth brush",)) == ["a"]  # tags that the review has changed
    assert names(run, classes=("cat",)) == TRAIN[1:]
    assert names(run, states=("accepted", "unreviewed")) == ["a", "sub/b c"]
    assert names(run, states=("rejected",)) == ["upside"]
    assert names(run, masks="reviewed") == ["a", "turned"]


def test_masks_are_those_of_their_kind(run: Path) -> None:
    source = Source.of(run)
    mask = np.full((40, 60), 2, np.uint8)
    Review(run, CLASSES).write("a", mask, "corrected")
    item = source.items["a"]
    assert (source.mask("pseudo", item) == own_masks(run)["a"]).all()
    assert (source.mask("reviewed", item) == mask).all()
    assert source.mask("predictions", source.items["held/out"]).shape == (33, 47)
    assert source.size(source.items["turned"]) == (50, 36)
    assert source.tags(item) == ("cat", "dog")


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"masks": "psuedo"}, r"--masks psuedo: expected one of pseudo, predictions, reviewed.*nearest: 'pseudo'"),
        ({"masks": "reviewed"}, "found none; bring some in with deft import"),
        ({"only": ("truned",)}, r"--only truned: expected name of an image.*nearest: 'turned'"),
        ({"only": ("held/out",)}, "'held/out' has no pseudo-mask"),
        ({"masks": "predictions", "only": ("a",)}, "'a' has no prediction"),
        ({"classes": ("caat",)}, r"--class caat: expected one of cat, tooth brush, dog.*nearest: 'cat'"),
        ({"classes": ("tooth brush",)}, "none of its 4 masks is of such an image"),
        ({"states": ("acepted",)}, r"--state acepted.*nearest: 'accepted'"),
        ({"states": ("accepted",)}, "none of its 4 masks"),
    ],
)
def test_what_is_not_there_is_named(choice: dict[str, object], said: str, run: Path) -> None:
    with pytest.raises(InputError, match=said):
        names(run, **choice)


def test_a_run_without_masks_is_told(run: Path) -> None:
    record = run / "masks" / "stage.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"state": "begun"}))
    with pytest.raises(InputError, match="expected a run with pseudo-masks, found none; finish it"):
        names(run)


def test_a_mask_that_was_changed_is_refused(run: Path) -> None:
    path = run / "masks" / "a.png"
    path.write_bytes(path.read_bytes() + b"x")
    source = Source.of(run)
    with pytest.raises(InputError, match=r"a\.png: damaged or replaced"):
        source.mask("pseudo", source.items["a"])


def test_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a run folder"):
        Source.of(tmp_path)
