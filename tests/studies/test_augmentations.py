from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deft.recipes import RECIPES


def test_every_augmentation_is_compared_with_the_base_system(plan: Callable[..., Any]) -> None:
    rows, _ = plan("augmentations", "irn", "mixup", "cutmix", "irn_deft")
    assert [row.against for row in rows.values()] == [(), ("irn",), ("irn",), ("irn",)]
    assert all(row.pipeline.refine is None for row in rows.values())
    assert rows["mixup"].pipeline.classifier != rows["irn"].pipeline.classifier


def test_without_the_base_system_only_recipes_with_deft_are_compared(plan: Callable[..., Any]) -> None:
    rows, _ = plan("augmentations", "mixup", "irn_deft")
    assert {name: row.against for name, row in rows.items()} == {"mixup": (), "irn_deft": ("irn",)}


def test_cda_keeps_the_refiner_that_makes_its_pseudo_masks(plan: Callable[..., Any]) -> None:
    row = plan("augmentations", "irn", "cda")[0]["cda"]
    assert row.pipeline.refine == RECIPES["cda"]().refine
    assert row.pipeline.refine is not None
    assert row.pipeline.segment is None
