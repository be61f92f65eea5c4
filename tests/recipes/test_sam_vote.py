"""Masks of a folder vote, from files to pseudo-masks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import deft
from deft.artifacts import file_stem, read_json
from deft.classify.deft import DeftHead
from deft.contracts import Dataset, InputError
from deft.data import open_data
from deft.pipeline import Pipeline
from deft.recipes import cam, sam_vote, sam_vote_deft
from deft.refine.sam_vote import SamVote
from deft.runner.recorded import reopen
from deft.runner.run import reads, resolved
from deft.seeds.external import External
from references import stored_miou
from short import tiny
from userfiles import write_maps


def write_masks(folder: Path, data: Dataset) -> Path:
    """The outline of each object, and of the rest, as one archive for each image."""
    folder.mkdir()
    for index, name in enumerate(data.names):
        truth = data[index].mask
        assert truth is not None
        masks = np.stack([truth == value for value in np.unique(truth[truth < 255])])
        np.savez_compressed(folder / f"{file_stem(name)}.npz", masks=masks)
    return folder


def of(folder: Path, maps: Path, *more: str) -> Pipeline:
    """The recipe on maps of a folder, without a network after it."""
    found = tiny(sam_vote(), f"refine.masks.folder={folder}", "segment=none", *more, steps=2)
    return dataclasses.replace(found, classifier=None, seeds=External(str(maps)))


@pytest.mark.parametrize("rule", ["MeanVote", "OverlapVote"])
def test_masks_go_all_the_way(rule: str, folder_data: Path, tmp_path: Path) -> None:
    splits = open_data(f"folder:{folder_data}")
    folder = write_masks(tmp_path / "masks", splits.train)
    maps = write_maps(tmp_path / "maps", splits.train)
    pipeline = of(folder, maps, f"refine.rule={rule}")
    deft.run(pipeline, f"folder:{folder_data}", tmp_path / "run", name="sam_vote")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    found = stored_miou(tmp_path / "run" / "masks", splits.train)
    assert scores["train"]["masks"]["used"]["miou"] == pytest.approx(found)
    assert found > 0.85  # maps and masks are the truth, but for the grid of four pixels
    again = reopen(tmp_path / "run")
    try:
        assert again.pipeline == resolved(pipeline)
    finally:
        again.out.close()
    key = read_json(tmp_path / "run" / "refined" / "stage.json")["key"]
    moved = folder.rename(tmp_path / "moved")
    first = next(iter(sorted(moved.glob("*.npz"))))
    np.savez_compressed(first, masks=np.ones((1, 64, 64), dtype=bool))
    deft.run(
        of(moved, maps, f"refine.rule={rule}"), f"folder:{folder_data}", tmp_path / "other", reuse=[tmp_path / "run"]
    )
    assert read_json(tmp_path / "other" / "refined" / "stage.json")["key"] != key  # other masks, other results


def test_masks_that_cannot_be_used_stop_it_before_the_folder_is_made(folder_data: Path, tmp_path: Path) -> None:
    splits = open_data(f"folder:{folder_data}")
    folder = write_masks(tmp_path / "masks", splits.train)
    maps = write_maps(tmp_path / "maps", splits.train)
    np.savez(folder / "img_01.npz", masks=np.ones((2, 32, 48), dtype=bool))
    np.savez(folder / "img_02.npz", masks=np.ones((1, 64, 64), dtype=bool), classes=["unicorn"])
    (folder / "img_03.npz").unlink()
    with pytest.raises(InputError, match=r"img_01\.npz: expected masks of 64 x 64 .*, got 32 x 48") as caught:
        deft.run(of(folder, maps), f"folder:{folder_data}", tmp_path / "run")
    assert "prompted for the class 'unicorn', which the data does not have" in str(caught.value)
    assert "no masks of image 'img_03'" in str(caught.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=r"refine\.masks\.folder: expected the folder of the masks, got ''"):
        deft.run(tiny(sam_vote()), f"folder:{folder_data}", tmp_path / "run")


def test_the_folders_of_maps_and_masks_are_read_and_so_never_written_to(folder_data: Path, tmp_path: Path) -> None:
    splits = open_data(f"folder:{folder_data}")
    found = set(reads(of(tmp_path / "masks", tmp_path / "maps"), f"folder:{folder_data}", splits))
    assert {tmp_path / "masks", tmp_path / "maps"} <= found


def test_it_is_cam_with_another_refiner() -> None:
    assert dataclasses.replace(sam_vote(), refine=None) == cam()
    assert isinstance(sam_vote_deft().own_classifier.head, DeftHead)
    assert sam_vote_deft().refine == SamVote(background="auto")
