"""Counts of the images of a run, and the differences of systems that are computed of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft.metrics.paired import image_counts, paired_bootstrap
from deft.recipes import cam, irn
from deft.runner.run import working
from deft.studies.paired import COUNTED, counted, significance
from short import tiny


@pytest.fixture(scope="module")
def record(folder_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("paired") / "irn"
    with working(tiny(irn()), f"folder:{folder_data}", out, (), "irn") as run:
        return counted(run)


def iou(images: dict[str, dict[str, list[int]]]) -> float:
    """The mean over the classes that occur, by hand."""
    totals: dict[str, list[int]] = {}
    for counts in images.values():
        for k, (hits, union) in counts.items():
            known = totals.setdefault(k, [0, 0])
            known[0] += hits
            known[1] += union
    return sum(hits / union for hits, union in totals.values()) / len(totals)


def test_counts_give_the_scores_of_the_run(record: dict[str, Any]) -> None:
    found = record[COUNTED]
    assert found.keys() == {"seeds", "masks", "network"}
    assert iou(found["seeds"]) == pytest.approx(record["train"]["seeds"]["used"]["miou"], abs=1e-4)
    assert iou(found["masks"]) == pytest.approx(record["train"]["masks"]["used"]["miou"], abs=1e-4)
    assert iou(found["network"]) == pytest.approx(record["val"]["segmentation"]["miou"], abs=1e-4)


def test_differences_are_those_of_the_counts() -> None:
    rng = np.random.default_rng(0)
    truth, good, bad = (rng.integers(0, 3, (4, 6, 6)).astype(np.uint8) for _ in range(3))
    good[:, :4] = truth[:, :4]

    def made(masks: Any) -> dict[str, Any]:
        counts = [image_counts(mask, one, 2) for mask, one in zip(masks, truth, strict=True)]
        images = {
            f"i{n}": {str(k): [int(a), int(b)] for k, (a, b) in enumerate(one) if b} for n, one in enumerate(counts)
        }
        return {"classes": ["a", "b"], COUNTED: {"masks": images}}

    found = significance({0: made(good)}, {0: made(bad)}, [0], "masks")
    sides = [
        np.array([[image_counts(mask, one, 2) for mask, one in zip(masks, truth, strict=True)]])
        for masks in (good, bad)
    ]
    assert found == paired_bootstrap(*sides)
    assert found is not None and found.mean > 0.2 and found.certain


@pytest.mark.parametrize("other", [{}, {COUNTED: {}}, {COUNTED: {"seeds": {"i1": {}}}}])
def test_without_equal_images_there_is_none(other: dict[str, Any]) -> None:
    one = {"classes": ["a"], COUNTED: {"seeds": {"i0": {"0": [1, 2]}}}}
    assert significance({0: one}, {0: {"classes": ["a"], **other}}, [0], "seeds") is None


def test_a_run_without_a_network_counts_none(folder_data: Path, tmp_path: Path) -> None:
    with working(tiny(cam(), "segment=None"), f"folder:{folder_data}", tmp_path / "cam", (), "cam") as run:
        assert counted(run)[COUNTED].keys() == {"seeds", "masks"}
