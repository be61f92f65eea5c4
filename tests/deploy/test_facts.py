from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deft.artifacts import write_json
from deft.contracts import InputError
from deft.deploy.facts import facts_of
from trained_run import write_run

SCORES = {
    "train": {
        "masks": {"used": {"chosen": "auto", "threshold": 0.31, "miou": 0.5, "iou": [0.9, 0.4, None, 0.2]}},
        "seeds": {"used": {"chosen": "tuned", "threshold": 0.2, "miou": 0.4, "iou": [0.9, 0.4, 0.1, 0.2]}},
        "images": {"a": 0.5, "b": 0.4},
    },
    "val": {
        "tags": {"ap": [0.9, 0.8, 0.7], "map": 0.8},
        "segmentation": {"miou": 0.6, "iou": [0.9, 0.5, 0.6, 0.4], "images": {"c": 0.6}},
        "groups": {
            "aligned": {"count": 3, "map": 0.9, "segmentation": {"miou": 0.7}},
            "conflicting": {"count": 2, "map": 0.5},
        },
    },
}
IMAGES = {
    "train": {
        "classes": ["cat", "cow", "dog"],
        "images": {str(n): ["", [0, 1] if n < 4 else [0] if n < 6 else []] for n in range(10)},
    },
    "val": {"classes": ["cat", "cow", "dog"], "images": {"v": ["", [2]]}},
}


def test_scores_say_what_they_are_and_what_they_were_compared_with(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    write_json(run / "scores.json", SCORES)
    found = {(score.what, score.truth): (score.measure, score.value) for score in facts_of(run).scores}
    on_train = "ground-truth masks of 2 training images (train)"
    assert found == {
        ("segmentation network", "ground-truth masks of 1 held-out images (val)"): ("mIoU", 0.6),
        ("pseudo-masks, threshold 0.31 (chosen without masks)", on_train): ("mIoU", 0.5),
        ("seeds, threshold 0.20 (tuned on drawn masks)", on_train): ("mIoU", 0.4),
        ("classifier", "tags of held-out images (val)"): ("mAP", 0.8),
    }
    assert facts_of(run).groups == {
        "aligned": (3, 0.7, "mIoU of the segmentation network"),
        "conflicting": (2, 0.5, "mAP of the classifier"),
    }


def test_tags_of_images_give_counts_and_companions_without_the_data(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    write_json(run / "images.json", IMAGES)
    facts = facts_of(run)
    assert facts.counts == {"train": (6, 4, 0), "val": (0, 0, 1)}
    first = facts.companions[0]
    assert (first.name, first.with_what) == ("cow", "cat")
    assert first.evidence == "in 100 % of its training images, and in 60 % of all"
    assert facts.leaning == ()


@pytest.mark.parametrize(
    "images",
    [
        {"train": {"classes": ["other"], "images": {"a": ["", [0]]}}},
        {"train": {"classes": ["cat", "cow", "dog"], "images": {"a": ["", [7]]}}},
        {"train": {"classes": ["cat", "cow", "dog"], "images": {"a": 3}}},
        {"train": []},
        [],
    ],
)
def test_tags_that_do_not_fit_are_not_known(images: Any, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    write_json(run / "images.json", images)
    assert facts_of(run).counts == {}


def test_contexts_come_from_the_data(tmp_path: Path, voc_data: Path) -> None:
    data = {"given": f"voc:{voc_data}", "images": 8, "held out": 4, "classes": ["cat", "cow", "dog"]}
    facts = facts_of(write_run(tmp_path / "run", data=data))
    assert {one.with_what for one in facts.companions} <= {"grass", "road"}
    assert sum(facts.counts["train"]) > 0
    with pytest.raises(InputError, match="nowhere"):
        facts_of(tmp_path / "run", "voc:nowhere")


def test_the_bias_study_says_what_classes_lean_on(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    pairs = [
        {"class": "cat", "companion": "sofa", "tempted": 0.4, "calm": 0.1},
        {"class": "cat", "companion": "grass", "tempted": 0.2, "calm": 0.1},
        {"class": "cow", "companion": "grass", "tempted": 0.9, "calm": 0.2},
        {"class": "dog", "companion": "grass", "tempted": 0.1, "calm": 0.2},
        {"class": "dog", "companion": "sofa", "tempted": None, "calm": 0.2},
    ]
    write_json(run / "bias.json", {"pairs": pairs})
    assert [(one.name, one.with_what) for one in facts_of(run).leaning] == [("cow", "grass"), ("cat", "sofa")]
    assert "0.90 with grass, 0.20 without" in facts_of(run).leaning[0].evidence


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scores.json", {"val": {"segmentation": {"miou": "high"}}}),
        ("scores.json", {"val": {"groups": {"aligned": {"map": 0.5}}}}),
        ("bias.json", {"pairs": [{"tempted": 1, "calm": 0}]}),
        ("bias.json", {"pairs": [3]}),
    ],
)
def test_edited_files_are_refused(name: str, content: Any, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    write_json(run / name, content)
    with pytest.raises(InputError, match=r"scores\.json or bias\.json cannot be used"):
        facts_of(run)


def test_a_run_without_any_of_it_is_described_too(tmp_path: Path) -> None:
    facts = facts_of(write_run(tmp_path / "run"))
    assert (facts.scores, facts.counts, facts.companions, facts.leaning, facts.groups) == ((), {}, (), (), {})
