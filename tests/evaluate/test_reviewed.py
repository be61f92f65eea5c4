"""What the page says of a review; the scores themselves are tested in ``tests/runner/test_rounds.py``."""

from __future__ import annotations

from pathlib import Path

from deft.artifacts import RunFolder
from deft.data import open_data
from deft.evaluate.reviewed import remark, score_reviewed
from deft.recipes import cam
from deft.stages.context import Run
from short import tiny


def test_without_a_review_there_is_nothing_to_say(folder_data: Path, tmp_path: Path) -> None:
    run = Run(tiny(cam()), open_data(f"folder:{folder_data}"), RunFolder(tmp_path, {}, own=False))
    assert score_reviewed(run) == {} and remark({}) == ""


def test_the_remark_has_the_number_of_each_kind() -> None:
    told = remark({"reviewed": {"taught": 7, "held out": 3, "rejected": 1}})
    assert told.startswith("Reviewed images: 7 taught") and "3 are held out" in told and "1 were rejected" in told
