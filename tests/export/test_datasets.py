"""An image folder for Hugging Face's datasets: by hand, and judged by that library."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.cli.main import main
from export_runs import CLASSES, exported, own_masks


def test_rows_and_masks_by_hand(run: Path) -> None:
    out = exported(run, "datasets")
    rows = [json.loads(line) for line in (out / "train" / "metadata.jsonl").read_text().splitlines()]
    assert {"file_name": "images/a.jpg", "mask_file_name": "masks/a.png", "labels": ["cat", "dog"]} in rows
    assert len(rows) == 4
    for row in rows:
        with (
            Image.open(out / "train" / row["mask_file_name"]) as mask,
            Image.open(out / "train" / row["file_name"]) as image,
        ):
            assert (np.array(mask) == own_masks(run)[row["mask_file_name"][6:-4]]).all()
            assert image.size == mask.size
    assert tuple((out / "classes.txt").read_text().splitlines()) == CLASSES
    assert (exported(run, "datasets", "--masks", "predictions") / "validation" / "metadata.jsonl").is_file()


def test_it_is_only_written(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = exported(run, "datasets")
    assert main(["import", str(run), str(out), "--format", "datasets"]) == 2
    assert "only written; import one of png, voc, coco" in capsys.readouterr().err


def test_the_library_loads_images_masks_and_labels(run: Path, tmp_path: Path) -> None:
    load = pytest.importorskip("datasets").load_dataset
    out = exported(run, "datasets")
    loaded = load("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))["train"]
    assert set(loaded.column_names) == {"image", "mask", "labels"}
    own = sorted(own_masks(run).values(), key=lambda mask: mask.tobytes())
    found = sorted((np.array(row["mask"]) for row in loaded), key=lambda mask: mask.tobytes())
    assert all((one == other).all() for one, other in zip(own, found, strict=True))
    assert all(row["image"].size == row["mask"].size and row["labels"] == ["cat", "dog"] for row in loaded)
