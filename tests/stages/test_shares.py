from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deft.artifacts import RunFolder, load_mask, save_seeds, write_json
from deft.contracts import InputError, Sample, SeedMaps
from deft.data import open_data
from deft.recipes import cam
from deft.stages.context import Run
from deft.stages.shares import masking, take_part


@pytest.fixture
def run(folder_data: Path, tmp_path: Path) -> Any:
    splits = open_data(f"folder:{folder_data}")
    pipeline = replace(cam(), backbone="test_resnet", weights="none", precision="32-true", seed_threshold=0.5)
    folder = RunFolder(tmp_path / "run", {})
    yield Run(pipeline, splits, folder)
    folder.close()


def measured(run: Run) -> None:
    """Say that the seeds are made; a run then looks at them all before the first mask."""
    write_json(run.out.path / "seeds" / "stage.json", {"key": "seeds", "state": "done"})
    run.statistics("seeds")


def test_masks_are_made_of_maps_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = run.out.stage("masks", "key")
    for index, path in enumerate(run.map_files()):
        maps = torch.zeros(1, 16, 16)
        maps[0, :8] = 1
        save_seeds(path, SeedMaps((index % 3,), maps, (64, 64)))
    measured(run)

    def unread(self: object, index: int) -> Sample:
        raise InputError("an image was read")

    monkeypatch.setattr(type(run.train), "__getitem__", unread)
    with stage.making():
        take_part([masking(run, stage)])
    for index, path in enumerate(run.files("masks", run.train, ".png")):
        mask = load_mask(path)
        assert mask.shape == (64, 64)
        assert set(np.unique(mask).tolist()) == {0, index % 3 + 1}
        assert (mask[:29] > 0).all() and (mask[32:] == 0).all()
    assert not list(stage.folder.glob("claims-*"))


def test_what_is_there_is_kept(run: Run) -> None:
    stage = run.out.stage("masks", "key")
    for path in run.map_files():
        save_seeds(path, SeedMaps((), torch.zeros(0, 16, 16), (64, 64)))
    measured(run)
    kept, *others = run.files("masks", run.train, ".png")
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"kept")
    share = masking(run, stage)
    assert share.take_part() == len(others)
    assert kept.read_bytes() == b"kept"
