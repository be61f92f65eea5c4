from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import pytest

from deft.classify.deft import DeftHead
from deft.contracts import InputError
from deft.recipes import RECIPES
from deft.studies import STUDIES
from deft.studies.outcome import Outcome
from deft.studies.rows import Row
from deft.studies.runner import StudyRunner


def rows_of(name: str, monkeypatch: pytest.MonkeyPatch, data: str = "demo:", *systems: str) -> dict[str, Row]:
    """The rows that a study would make."""
    asked: list[Row] = []

    def survey(self: StudyRunner, rows: Sequence[Row], work: Callable[[Row, int], None], *rest: object) -> Outcome:
        asked.extend(rows)
        return Outcome(name, name, ())

    monkeypatch.setattr(StudyRunner, "survey", survey)
    STUDIES[name](StudyRunner(data, Path("nowhere"), systems=systems))
    return {row.name: row for row in asked}


def test_localisation_stops_at_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of("localisation", monkeypatch, "demo:", "cam", "irn", "irn_deft")
    assert rows["irn"].pipeline == rows["cam"].pipeline  # made once, taken over for the other
    assert rows["irn_deft"].against == ("irn",)
    assert rows["irn_deft"].paper == "52.3"
    assert {(row.pipeline.refine, row.pipeline.segment) for row in rows.values()} == {(None, None)}


def test_masks_stop_at_the_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of("masks", monkeypatch, "demo:", "irn", "irn_deft")
    assert [row.pipeline.refine for row in rows.values()] == [RECIPES[name]().refine for name in rows]
    assert {row.pipeline.segment for row in rows.values()} == {None}


def test_segmentation_goes_to_the_end_and_needs_held_out_truth(
    monkeypatch: pytest.MonkeyPatch, own_folder: Path
) -> None:
    rows = rows_of("segmentation", monkeypatch, f"folder:{own_folder}", "irn", "irn_deft")
    assert [row.pipeline for row in rows.values()] == [RECIPES[name]() for name in rows]
    (own_folder / "val.txt").unlink()
    with pytest.raises(InputError, match=r"list some in val\.txt"):
        rows_of("segmentation", monkeypatch, f"folder:{own_folder}", "irn")


def test_every_augmentation_is_compared_with_the_plain_system(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of("augmentations", monkeypatch, "demo:", "irn", "mixup", "cutmix", "irn_deft")
    assert [row.against for row in rows.values()] == [(), ("irn",), ("irn",), ("irn",)]
    assert all(row.pipeline.refine is None for row in rows.values())
    assert rows["mixup"].pipeline.classifier != rows["irn"].pipeline.classifier


def test_cda_keeps_the_refiner_that_makes_the_masks_it_learns_from(monkeypatch: pytest.MonkeyPatch) -> None:
    row = rows_of("augmentations", monkeypatch, "demo:", "irn", "cda")["cda"]
    assert row.pipeline.refine == RECIPES["cda"]().refine
    assert row.pipeline.refine is not None
    assert row.pipeline.segment is None


def test_ablation_turns_the_swaps_off_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of("ablation", monkeypatch)
    assert list(rows) == ["base", "disentangle", "background_swap", "object_swap", "both_swaps"]
    heads = [row.pipeline.own_classifier.head for row in rows.values()][1:]
    weights = [(head.swap_background_weight, head.swap_object_weight) for head in heads if isinstance(head, DeftHead)]
    assert weights == [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    full = RECIPES["irn_deft"]().own_classifier
    assert rows["both_swaps"].pipeline.classifier == full
    assert rows["disentangle"].pipeline.own_classifier.plan == full.plan
    long = rows_of("ablation", monkeypatch, "demo:", "base", "base_long")["base_long"]
    assert long.pipeline.own_classifier.plan.epochs == full.plan.epochs
    assert long.pipeline.own_classifier.head == rows["base"].pipeline.own_classifier.head


@pytest.mark.parametrize("name", ["localisation", "augmentations", "masks", "ablation"])
def test_data_without_truth_are_refused(name: str, monkeypatch: pytest.MonkeyPatch, own_folder: Path) -> None:
    shutil.rmtree(own_folder / "masks")
    with pytest.raises(InputError, match="none has a mask to score them"):
        rows_of(name, monkeypatch, f"folder:{own_folder}")


def test_every_row_of_the_papers_tables_is_a_recipe() -> None:
    for name in ("localisation", "augmentations", "masks", "segmentation"):
        assert import_module(f"deft.studies.{name}").PAPER.keys() <= RECIPES.keys()
