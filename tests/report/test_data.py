from __future__ import annotations

import numpy as np

from deft.report.data import HOW, Comparison, Curve, PictureRow, ReportData, Score, SplitFacts, StageRow


def test_titles_say_how_a_threshold_was_chosen_even_where_all_are_equal() -> None:
    titles = {how: Score("seeds", "train", 0.4, threshold=0.15, chosen=how).title for how in HOW}
    assert titles == {
        "fixed": "seeds, fixed threshold 0.15",
        "auto": "seeds, threshold 0.15 (chosen without masks)",
        "tuned": "seeds, threshold 0.15 (tuned on drawn masks)",
        "swept": "seeds, best threshold 0.15 (chosen on the ground truth)",
    }
    assert Score("segmentation network", "val", 0.4).title == "segmentation network"


def test_only_the_swept_threshold_was_chosen_on_the_truth() -> None:
    assert [how for how in HOW if Score("seeds", "train", 0.4, chosen=how).chosen_on_truth] == ["swept"]
    assert not Score("seeds", "train", 0.4).chosen_on_truth


def test_a_page_needs_a_title_and_all_else_is_empty() -> None:
    data = ReportData("title")
    assert (data.title, data.recipe) == ("title", "")
    for part in ("classes", "splits", "stages", "scores", "pictures", "worst", "best", "comparisons", "warnings"):
        assert getattr(data, part) == ()
    for part in ("facts", "settings", "products", "curves", "losses"):
        assert getattr(data, part) == {}
    for part in ("together", "contexts", "groups", "coverage"):
        assert getattr(data, part) is None


def test_what_is_not_said_of_a_part_is_the_usual() -> None:
    assert StageRow("seeds", 3.0) == StageRow("seeds", 3.0, status="done", note="")
    assert SplitFacts("train", 2, 1, (1, 1)).labels == ""
    score = Score("seeds", "train", 0.4)
    assert (score.measure, score.chosen, score.threshold, score.images, score.headline) == (
        *("mIoU", "fixed", None, None, False),
    )
    assert Comparison("t", ("a",), (("x", (0.5,)),)).images == ()
    curve = Curve((0.0,), (0.5,))
    assert curve.used is None and curve.auto is None


def test_parts_that_hold_arrays_are_equal_only_to_themselves() -> None:
    """Comparing arrays element by element has no truth value."""
    rows = [PictureRow("a", (), (("image", np.zeros((2, 2, 3), np.uint8)),)) for _ in range(2)]
    assert rows[0] == rows[0] != rows[1]
    assert ReportData("t", pictures=(rows[0],)) != ReportData("t", pictures=(rows[0],))
