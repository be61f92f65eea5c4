"""The settings of a run, and nothing that runs them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Any

import pytest

from deft.contracts import InputError
from deft.pipeline import Pipeline
from deft.recipes import RECIPES, cam, external, irn
from deft.segment.deeplab import DeepLab
from deft.settings import assign, plain, restore


def test_by_default_it_chooses_thresholds_and_precision_and_goes_to_the_end() -> None:
    pipeline = Pipeline(classifier=None)
    assert (pipeline.seed_threshold, pipeline.precision) == ("auto", "auto")
    assert (pipeline.backbone, pipeline.weights, pipeline.stride, pipeline.seed) == ("resnet50", "hub", 16, 0)
    assert pipeline.refine is None and pipeline.segment == DeepLab()


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_comes_back_from_its_record(name: str) -> None:
    assert restore(plain(RECIPES[name]())) == RECIPES[name]()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"precision": "bf16"}, r"expected a precision of auto, 32-true, .* got 'bf16'"),
        ({"seed": -1}, "Pipeline.seed: expected a whole number from 0 to 4,294,967,295, got -1"),
        (
            {"seed_threshold": 0.123},
            r"expected seed_threshold to be auto or one of .* 0\.99, got 0\.123",
        ),
        ({"seed_threshold": "otsu"}, "expected seed_threshold to be auto or one of .* got otsu"),
        (
            {"classifier": None, "segment": DeepLab(from_classifier=True)},
            r"segment\.from_classifier is set, but there is no classifier",
        ),
    ],
)
def test_settings_that_would_end_a_run_are_refused_before_it(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        replace(cam(), **change)


def test_a_refiner_from_elsewhere_needs_a_threshold_that_can_be_cut_at() -> None:
    @dataclass(frozen=True)
    class Own:
        background: float = 1.5

        def prepare(self, context: object) -> object:
            return context

    with pytest.raises(InputError, match=r"expected refine\.background to be auto or one of .* got 1\.5"):
        replace(cam(), refine=Own())


def test_the_classifier_of_a_recipe_that_has_none_cannot_be_changed() -> None:
    assert irn().own_classifier is not None
    assert irn().own_classifier == irn().classifier
    with pytest.raises(InputError, match="trains no classifier"):
        _ = external().own_classifier


def test_a_pipeline_is_changed_by_making_another() -> None:
    base = cam()
    with pytest.raises(FrozenInstanceError):
        base.seed = 3  # type: ignore[misc]
    assert assign(base, ["seed=3"]) == replace(base, seed=3) != base
