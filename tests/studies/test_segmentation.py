from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deft.contracts import InputError
from deft.recipes import RECIPES


def test_all_stages_are_run(plan: Callable[..., Any], own_folder: Path) -> None:
    rows, _ = plan("segmentation", "irn", "irn_deft", data=f"folder:{own_folder}")
    assert [row.pipeline for row in rows.values()] == [RECIPES[name]() for name in rows]
    assert all(row.pipeline.segment is not None for row in rows.values())


def test_the_network_is_scored_on_held_out_images(plan: Callable[..., Any], own_folder: Path) -> None:
    scores = [
        {
            "classes": ["cat", "cow", "dog"],
            "train": {"masks": {"used": {"miou": 0.6}}},
            "val": {"segmentation": {"miou": miou, "iou": [0.9, miou, None, 0.5]}},
        }
        for miou in (0.61, 0.63)
    ]
    _, outcome = plan("segmentation", "irn", data=f"folder:{own_folder}", scores={"irn": scores})
    main, classes = outcome.tables
    assert main.columns == ("system", "runs", "network val", "its masks train", "paper, VOC val / test")
    assert main.rows == (("irn", "2", "62.0 ± 1.4", "60.0 ± 0.0", "63.5 / 64.8"),)
    assert [row[1] for row in classes.rows] == ["90.0 ± 0.0", "62.0 ± 1.4", "–", "50.0 ± 0.0"]


def test_data_without_held_out_masks_are_refused(plan: Callable[..., Any], own_folder: Path) -> None:
    names = (own_folder / "val.txt").read_text().split()
    for name in names:
        (own_folder / "masks" / f"{name}.png").unlink()
    with pytest.raises(InputError, match="expected held-out images with ground-truth masks"):
        plan("segmentation", "irn", data=f"folder:{own_folder}")
    (own_folder / "val.txt").unlink()
    shutil.rmtree(own_folder / "masks")
    with pytest.raises(InputError, match=r"list some in val\.txt"):
        plan("segmentation", "irn", data=f"folder:{own_folder}")
