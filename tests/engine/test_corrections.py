"""How reviewed masks teach."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.artifacts import load_mask, save_mask
from deft.contracts import InputError, SeedMaps
from deft.data import open_data
from deft.engine.corrections import Corrections, is_held_out, repeated
from deft.engine.method import confident_indices, make_labels
from deft.recipes import irn
from deft.settings import assign, plain
from fakes import method_context


def test_about_the_share_is_held_out_and_a_larger_share_holds_out_the_same_and_more() -> None:
    names = [f"folder/{index} \udc80" for index in range(4000)]
    before: set[str] = set()
    for share in (0.0, 0.1, 0.2, 0.5):
        now = {name for name in names if is_held_out(name, share)}
        assert before <= now and len(now) == pytest.approx(4000 * share, abs=100)
        before = now


def test_reviewed_images_are_shown_more_often() -> None:
    assert repeated((0, 2, 3, 5), {2, 4, 5}, 3) == (0, 2, 2, 2, 3, 5, 5, 5)
    assert repeated((0, 1), {}, 3) == (0, 1) and repeated((0, 1), {1}, 1) == (0, 1)


@pytest.mark.parametrize("given", [{"held_out": 1.0}, {"held_out": -0.1}, {"repeats": 0}, {"repeats": 101}])
def test_settings_have_ranges(given: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Corrections(**given)  # type: ignore[arg-type]


def test_a_pipeline_that_changes_nothing_of_it_is_recorded_as_before() -> None:
    assert "corrections" not in plain(irn())
    assert plain(assign(irn(), ["corrections.repeats=2"]))["corrections"]["repeats"] == 2


def test_labels_are_the_reviewed_masks_and_held_out_images_have_none(folder_data: Path, tmp_path: Path) -> None:
    data = open_data(f"folder:{folder_data}").train
    large = np.repeat(np.repeat(np.arange(4, dtype=np.uint8).reshape(2, 2), 64, 0), 64, 1)  # of a larger photograph
    save_mask(tmp_path / "large.png", large)
    place = replace(
        method_context(data, tmp_path / "stage"),
        reviewed={3: tmp_path / "large.png"},
        held_out=frozenset({1}),
        repeats=4,
    )

    def seeds(index: int) -> SeedMaps:
        assert index not in (1, 3)
        return SeedMaps((), torch.zeros(0, 16, 16), (64, 64))

    paths = make_labels(place, lambda image, _: np.ones(image.shape[:2], dtype=np.uint8), seeds)
    assert (load_mask(paths[1]) == 255).all()
    assert (load_mask(paths[3]) == large[::2, ::2]).all()
    assert all((load_mask(paths[index]) == 1).all() for index in (0, 2, 4))
    useful = confident_indices(paths, "look", "train")
    assert useful == (0, 2, 3, 4, 5, 6, 7)
    crops = place.crops(paths, useful, crop=1.0, scale=(1.0, 1.0), flip=False)
    assert crops.indices == (0, 2, 3, 3, 3, 3, 4, 5, 6, 7)
