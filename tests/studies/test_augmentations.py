from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deft.recipes import RECIPES


def test_augmentations_are_compared_with_none_and_deft_with_all(plan: Callable[..., Any]) -> None:
    rows, _ = plan("augmentations", "irn", "mixup", "cutmix", "cutmix_deft", "irn_deft")
    assert {name: row.against for name, row in rows.items()} == {
        "irn": (),
        "mixup": ("irn",),
        "cutmix": ("irn",),
        "cutmix_deft": ("cutmix", "irn"),
        "irn_deft": ("irn", "mixup", "cutmix"),
    }
    assert all(row.pipeline.refine is None for row in rows.values())
    assert rows["mixup"].pipeline.classifier != rows["irn"].pipeline.classifier


def test_later_augmentations_are_made_on_request(plan: Callable[..., Any]) -> None:
    later = ("noisy_feature_mixup", "puzzle_mix", "co_mixup", "super_mix")
    rows, _ = plan("augmentations", "irn", *later, "puzzle_mix_deft", "irn_deft")
    assert all(rows[name].against == ("irn",) for name in later)
    assert rows["puzzle_mix_deft"].against == ("puzzle_mix", "irn")
    assert rows["irn_deft"].against == ("irn", *later)
    assert not set(later) & set(plan("augmentations")[0])


def test_only_rows_that_are_made_are_compared(plan: Callable[..., Any]) -> None:
    rows, _ = plan("augmentations", "mixup", "irn_deft")
    assert {name: row.against for name, row in rows.items()} == {"mixup": (), "irn_deft": ("mixup",)}


def test_cda_keeps_the_refiner_that_makes_its_pseudo_masks(plan: Callable[..., Any]) -> None:
    row = plan("augmentations", "irn", "cda")[0]["cda"]
    assert row.pipeline.refine == RECIPES["cda"]().refine
    assert row.pipeline.refine is not None
    assert row.pipeline.segment is None
