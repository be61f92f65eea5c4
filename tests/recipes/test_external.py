"""Maps of another tool through refinement, segmentation and page, without a classifier."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import deft
from deft.artifacts import file_stem, read_json
from deft.contracts import Dataset, InputError
from deft.data import open_data
from deft.pipeline import Pipeline
from deft.recipes import cam, external
from deft.recipes.irn import with_deft
from deft.runner.run import reopen, resolved
from deft.seeds.external import External
from deft.settings import assign

TINY = ["backbone=test_resnet", "weights=none"]
TINY += [f"refine.plan.{item}" for item in ("min_steps=2", "epochs=1", "batch=4", "workers=0")]
TINY += ["refine.labels.crf.iterations=0", "segment.channels=16"]
TINY += [f"segment.plan.{item}" for item in ("min_steps=2", "epochs=1", "batch=2", "workers=0")]


def write(folder: Path, data: Dataset) -> None:
    folder.mkdir(exist_ok=True)
    for index, name in enumerate(data.names):
        sample = data[index]
        tags = np.flatnonzero(sample.labels)
        if len(tags):
            maps = np.stack([sample.mask == k + 1 for k in tags]).astype(np.float32)
            np.savez_compressed(folder / f"{file_stem(name)}.npz", classes=tags, maps=maps)


@pytest.fixture(scope="module")
def maps(folder_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps") / "maps"
    write(folder, open_data(f"folder:{folder_data}").train)
    return folder


def tiny(maps: Path, *more: str) -> Pipeline:
    return assign(external(), [*TINY, f"seeds.folder={maps}", *more])


def test_maps_go_all_the_way(maps: Path, folder_data: Path, tmp_path: Path) -> None:
    page = deft.run(tiny(maps), f"folder:{folder_data}", tmp_path / "run", name="external")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["train"]["seeds"]["swept"]["miou"] > 0.8  # the maps are the truth
    assert "tags" not in scores["val"] and "seeds" not in scores["val"]
    assert 0 <= scores["val"]["segmentation"]["miou"] <= 1
    text = page.read_text(encoding="utf-8")
    assert "No classifier was trained" in text and "their seeds are not scored" in text
    assert not (tmp_path / "run" / "classifier").exists()
    again = reopen(tmp_path / "run")
    try:
        assert again.pipeline == resolved(tiny(maps))
    finally:
        again.out.close()


def test_changed_maps_are_read_again_and_val_is_scored_where_it_has_some(
    maps: Path, folder_data: Path, tmp_path: Path
) -> None:
    settings = tiny(maps, "refine=none", "segment=none")
    deft.run(settings, f"folder:{folder_data}", tmp_path / "run")
    first = read_json(tmp_path / "run" / "seeds" / "stage.json")["key"]
    deft.run(settings, f"folder:{folder_data}", tmp_path / "run")
    assert read_json(tmp_path / "run" / "seeds" / "stage.json")["key"] == first
    splits = open_data(f"folder:{folder_data}")
    assert splits.val is not None
    write(maps, splits.val)
    deft.run(settings, f"folder:{folder_data}", tmp_path / "run")
    assert read_json(tmp_path / "run" / "seeds" / "stage.json")["key"] != first
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["val"]["seeds"]["swept"]["miou"] > 0.8
    for name in splits.val.names:
        (maps / f"{name}.npz").unlink(missing_ok=True)


def test_missing_maps_stop_it_before_the_folder_is_made(maps: Path, folder_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"seeds\.folder: expected the folder of the maps"):
        deft.run(tiny(tmp_path / "none"), f"folder:{folder_data}", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_seeds_that_need_a_classifier_say_so(folder_data: Path, tmp_path: Path) -> None:
    settings = assign(cam(), ["classifier=none", "segment=none", *TINY[:2]])
    with pytest.raises(InputError, match="seeds are read from a classifier and the recipe has none"):
        deft.run(settings, f"folder:{folder_data}", tmp_path / "run")
    with pytest.raises(InputError, match="trains no classifier"):
        with_deft(external())
    with pytest.raises(InputError, match=r"segment.from_classifier is set"):
        assign(external(), ["segment.from_classifier=true"])


def test_a_classifier_may_stand_beside_the_maps(maps: Path, folder_data: Path, tmp_path: Path) -> None:
    plan = [f"classifier.plan.{item}" for item in ("min_steps=2", "epochs=1", "batch=4", "workers=0")]
    settings = assign(cam(), ["segment=none", *TINY[:2], *plan])
    both = Pipeline(**{**vars(settings), "seeds": External(str(maps))})
    deft.run(both, f"folder:{folder_data}", tmp_path / "run")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["train"]["seeds"]["swept"]["miou"] > 0.8
    assert "tags" not in scores["val"]
