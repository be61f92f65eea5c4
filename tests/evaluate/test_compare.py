from __future__ import annotations

import math
from typing import Any

import pytest

from deft.evaluate.compare import at, compare, number


def scored(miou: float, tags: float | None = None, network: float | None = None) -> dict[str, Any]:
    """Scores as a run stores them."""
    part = {"used": {"miou": miou}, "swept": {"miou": miou + 0.1}, "chosen on train": {"miou": miou + 0.05}}
    val: dict[str, Any] = {"seeds": part}
    if tags is not None:
        val["tags"] = {"map": tags}
    if network is not None:
        val["segmentation"] = {"miou": network}
    return {"train": {"seeds": part, "masks": {"used": {"miou": miou - 0.1}}}, "val": val}


def test_every_measure_is_a_column_and_every_run_a_row() -> None:
    (table,) = compare({"cam": scored(0.5, 0.9, 0.6), "irn": scored(0.4, 0.8, 0.7)})
    assert table.title == "Side by side"
    assert table.columns == (
        "tags, val (mAP)",
        "seeds, train, the run's threshold",
        "seeds, train, best threshold (chosen on the ground truth)",
        "pseudo-masks, train, the run's threshold",
        "seeds, val, train's best threshold",
        "network, val",
    )
    assert [name for name, _ in table.rows] == ["cam", "irn"]
    assert table.rows[0][1] == pytest.approx((0.9, 0.5, 0.6, 0.4, 0.55, 0.6))
    assert table.rows[1][1] == pytest.approx((0.8, 0.4, 0.5, 0.3, 0.45, 0.7))
    assert "another seed moves them by points" in table.explain


def test_what_no_run_has_is_left_out_and_what_one_lacks_is_unknown() -> None:
    (table,) = compare({"one": scored(0.5, tags=0.9), "two": scored(0.4), "unscored": {"coverage": {}}})
    assert "network, val" not in table.columns
    assert [name for name, _ in table.rows] == ["one", "two"]
    first = [dict(zip(table.columns, row, strict=True))["tags, val (mAP)"] for _, row in table.rows]
    assert first[0] == 0.9 and math.isnan(first[1])
    assert compare({"unscored": {}}) == []


def test_each_part_of_val_has_its_table() -> None:
    def scores(aligned: float, conflicting: float) -> dict[str, object]:
        parts = {"aligned": {"count": 3, "map": aligned}, "conflicting": {"count": 4, "map": conflicting}}
        return {"val": {"tags": {"map": 0.5}, "groups": parts}}

    whole, parts = compare({"one": scores(0.9, 0.3), "two": scores(0.8, 0.7)})
    assert whole.columns == ("tags, val (mAP)",)
    assert parts.title == "tags (mAP), on each part of val"
    assert parts.columns == ("aligned", "conflicting")
    assert parts.images == (3, 4)
    assert dict(parts.rows) == {"one": (0.9, 0.3), "two": (0.8, 0.7)}


def test_keys_lead_into_nested_scores() -> None:
    scores = {"val": {"tags": {"map": 0.5}, "seeds": None}}
    assert at(scores, "val", "tags", "map") == 0.5
    assert at(scores, "val", "tags") == {"map": 0.5}
    assert at(scores) is scores
    for missing in (("train",), ("val", "seeds", "used"), ("val", "tags", "map", "more")):
        assert at(scores, *missing) is None
    assert number(3) == 3.0 and math.isnan(number(None))
