"""PAMR and PAR are class activation maps with a refiner that trains nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deft.classify.deft import DeftHead
from deft.contracts import InputError
from deft.recipes import RECIPES, cam, published
from deft.recipes.irn import with_deft
from deft.refine.pamr import Pamr
from deft.refine.par import Par
from deft.settings import assign


@pytest.mark.parametrize(("name", "refiner"), [("pamr", Pamr()), ("par", Par())])
def test_the_refiner_is_all_that_differs(name: str, refiner: object) -> None:
    assert RECIPES[name]().refine == refiner
    assert replace(RECIPES[name](), refine=None) == cam()
    assert RECIPES[f"{name}_deft"]() == with_deft(RECIPES[name]())
    assert isinstance(RECIPES[f"{name}_deft"]().own_classifier.head, DeftHead)


def test_settings_are_those_of_the_authors() -> None:
    assert (Pamr().iterations, Pamr().softness) == (10, 0.1)
    assert (Par().iterations, Par().softness, Par().spatial_softness, Par().spatial_weight) == (10, 0.3, 0.3, 0.01)
    assert Pamr().distances == Par().distances == (1, 2, 4, 8, 12, 24)


def test_settings_are_reached_from_the_command_line() -> None:
    found = assign(RECIPES["par"](), ["refine.stride=4", "refine.distances=[1, 3]", "refine.background=0.3"])
    assert found.refine == Par(stride=4, distances=(1, 3), background=0.3)


def test_no_thresholds_were_published() -> None:
    with pytest.raises(InputError, match="no thresholds were published for Par; leave --thresholds out"):
        published(RECIPES["par"]())
