"""Each augmentation is IRN, or IRN with DEFT, with one field changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import deft
from deft.augment import (
    CoMixup,
    CutMix,
    Cutout,
    HideAndSeek,
    ManifoldMixup,
    Mixup,
    NoisyFeatureMixup,
    PuzzleMix,
    SuperMix,
)
from deft.contracts import Augmentation, SalientAugmentation
from deft.recipes import RECIPES, irn, irn_deft
from deft.settings import assign
from short import tiny

AUGMENTATIONS: dict[str, Augmentation | SalientAugmentation] = {
    "mixup": Mixup(),
    "manifold_mixup": ManifoldMixup(),
    "cutout": Cutout(),
    "cutmix": CutMix(),
    "hide_and_seek": HideAndSeek(),
    "noisy_feature_mixup": NoisyFeatureMixup(),
    "puzzle_mix": PuzzleMix(),
    "co_mixup": CoMixup(),
    "super_mix": SuperMix(),
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_augmentation_is_all_that_differs(name: str) -> None:
    for base, pipeline in ((irn(), RECIPES[name]()), (irn_deft(), RECIPES[f"{name}_deft"]())):
        assert pipeline.own_classifier.augment == AUGMENTATIONS[name]
        plain = dataclasses.replace(pipeline.own_classifier, augment=None)
        assert dataclasses.replace(pipeline, classifier=plain) == base


def test_settings_of_the_papers() -> None:
    assert (Mixup().alpha, ManifoldMixup().alpha, CutMix().alpha, CutMix().union) == (0.2, 2.0, 1.0, False)
    assert (HideAndSeek().sizes, HideAndSeek().hide) == ((0, 16, 32, 44, 56), 0.5)
    assert (Cutout().side, Cutout().count) == (0.25, 1)
    noisy, puzzle, co = NoisyFeatureMixup(), PuzzleMix(), CoMixup()
    assert (noisy.alpha, noisy.additive, noisy.multiplicative) == (1.0, 0.4, 0.2)
    assert (puzzle.smooth, puzzle.contrast, puzzle.prior, puzzle.strip) == (1.2, 0.5, 0.2, 4)
    assert (puzzle.levels, puzzle.transport_cost) == (3, 0.8)
    assert (co.smooth, co.overlap, co.prior, co.allowed, co.distance) == (0.32, 1.0, 0.05, 0.83, 0.001)
    assert (SuperMix().alpha, SuperMix().sigma, SuperMix().sparsity, SuperMix().cells) == (3.0, 2.0, 25.0, 16)


def test_settings_are_reached_from_the_command_line() -> None:
    assert assign(RECIPES["mixup"](), ["classifier.augment.alpha=.5"]).own_classifier.augment == Mixup(alpha=0.5)
    layers = assign(RECIPES["manifold_mixup"](), ["classifier.augment.layers=[0, 4]"]).own_classifier.augment
    assert layers == ManifoldMixup(layers=(0, 4))
    assert assign(RECIPES["cutmix"](), ["classifier.augment.union=true"]).own_classifier.augment == CutMix(union=True)
    found = assign(RECIPES["puzzle_mix"](), ["classifier.augment.cells=[4]"]).own_classifier.augment
    assert found == PuzzleMix(cells=(4,))
    assert assign(RECIPES["cutout"](), ["classifier.augment=none"]) == irn()
    with pytest.raises(deft.InputError, match="alpha=0: expected a number above 0"):
        assign(RECIPES["mixup"](), ["classifier.augment.alpha=0"])


def test_a_network_whose_layers_cannot_be_mixed_is_told(folder_data: Path, tmp_path: Path) -> None:
    pipeline = tiny(RECIPES["manifold_mixup"](), "segment=none", "classifier.augment.layers=[6]")
    with pytest.raises(deft.InputError, match="the backbone has 5 feature maps"):
        deft.run(pipeline, f"folder:{folder_data}", tmp_path / "run")
