"""The files of a run as they were: they outlive what replaces them, and nothing is left of an attempt that fails."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deft.contracts import InputError
from deft.review.serve import opened
from deft.review.snapshot import snapshot


def test_files_outlive_the_stage(run: Path) -> None:
    source = opened(run).source
    item = source.items["img_00"]
    before, own = source.mask("pseudo", item), source.own_digest(item)
    kept = replace(source, kept=snapshot(run))
    assert kept.folder.parent == run / "review"
    assert os.path.samefile(run / "masks" / "img_00.png", kept.folder / "masks" / "img_00.png")
    for stage in ("masks", "seeds", "refined", "predictions"):
        shutil.rmtree(run / stage)
    assert np.array_equal(kept.mask("pseudo", item), before)
    assert kept.own_digest(item) == own
    assert kept.review.folder == run / "review"


def test_nothing_is_left_of_one_that_fails(run: Path) -> None:
    (run / "run.json").unlink()
    with pytest.raises(FileNotFoundError):
        snapshot(run)
    assert not list((run / "review").iterdir())
    (run / "review").rmdir()
    (run / "review").symlink_to(run / "masks")
    with pytest.raises(InputError, match="link"):
        snapshot(run)
