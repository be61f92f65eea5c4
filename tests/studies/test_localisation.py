from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from deft.contracts import InputError
from deft.recipes import RECIPES


def scores(auto: float, swept: float) -> dict[str, Any]:
    found = {"auto": {"threshold": 0.3, "miou": auto}, "swept": {"threshold": 0.2, "miou": swept, "iou": [0.9, swept]}}
    curve = {"thresholds": [0.2, 0.3], "curve": [swept, auto], "used": found["auto"]}
    return {"classes": ["cat"], "train": {"seeds": {**found, **curve}}}


def test_runs_end_with_the_seeds(plan: Callable[..., Any]) -> None:
    rows, _ = plan("localisation", "cam", "irn", "irn_deft")
    assert rows["irn"].pipeline == rows["cam"].pipeline  # so that they are made once
    assert rows["irn_deft"].against == ("irn",)
    assert {(row.pipeline.refine, row.pipeline.segment) for row in rows.values()} == {(None, None)}


def test_further_systems_have_the_results_of_their_papers(plan: Callable[..., Any]) -> None:
    for study in ("localisation", "masks"):
        module = import_module(f"deft.studies.{study}")
        assert not module.PAPER.keys() & module.BEYOND.keys() and module.BEYOND.keys() <= RECIPES.keys()
        rows, _ = plan(study, *module.BEYOND)
        assert {name: row.paper for name, row in rows.items()} == module.BEYOND
        assert list(plan(study)[0]) == list(module.PAPER)  # they are not made unless asked for


def test_seeds_are_compared_seed_by_seed(plan: Callable[..., Any]) -> None:
    found = {"irn": [scores(0.4, 0.5), scores(0.42, 0.52)], "irn_deft": [scores(0.45, 0.5), scores(0.45, 0.54)]}
    _, outcome = plan("localisation", "irn", "irn_deft", scores=found)
    main, differences, classes = outcome.tables
    assert main.columns[2:] == (
        "seeds train, auto",
        "auto threshold",
        "seeds train, swept",
        "best threshold",
        "paper, VOC",
    )
    assert main.rows[1] == ("irn_deft", "2", "45.0 ± 0.0", "0.30 ± 0.00", "52.0 ± 2.8", "0.20 ± 0.00", "52.3")
    assert differences.rows == (("irn_deft vs. irn", "2", "+4.0 ± 1.4 (2 of 2)", "+1.0 ± 1.4 (1 of 2)"),)
    assert classes.rows == (("background", "90.0 ± 0.0", "90.0 ± 0.0"), ("cat", "51.0 ± 1.4", "52.0 ± 2.8"))


@pytest.mark.parametrize("name", ["localisation", "augmentations", "masks", "ablation"])
def test_data_without_training_masks_are_refused(name: str, plan: Callable[..., Any], own_folder: Path) -> None:
    shutil.rmtree(own_folder / "masks")
    with pytest.raises(InputError, match="expected ground-truth masks of some of them, got none"):
        plan(name, data=f"folder:{own_folder}")


def test_every_row_of_the_papers_tables_is_a_recipe() -> None:
    for name in ("localisation", "augmentations", "masks", "segmentation"):
        assert import_module(f"deft.studies.{name}").PAPER.keys() <= RECIPES.keys()
