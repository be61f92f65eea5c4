from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from deft.contracts import InputError, Sample, SeedMaps
from deft.stages.returned import check_maps, check_prepared


@dataclass
class Method:
    """What made the maps."""


SAMPLE = Sample("farm/a", np.zeros((41, 30, 3), np.uint8), np.array([True, False, True]))


def maps(classes: tuple[int, ...] = (0, 2), value: float = 0.5, **changes: Any) -> SeedMaps:
    given = {"maps": torch.full((len(classes), 11, 8), value), "size": (41, 30), **changes}
    return SeedMaps(classes, **given)


@pytest.mark.parametrize("found", [maps(), maps(()), maps((1,)), maps(value=0.0), maps(value=1.0), maps(value=1.001)])
def test_maps_in_range_on_the_grid_are_taken(found: SeedMaps) -> None:
    assert check_maps(found, SAMPLE, Method()) is found


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (torch.zeros(2, 11, 8), "to return deft.SeedMaps, got Tensor"),
        (
            maps(maps=torch.zeros(2, 41, 30)),
            "expected maps (2, 11, 8), one per class on a grid of stride 4, got (2, 41,",
        ),
        (maps(maps=torch.zeros(3, 11, 8)), "got (3, 11, 8)"),
        (maps(size=(30, 41)), "expected size (41, 30), (H, W) of the image, got (30, 41)"),
        (maps((2, 0)), "expected ascending class indices from 0 to 2, got (2, 0)"),
        (maps((0, 3)), "got (0, 3)"),
        (maps((1, 1)), "got (1, 1)"),
        (maps(value=1.2), "expected maps in 0 to 1, got 1.2 to 1.2"),
        (maps(value=-0.5), "got -0.5 to -0.5"),
        (maps(value=float("nan")), "got nan to nan"),
    ],
)
def test_other_maps_are_refused_with_the_image_and_the_method(found: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        check_maps(found, SAMPLE, Method())
    assert str(caught.value).startswith("Method on image 'farm/a': ")
    assert words in str(caught.value)


def test_what_is_prepared_is_a_function_of_one_image() -> None:
    check_prepared(lambda sample: None, 1, Method())
    check_prepared(lambda sample, seeds: None, 2, Method())
    with pytest.raises(InputError, match=r"Method\.prepare: expected .* a function of one image, got None"):
        check_prepared(None, 1, Method())
    with pytest.raises(InputError, match="a function of one image and its seeds, got"):
        check_prepared(lambda sample: None, 2, Method())
