from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deft.contracts import InputError
from deft.data import open_data
from deft.studies.bias import BiasSettings, Companions, bias
from deft.studies.runner import StudyRunner

TINY = (
    "backbone=test_resnet",
    "weights=none",
    *(f"classifier.plan.{item}" for item in ("min_steps=4", "epochs=2", "batch=4", "workers=0")),
    "classifier.head.swap_epoch=2",
    *(f"refine.plan.{item}" for item in ("min_steps=2", "epochs=1", "batch=4", "workers=0")),
    *(f"refine.labels.{item}" for item in ("fg=0.02", "bg=0.01", "crf.iterations=0")),
    "seeds.scales=[1.0]",
)
HOSTILE = "<script>alert(1)</script> [x](javascript:1) |*"


def test_companions_are_contexts_and_the_other_classes(voc_data: Path, folder_data: Path) -> None:
    scenes, tags = (
        Companions.of(open_data(f"voc:{voc_data}").train),
        Companions.of(open_data(f"folder:{folder_data}").train),
    )
    assert scenes.names == ("grass", "road", "cat", "cow", "dog")
    assert scenes.kinds == ("context", "context", "tag", "tag", "tag")
    assert scenes.shown.shape == (8, 5)
    assert tags.kinds == ("tag",) * 3
    assert tags.counts.diagonal().tolist() == [0, 0, 0]


def test_the_study_ranks_pairs_and_shows_examples(voc_data: Path, tmp_path: Path) -> None:
    runner = StudyRunner(f"voc:{voc_data}", tmp_path, seeds=(0, 1), settings=TINY)
    outcome = bias(runner, BiasSettings(images=12, together=1, examples=1))
    assert not outcome.failures
    records = json.loads((tmp_path / "bias.json").read_text())["found"]["records"]
    assert set(records) == {"irn_deft", "cam"}
    for pair in records["irn_deft"]["0"]["pairs"]:
        assert 1 <= pair["together"] <= pair["photographs"]
        assert pair["lift"] is None or -1 <= pair["lift"] <= 1
        assert pair["seeds_with"] is None or 0 <= pair["seeds_with"] <= 1
    assert "lift" not in records["cam"]["0"]["pairs"][0]
    assert 0 <= records["cam"]["0"]["pairs"][0]["with_it"] <= 1
    assert records["irn_deft"]["0"]["norm_ratio"] > 0
    lifts = [float(row[4].split(" ")[0]) for row in outcome.tables[0].rows if row[4] != "–"]
    assert lifts == sorted(lifts, reverse=True)
    page = (tmp_path / "bias.html").read_text()
    assert page.count("<img") == 6
    assert (tmp_path / "bias-examples.png").exists()
    assert "without DEFT's two vectors scores whole photographs only" in (tmp_path / "bias.md").read_text()


def test_the_page_without_contexts_and_masks_states_its_limits(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    photos = make_folder(tmp_path / "photos", count=8, side=32)
    shutil.rmtree(photos / "masks")
    (photos / "val.txt").unlink()
    for name in ("labels.csv", "classes.txt"):
        text = (photos / name).read_text().replace("cow", HOSTILE if name == "classes.txt" else f'"{HOSTILE}"')
        (photos / name).write_text(text)
    rows = [line.replace('"', "") for line in (photos / "labels.csv").read_text().splitlines()]
    (photos / "labels.csv").write_text("\n".join(rows) + "\n")
    runner = StudyRunner(f"folder:{photos}", tmp_path / "out", (0,), TINY, ("irn_deft",))
    outcome = bias(runner, BiasSettings(images=8, together=1, examples=1))
    assert not outcome.failures
    text, page = (tmp_path / "out" / "bias.md").read_text(), (tmp_path / "out" / "bias.html").read_text()
    assert "The dataset has no context labels" in text
    assert "There are no masks" in text
    assert "<script>" not in text + page
    assert "[x](" not in text
    assert "alert" in text and "alert" in page


def test_systems_without_defts_head_are_refused(voc_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="add irn_deft to --systems"):
        bias(StudyRunner(f"voc:{voc_data}", tmp_path, systems=("cam",)))
