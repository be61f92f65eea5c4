from __future__ import annotations

import math
from dataclasses import replace

import pytest

from deft.contracts import InputError
from deft.recipes import cam
from deft.thresholds import AUTO, check_threshold, number


@pytest.mark.parametrize("value", [AUTO, 0, *(k / 100 for k in range(100))])
def test_auto_and_all_thresholds_of_the_sweep_are_accepted(value: float) -> None:
    check_threshold("seed_threshold", value)
    assert replace(cam(), seed_threshold=value).seed_threshold == value


@pytest.mark.parametrize("value", [0.005, 0.995, 1.0, 1, -0.1, -0.01, math.nan, math.inf, -math.inf, "otsu", "0.5", ""])
@pytest.mark.parametrize("field", ["seed_threshold", "refine.background"])
def test_other_values_are_refused_with_the_name_of_the_field(field: str, value: float) -> None:
    with pytest.raises(InputError) as refused:
        check_threshold(field, value)
    assert str(refused.value) == f"expected {field} to be auto or one of 0.00, 0.01, ... 0.99, got {value}"


@pytest.mark.parametrize("value", [0.0, 0.15, 0.99, 4.0])
def test_numbers_are_returned_unchanged(value: float) -> None:
    assert number(value) == value


def test_auto_is_not_a_number() -> None:
    with pytest.raises(ValueError, match=r"got auto; call settled\(\) with statistics of the maps first"):
        number(AUTO)
