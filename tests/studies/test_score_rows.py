"""The table studies on runs whose records are there already: what each row is, where it stops, and what is shown of it.

A run's folder is named after its settings. Records are put into the folders of the pipelines that a study should make,
so that a study of other pipelines would find nothing and have to train, which is an error here.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from deft.artifacts import write_json
from deft.classify.deft import DeftHead
from deft.contracts import InputError
from deft.pipeline import Pipeline
from deft.recipes import RECIPES, cda, irn, irn_deft
from deft.studies import STUDIES
from deft.studies.outcome import Outcome
from deft.studies.runner import StudyRunner


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run is begun."""

    def begin(self: StudyRunner, name: str, pipeline: Pipeline, *rest: object) -> None:
        raise AssertionError(f"{name} is to be made, with other settings than those expected:\n{pipeline}")

    monkeypatch.setattr(StudyRunner, "run", begin)


TABLES = ("localisation", "augmentations", "masks", "segmentation")


def scores(miou: float) -> dict[str, Any]:
    """A run whose every score is one number."""
    part = {"miou": miou, "iou": [miou] * 4, "threshold": 0.4, "chosen": "auto"}
    maps = {"auto": part, "used": part, "swept": part, "curve": [miou, miou], "thresholds": [0.0, 0.5]}
    split = {"seeds": maps, "masks": maps, "segmentation": part}
    return {"classes": ["cat", "cow", "dog"], "train": split, "val": split}


def made(
    name: str,
    data: str,
    out: Path,
    rows: dict[str, tuple[Pipeline, float]],
    systems: tuple[str, ...] | None = None,
) -> Outcome:
    """A study of these rows, each of which has been made with that pipeline and that score."""
    runner = StudyRunner(data, out, seeds=(0,), systems=tuple(rows) if systems is None else systems)
    for row, (pipeline, miou) in rows.items():
        write_json(runner.folder(row, pipeline, 0) / "study.json", scores(miou))
    outcome = STUDIES[name](runner)
    assert (outcome.failures, outcome.open) == ((), 0)
    assert sorted(path.parent.name for path in out.glob("runs/0/*/study.json")) == sorted(
        runner.folder(row, pipeline, 0).name for row, (pipeline, _) in rows.items()
    )
    return outcome


def bare(pipeline: Pipeline) -> Pipeline:
    """Up to its seeds."""
    return replace(pipeline, refine=None, segment=None)


def unswapped(background: float, objects: float) -> Pipeline:
    """DEFT with these weights of its two swaps, up to its seeds."""
    pipeline = irn_deft()
    head = replace(DeftHead(), swap_background_weight=background, swap_object_weight=objects)
    return bare(replace(pipeline, classifier=replace(pipeline.own_classifier, head=head)))


def cells(outcome: Outcome, table: int = 0) -> list[dict[str, str]]:
    """The rows of a table by the titles of its columns."""
    found = outcome.tables[table]
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


@pytest.fixture
def data(own_folder: Path) -> str:
    return f"folder:{own_folder}"


def test_localisation_stops_at_the_seeds(data: str, tmp_path: Path) -> None:
    rows = {name: (bare(RECIPES[name]()), miou) for name, miou in (("cam", 0.4), ("irn", 0.4), ("irn_deft", 0.45))}
    outcome = made("localisation", data, tmp_path / "out", rows)
    assert [(row["system"], row["seeds train, swept"], row["paper, VOC"]) for row in cells(outcome)] == [
        ("cam", "40.0", "–"),
        ("irn", "40.0", "48.3"),
        ("irn_deft", "45.0", "52.3"),
    ]
    # Each DEFT system is compared with the one that it is built on, and what the paper does not have with irn.
    found = {row["difference"]: row["seeds train, swept"] for row in cells(outcome, 1)}
    assert found == {"cam vs. irn": "+0.0 (0 of 1)", "irn_deft vs. irn": "+5.0 (1 of 1)"}
    assert outcome.values["irn_deft"]["seeds"]["0"]["seeds train, swept"] == 0.45


def test_masks_stop_at_the_masks(data: str, tmp_path: Path) -> None:
    rows = {name: (replace(RECIPES[name](), segment=None), miou) for name, miou in (("irn", 0.5), ("irn_deft", 0.6))}
    outcome = made("masks", data, tmp_path / "out", rows)
    assert [(row["system"], row["masks train, auto"], row["paper, VOC"]) for row in cells(outcome)] == [
        ("irn", "50.0", "66.3"),
        ("irn_deft", "60.0", "68.6"),
    ]


def test_segmentation_goes_to_the_end_and_needs_held_out_truth(data: str, own_folder: Path, tmp_path: Path) -> None:
    rows = {name: (RECIPES[name](), miou) for name, miou in (("irn", 0.7), ("irn_deft", 0.65))}
    outcome = made("segmentation", data, tmp_path / "out", rows)
    assert [(row["system"], row["network val"], row["paper, VOC val / test"]) for row in cells(outcome)] == [
        ("irn", "70.0", "63.5 / 64.8"),
        ("irn_deft", "65.0", "69.1 / 68.7"),
    ]
    (own_folder / "val.txt").unlink()
    with pytest.raises(InputError, match=r"list some in val\.txt"):
        made("segmentation", data, tmp_path / "out", rows)


def test_augmentations_are_compared_with_the_plain_system_and_deft_with_them(data: str, tmp_path: Path) -> None:
    names = {"irn": 0.4, "mixup": 0.5, "cutmix": 0.3, "irn_deft": 0.6}
    rows = {name: (bare(RECIPES[name]()), miou) for name, miou in names.items()}
    outcome = made("augmentations", data, tmp_path / "out", rows)
    assert [(row["difference"], row["seeds train, swept"]) for row in cells(outcome, 1)] == [
        ("mixup vs. irn", "+10.0 (1 of 1)"),
        ("cutmix vs. irn", "-10.0 (0 of 1)"),
        ("irn_deft vs. irn", "+20.0 (1 of 1)"),
        ("irn_deft vs. mixup", "+10.0 (1 of 1)"),
        ("irn_deft vs. cutmix", "+30.0 (1 of 1)"),
    ]


def test_cda_keeps_the_refiner_that_makes_the_masks_it_learns_from(data: str, tmp_path: Path) -> None:
    rows = {"irn": (bare(irn()), 0.4), "cda": (replace(cda(), segment=None), 0.5)}
    assert rows["cda"][0].refine == irn().refine
    made("augmentations", data, tmp_path / "out", rows)


def test_ablation_turns_the_swaps_off_and_nothing_else(data: str, tmp_path: Path) -> None:
    rows = {
        "base": (bare(irn()), 0.40),
        "disentangle": (unswapped(0.0, 0.0), 0.45),
        "background_swap": (unswapped(1.0, 0.0), 0.50),
        "object_swap": (unswapped(0.0, 1.0), 0.40),
        "both_swaps": (bare(irn_deft()), 0.55),
    }
    outcome = made("ablation", data, tmp_path / "out", rows)
    assert [(row["system"], row["seeds train, swept"], row["paper, VOC"]) for row in cells(outcome)] == [
        ("base", "40.0", "48.0"),
        ("+ disentangling", "45.0", "49.8"),
        ("+ background swap", "50.0", "50.9"),
        ("+ object swap only", "40.0", "–"),
        ("+ both swaps (DEFT)", "55.0", "52.3"),
    ]
    differences = {row["difference"]: row["seeds train, swept"] for row in cells(outcome, 1)}
    assert differences["+ both swaps (DEFT) vs. + background swap"] == "+5.0 (1 of 1)"
    assert differences["+ object swap only vs. base"] == "+0.0 (0 of 1)"
    assert len(differences) == 1 + 2 + 2 + 3


def test_the_base_can_be_trained_as_long_as_deft(data: str, tmp_path: Path) -> None:
    plain = irn().own_classifier
    epochs = irn_deft().own_classifier.plan.epochs
    assert epochs == 10 != plain.plan.epochs
    long = replace(irn(), classifier=replace(plain, plan=replace(plain.plan, epochs=epochs)))
    outcome = made("ablation", data, tmp_path / "out", {"base": (bare(irn()), 0.4), "base_long": (bare(long), 0.41)})
    assert [row["system"] for row in cells(outcome)] == ["base", "base, 10 epochs"]


@pytest.mark.parametrize("name", TABLES)
def test_rows_that_nobody_names_are_those_of_the_paper(name: str, data: str, tmp_path: Path) -> None:
    ends = {"segmentation": lambda pipeline: pipeline, "masks": lambda pipeline: replace(pipeline, segment=None)}
    paper = import_module(f"deft.studies.{name}").PAPER
    rows = {row: (ends.get(name, bare)(RECIPES[row]()), 0.5) for row in paper}
    if "cda" in rows:
        rows["cda"] = (replace(cda(), segment=None), 0.5)
    outcome = made(name, data, tmp_path / "out", rows, systems=())
    assert tuple(outcome.values) == tuple(paper)
    assert len(paper) >= 4


@pytest.mark.parametrize("name", ["localisation", "augmentations", "masks", "ablation"])
def test_data_without_truth_are_refused(name: str, own_folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(own_folder / "masks")
    with pytest.raises(InputError, match="expected ground-truth masks of some of them, got none"):
        STUDIES[name](StudyRunner(f"folder:{own_folder}", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
