from __future__ import annotations

import dataclasses

import pytest

from deft.classify.frozen_deft import FrozenDeftHead
from deft.classify.linear import LinearHead
from deft.contracts import InputError
from deft.engine.features import Frozen
from deft.recipes import cam, frozen, frozen_deft, puzzle_cam, sipe
from deft.refine.affinity import FeatureAffinity
from deft.seeds.cam import Cam
from deft.seeds.frozen import FrozenCam
from deft.settings import assign, plain


def test_what_they_consist_of() -> None:
    one, other = frozen(), frozen_deft()
    assert one.frozen == Frozen() and isinstance(one.seeds, FrozenCam) and isinstance(one.refine, FeatureAffinity)
    assert isinstance(one.own_classifier.head, LinearHead) and isinstance(other.own_classifier.head, FrozenDeftHead)
    assert other.own_classifier.head.swap_epoch <= other.own_classifier.plan.epochs
    assert dataclasses.replace(other, classifier=one.classifier) == one


def test_records_of_other_recipes_do_not_change() -> None:
    assert "frozen" not in plain(cam()) and "cells" not in plain(cam())["classifier"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classifier": None}, "no classifier"),
        ({"seeds": Cam()}, "FrozenCam"),
        ({"frozen": None}, "frozen backbone"),
        (
            {"refine": FeatureAffinity(radius=9)},
            r"refine\.radius=9: expected at most 5, which is frozen\.radius.*; set refine\.radius=5",
        ),
    ],
)
def test_parts_that_do_not_fit(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        dataclasses.replace(frozen(), **change)  # type: ignore[arg-type]


def test_radii_that_fit_are_given_in_any_order() -> None:
    for order in (["refine.radius=9", "frozen.radius=9"], ["frozen.radius=9", "refine.radius=9"]):
        changed = assign(frozen(), order)
        assert (changed.refine, changed.frozen) == (FeatureAffinity(radius=9), Frozen(radius=9))
    assert assign(frozen(), ["refine.radius=3"]).refine == FeatureAffinity(radius=3)


def test_heads_of_several_maps_are_refused() -> None:
    from deft.backbone import build_backbone

    backbone = Frozen(side=64).on(build_backbone("test_resnet", "none", 16))
    for other in (sipe(), puzzle_cam()):
        classifier = dataclasses.replace(frozen().own_classifier, head=other.own_classifier.head)
        with pytest.raises(InputError, match="several feature maps"):
            classifier.build(backbone, 3)
    with pytest.raises(InputError, match="a multiple of 4"):
        assign(frozen(), ["frozen.stride=6"])
