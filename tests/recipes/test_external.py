"""Maps of another tool through refinement, segmentation and page, without a classifier."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import deft
from deft.artifacts import read_json
from deft.contracts import InputError
from deft.data import open_data
from deft.pipeline import Pipeline
from deft.recipes import cam, external
from deft.recipes.irn import with_deft
from deft.runner.recorded import reopen
from deft.runner.run import resolved
from deft.seeds.external import External
from deft.settings import assign
from references import stored_miou
from short import tiny
from userfiles import write_maps


@pytest.fixture(scope="module")
def maps(folder_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_maps(tmp_path_factory.mktemp("maps"), open_data(f"folder:{folder_data}").train)


def of(maps: Path, *more: str) -> Pipeline:
    """The recipe on these maps, short."""
    return tiny(external(), f"seeds.folder={maps}", *more)


def test_maps_go_all_the_way(maps: Path, folder_data: Path, tmp_path: Path) -> None:
    page = deft.run(of(maps), f"folder:{folder_data}", tmp_path / "run", name="external")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["train"]["seeds"]["swept"]["miou"] > 0.8  # the maps are the truth
    assert "tags" not in scores["val"] and "seeds" not in scores["val"]
    splits = open_data(f"folder:{folder_data}")
    assert splits.val is not None
    run = tmp_path / "run"
    assert scores["train"]["masks"]["used"]["miou"] == pytest.approx(stored_miou(run / "masks", splits.train))
    network = stored_miou(run / "predictions" / "val", splits.val)
    assert scores["val"]["segmentation"]["miou"] == pytest.approx(network)
    text = page.read_text(encoding="utf-8")
    assert "No classifier was trained" in text and "their seeds are not scored" in text
    assert not (tmp_path / "run" / "classifier").exists()
    again = reopen(tmp_path / "run")
    try:
        assert again.pipeline == resolved(of(maps))
    finally:
        again.out.close()


def test_changed_maps_are_read_again_and_val_is_scored_where_it_has_some(
    maps: Path, folder_data: Path, tmp_path: Path
) -> None:
    settings = of(maps, "refine=none", "segment=none")
    deft.run(settings, f"folder:{folder_data}", tmp_path / "run")

    def keys() -> list[str]:
        return [read_json(tmp_path / "run" / name / "stage.json")["key"] for name in ("seeds", "seeds/val")]

    first, held_out = keys()
    deft.run(settings, f"folder:{folder_data}", tmp_path / "run")
    assert keys() == [first, held_out]
    splits = open_data(f"folder:{folder_data}")
    assert splits.val is not None
    write_maps(maps, splits.val)
    deft.run(settings, f"folder:{folder_data}", tmp_path / "run")
    assert keys()[0] == first and keys()[1] != held_out
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["val"]["seeds"]["swept"]["miou"] > 0.8
    for name in splits.val.names:
        (maps / f"{name}.npz").unlink(missing_ok=True)


def test_missing_maps_stop_it_before_the_folder_is_made(maps: Path, folder_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"seeds\.folder: expected the folder of the maps"):
        deft.run(of(tmp_path / "none"), f"folder:{folder_data}", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_seeds_that_need_a_classifier_say_so(folder_data: Path, tmp_path: Path) -> None:
    settings = assign(cam(), ["classifier=none", "segment=none", "backbone=test_resnet", "weights=none"])
    with pytest.raises(InputError, match="seeds are read from a classifier and the recipe has none"):
        deft.run(settings, f"folder:{folder_data}", tmp_path / "run")
    with pytest.raises(InputError, match="trains no classifier"):
        with_deft(external())
    with pytest.raises(InputError, match=r"segment.from_classifier is set"):
        assign(external(), ["segment.from_classifier=true"])


def test_a_classifier_may_stand_beside_the_maps(maps: Path, folder_data: Path, tmp_path: Path) -> None:
    both = replace(tiny(cam(), "segment=none", steps=2), seeds=External(str(maps)))
    deft.run(both, f"folder:{folder_data}", tmp_path / "run")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["train"]["seeds"]["swept"]["miou"] > 0.8
    assert "tags" not in scores["val"]
