from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deft.recipes import RECIPES
from deft.studies.masks import PAPER


def test_runs_end_with_the_pseudo_masks(plan: Callable[..., Any]) -> None:
    rows, _ = plan("masks", "irn", "irn_deft")
    assert [row.pipeline.refine for row in rows.values()] == [RECIPES[name]().refine for name in rows]
    assert {row.pipeline.segment for row in rows.values()} == {None}
    assert list(plan("masks")[0]) == list(PAPER)


def test_masks_are_shown_beside_the_seeds_that_they_are_made_from(plan: Callable[..., Any]) -> None:
    used = {"threshold": 0.45, "miou": 0.62, "iou": [0.9, 0.34]}
    masks: dict[str, Any] = {"auto": used, "used": used, "swept": {"threshold": 0.4, "miou": 0.64, "iou": [0.9, 0.38]}}
    masks |= {"thresholds": [0.4, 0.45], "curve": [0.64, 0.62]}
    seeds = {"auto": {"miou": 0.5}, "swept": {"miou": 0.52}}
    scores = {"irn": [{"classes": ["cat"], "train": {"masks": masks, "seeds": seeds}}]}
    _, outcome = plan("masks", "irn", scores=scores)
    main, classes = outcome.tables
    assert dict(zip(main.columns, main.rows[0], strict=True)) == {
        "system": "irn",
        "runs": "1",
        "masks train, auto": "62.0",
        "auto threshold": "0.45",
        "masks train, swept": "64.0",
        "best threshold": "0.40",
        "their seeds train, auto": "50.0",
        "their seeds train, swept": "52.0",
        "paper, VOC": "66.3",
    }
    assert classes.rows == (("background", "90.0"), ("cat", "34.0"))  # at the run's threshold, not the best
    assert outcome.values["irn"]["seeds"]["0"]["masks train, swept"] == 0.64
