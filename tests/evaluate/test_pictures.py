"""Rows of pictures of a run whose files were put there by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from deft.artifacts import RunFolder, load_seeds, save_mask, save_seeds
from deft.contracts import SeedMaps, Splits
from deft.data import open_data
from deft.evaluate.pictures import held_out_pictures, pictures, tagged_first
from deft.recipes import irn
from deft.report.overlay import overlay, seeds_over_image
from deft.seedmaps import upsample
from deft.stages.context import Run
from short import tiny

MASK = np.tile(np.repeat(np.array([0, 1], dtype=np.uint8), 32), (64, 1))
"""Left half background, right half the first class."""


@pytest.fixture
def run(folder_data: Path, tmp_path: Path) -> Iterator[Run]:
    folder = RunFolder(tmp_path / "run", {})
    yield Run(tiny(irn(), "segment=none"), open_data(f"folder:{folder_data}"), folder)
    folder.close()


def test_a_row_shows_what_there_is_in_the_order_of_the_stages(run: Run) -> None:
    sample, maps = run.train[3], torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0))
    for files, power in ((run.files("seeds", run.train, ".npz", "train"), 1), (run.map_files(), 2)):
        save_seeds(files[3], SeedMaps((0, 1), maps**power, (64, 64)))
    save_mask(run.files("masks", run.train, ".png")[3], MASK)
    save_mask(run.files("predictions", run.train, ".png", "train")[3], 2 * MASK)
    (row,) = pictures(run, [3], "train", {"img_03": 0.25})
    assert (row.name, row.tags, row.score) == ("img_03", ("cat", "cow"), 0.25)
    assert [caption for caption, _ in row.pictures] == [
        *("image", "seeds", "refined", "pseudo-mask", "prediction", "truth"),
    ]
    shown = dict(row.pictures)
    assert np.array_equal(shown["image"], sample.image)
    for name, files in (("seeds", run.files("seeds", run.train, ".npz", "train")), ("refined", run.map_files())):
        full = upsample(load_seeds(files[3])).numpy()
        assert np.array_equal(shown[name], seeds_over_image(sample.image, full, (0, 1)))
    assert np.array_equal(shown["pseudo-mask"], overlay(sample.image, MASK))
    assert np.array_equal(shown["prediction"], overlay(sample.image, 2 * MASK))
    assert sample.mask is not None
    assert np.array_equal(shown["truth"], overlay(sample.image, sample.mask))


def test_what_is_not_there_is_not_shown(run: Run) -> None:
    rows = pictures(run, [0, 5], "train")
    assert [row.name for row in rows] == ["img_00", "img_05"]
    assert [row.tags for row in rows] == [("cat",), ()]
    assert [[caption for caption, _ in row.pictures] for row in rows] == [["image", "truth"]] * 2
    assert [row.score for row in rows] == [None, None]


def test_held_out_images_have_no_pseudo_masks(run: Run) -> None:
    save_mask(run.files("masks", run.val, ".png")[0], MASK)  # of another image of that name
    save_mask(run.files("predictions", run.val, ".png", "val")[0], MASK)
    rows = held_out_pictures(run)
    assert [row.name for row in rows] == ["img_08", "img_09", "img_10"]  # the fourth has no tag
    assert [caption for caption, _ in rows[0].pictures] == ["image", "prediction", "truth"]
    alone = Run(run.pipeline, Splits(run.train, None), run.out)
    assert held_out_pictures(alone) == ()


@pytest.mark.parametrize(
    ("tags", "count", "expected"),
    [
        ([1, 1, 1, 1, 1], 3, [0, 2, 4]),
        ([0, 1, 0, 1, 1], 2, [1, 4]),
        ([0, 1, 0, 1, 1], 9, [1, 3, 4]),
        ([0, 0, 0], 2, [0, 2]),
        ([1], 4, [0]),
    ],
)
def test_indices_are_spread_over_the_tagged_images(tags: list[int], count: int, expected: list[int]) -> None:
    class Tagged:
        labels = np.array(tags, dtype=bool)[:, None]

        def __len__(self) -> int:
            return len(tags)

    assert tagged_first(cast(Any, Tagged()), count) == expected
