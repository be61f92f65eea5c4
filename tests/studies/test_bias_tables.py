from __future__ import annotations

import math
from typing import Any

import pytest

from deft.studies.bias_tables import (
    MOST,
    Pair,
    class_table,
    classes_of,
    lift_table,
    overlap_table,
    pairs_of,
    photograph_table,
    strongest_of_each_class,
)


def entry(name: str, companion: str, lift: float | None = None, **figures: Any) -> dict[str, Any]:
    """A pair's entry in a record; the lift in logits is ten times that in probability."""
    known = {} if lift is None else {"lift": lift, "lift_logits": 10 * lift, "away": -lift}
    counts = {"together": 6, "photographs": 8, "usual": 0.25}
    return {"class": name, "companion": companion, "kind": "context", **counts, **known, **figures}


def test_records_are_grouped_by_class_companion_and_kind() -> None:
    other_kind = {**entry("cow", "grass"), "kind": "tag"}
    records: list[dict[str, Any]] = [
        {"pairs": [entry("cow", "grass", 0.1), entry("cow", "road", 0.3)], "classes": [{"class": "cow", "alone": 0.5}]},
        {"pairs": [entry("cow", "grass", 0.2), other_kind], "classes": [{"class": "cow", "alone": 0.7}]},
    ]
    pairs = pairs_of("irn_deft", records)
    assert [(pair.names, len(pair.runs)) for pair in pairs] == [
        (("cow", "context", "grass"), 2),
        (("cow", "context", "road"), 1),
        (("cow", "tag", "grass"), 1),
    ]
    assert {pair.label for pair in pairs} == {"irn_deft"}
    assert [run["alone"] for run in classes_of(records)["cow"]] == [0.5, 0.7]


def test_the_mean_is_over_known_runs_and_an_unknown_lift_ranks_last() -> None:
    half_known = Pair("x", "cow", "grass", "context", (entry("cow", "grass", 0.2), {"lift_logits": None}))
    assert half_known.values("lift_logits") == [2.0, None]
    assert (half_known.mean("lift_logits"), half_known.rank) == (2.0, 2.0)
    unknown = Pair("x", "cow", "road", "context", ({},))
    assert math.isnan(unknown.mean("lift_logits"))
    assert unknown.rank == -math.inf


def test_the_strongest_pair_of_a_class_is_its_first() -> None:
    ranked = pairs_of("x", [{"pairs": [entry("cow", "grass"), entry("dog", "road"), entry("cow", "road")]}])
    assert [pair.companion for pair in strongest_of_each_class(ranked)] == ["grass", "road"]


def test_lifts_are_shown_in_logits_and_in_points() -> None:
    runs = [{"pairs": [entry("cow", "grass", lift, alone_with=0.4, alone_tempted=0.1)]} for lift in (0.1, 0.3)]
    (row,) = lift_table(pairs_of("x", runs)).rows
    assert row[:4] == ("cow", "context", "grass", "6 of 8")
    assert row[4:7] == ("+2.00 ± 1.41", "+20.0 ± 14.1", "-20.0 ± 14.1")
    assert row[7:] == ("40 ± 0", "10 ± 0")


def test_a_table_has_a_limited_number_of_pairs() -> None:
    many = pairs_of("x", [{"pairs": [entry("cow", str(index)) for index in range(MOST + 5)]}])
    assert len(lift_table(many).rows) == MOST


def test_photographs_are_compared_across_systems() -> None:
    figures = {"with_it": 0.9, "without_it": 0.6, "tempted": 0.2, "calm": None}
    deft = pairs_of("irn_deft", [{"pairs": [entry("cow", "grass", 0.1, **figures)]}])
    cam = pairs_of("cam", [{"pairs": [entry("cow", "road"), entry("cow", "grass", **figures)]}])
    rows = photograph_table(deft, {"irn_deft": deft, "cam": cam}).rows
    assert rows == tuple(
        ("cow", "context", "grass", label, "75", "25", "90", "60", "20", "–") for label in ("irn_deft", "cam")
    )


def test_figures_of_a_class_are_means_over_runs() -> None:
    runs = [{"photographs": 8, "norm_ratio": ratio, "alone": 0.5, "afa": 0.25, "aba": None} for ratio in (0.4, 0.6)]
    (row,) = class_table({"cow": runs}).rows
    assert row == ("cow", "8", "0.50 ± 0.14", "50 ± 0", "–", "0.250 ± 0.000", "–")


@pytest.mark.parametrize(("figures", "count"), [({"seeds_with": 0.5, "masks_without": math.nan}, 1), ({}, 0)])
def test_overlap_is_shown_for_pairs_that_have_one(figures: dict[str, float], count: int) -> None:
    pairs = pairs_of("x", [{"pairs": [entry("cow", "grass", **figures)]}])
    rows = overlap_table(pairs, {"x": pairs}).rows
    assert rows == (("cow", "context", "grass", "x", "50.0", "–", "–", "–"),) * count
