from __future__ import annotations

import pytest

from deft.metrics.coverage import Coverage
from deft.report.data import Comparison, ReportData, Score, SplitFacts
from deft.report.summary import headline, percent, summary

SPLITS = (SplitFacts("train", 100, 0, (60, 40)), SplitFacts("val", 1, 1, (1, 0)))


def text(data: ReportData) -> str:
    return "\n".join(line.text for line in summary(data)).replace("\u00a0", " ")


def test_scores_at_swept_thresholds_are_never_the_main_score() -> None:
    fixed = Score("seeds", "train", 0.4, threshold=0.15)
    swept = Score("seeds", "train", 0.6, threshold=0.3, chosen="swept")
    assert headline(ReportData("t", scores=(fixed, swept))) is fixed
    assert headline(ReportData("t", scores=(swept,))) is None
    chosen = Score("seeds", "train", 0.3, threshold=0.2, chosen="auto")
    assert headline(ReportData("t", scores=(chosen, swept))) is chosen
    marked = Score("segmentation network", "val", 0.5, headline=True)
    assert headline(ReportData("t", scores=(marked, fixed))) is marked


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("fixed", "at the fixed threshold 0.15;"),
        ("auto", "at the threshold 0.15 (chosen without masks);"),
        ("tuned", "at the threshold 0.15 (tuned on drawn masks);"),
    ],
)
def test_the_best_threshold_is_described_as_chosen_on_the_ground_truth(how: str, words: str) -> None:
    fixed = Score("seeds", "train", 0.4, threshold=0.15, chosen=how)
    swept = Score("seeds", "train", 0.6, threshold=0.3, chosen="swept")
    said = text(ReportData("t", scores=(fixed, swept)))
    assert f"Seeds on train reach 40.0 % {words}" in said
    assert "60.0 % would be possible at 0.30" in said
    assert "that threshold was chosen on the ground truth" in said
    close = Score("seeds", "train", 0.41, threshold=0.3, chosen="swept")
    assert "that threshold was chosen on the ground truth" not in text(ReportData("t", scores=(fixed, close)))


def test_without_ground_truth_the_summary_says_so() -> None:
    said = text(ReportData("t", classes=("a", "b"), splits=SPLITS, coverage=Coverage(2)))
    assert "Nothing here could be scored" in said
    assert "Trained on 100 images tagged with 2 classes" in said
    assert "1 further image was held out" in said


def test_gains_and_losses_of_refinement_are_reported() -> None:
    seeds = Score("seeds", "train", 0.5, threshold=0.15)
    better, worse = Score("pseudo-masks", "train", 0.6), Score("pseudo-masks", "train", 0.45)
    assert "improved the masks over the seeds by 10.0 points" in text(ReportData("t", scores=(seeds, better)))
    assert "worse than the seeds by 5.0 points" in text(ReportData("t", scores=(seeds, worse)))


def test_best_worst_and_missing_classes_are_named() -> None:
    score = Score("segmentation network", "val", 0.5, per_class=(0.9, 0.8, 0.7, 0.3, 0.01, float("nan")))
    said = text(ReportData("t", classes=("cow", "car", "cat", "hat", "bat"), scores=(score,)))
    assert "Most reliable classes: cow (80 %), car (70 %). Least reliable classes: hat (1 %), cat (30 %)." in said
    assert "1 class is almost never found: hat." in said


def test_scene_bias_and_the_better_system_are_named() -> None:
    groups = Comparison("halves", ("aligned", "conflicting"), (("network", (0.6, 0.4)),))
    contest = Comparison("val", ("all",), (("plain CAM", (0.4,)), ("DEFT", (0.45,)), ("none", (float("nan"),))))
    said = text(ReportData("t", groups=groups, comparisons=(contest,)))
    assert "relies on the scene" in said
    assert "DEFT is 5.0 points better than plain CAM" in said


def test_a_report_of_warnings_only() -> None:
    assert text(ReportData("t", warnings=("mind the gap",))) == "mind the gap"
    assert percent(float("nan")) == "–"
