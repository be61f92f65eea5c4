from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from deft.classify.deft import DeftHead
from deft.classify.linear import BackgroundHead
from deft.classify.swap_forms import ObjectSwap
from deft.recipes import RECIPES


def test_rows_turn_off_swaps_and_nothing_else(plan: Callable[..., Any]) -> None:
    rows, _ = plan("ablation")
    names = ["disentangle", "background_swap", "object_swap", "no_background", "both_swaps"]
    assert list(rows) == ["base", "base_stretched", "background", *names]
    heads = [row.pipeline.own_classifier.head for row in rows.values()]
    weights = [(head.swap_background_weight, head.swap_object_weight) for head in heads if isinstance(head, DeftHead)]
    assert weights == [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 1.0)]
    full, base = (RECIPES[name]().own_classifier for name in ("irn_deft", "irn"))
    assert rows["both_swaps"].pipeline.classifier == full
    assert rows["base"].pipeline.classifier == base
    for name, row in rows.items():
        whole = full if name in names else base
        assert replace(row.pipeline.own_classifier, head=whole.head) == whole
        assert (row.pipeline.refine, row.pipeline.segment) == (None, None)


def test_the_controls_have_one_part_of_deft_each(plan: Callable[..., Any]) -> None:
    rows, _ = plan("ablation")
    heads = {name: row.pipeline.own_classifier.head for name, row in rows.items()}
    assert heads["base_stretched"] == replace(heads["base"], stretched=True)
    assert heads["background"] == BackgroundHead()
    assert heads["no_background"] == replace(heads["both_swaps"], swap_head=ObjectSwap())


def test_the_long_base_row_is_trained_as_long_as_deft(plan: Callable[..., Any]) -> None:
    rows, _ = plan("ablation", "base", "base_long")
    base, long = (row.pipeline.own_classifier for row in rows.values())
    assert long.plan.epochs == RECIPES["irn_deft"]().own_classifier.plan.epochs != base.plan.epochs
    assert replace(long, plan=base.plan) == base


def test_each_term_is_compared_with_the_row_before_it_and_the_base(plan: Callable[..., Any]) -> None:
    def scores(miou: float) -> list[Any]:
        best = {"threshold": 0.2, "miou": miou}
        curve = {"thresholds": [0.2, 0.3], "curve": [miou, 0.1], "used": best}
        return [{"classes": [], "train": {"seeds": {"swept": best, **curve}}}]

    found = {"base": scores(0.5), "disentangle": scores(0.53), "background_swap": scores(0.51)}
    _, outcome = plan("ablation", scores=found)
    main, differences = outcome.tables
    assert [row[1] for row in main.rows] == ["1", "0", "0", "1", "1", "0", "0", "0"]
    assert [row[-1] for row in main.rows] == ["48.0", "–", "–", "49.8", "50.9", "–", "–", "52.3"]
    assert differences.rows == (
        ("+ disentangling vs. base", "1", "+3.0 (1 of 1)"),
        ("+ background swap vs. + disentangling", "1", "-2.0 (0 of 1)"),
        ("+ background swap vs. base", "1", "+1.0 (1 of 1)"),
    )
