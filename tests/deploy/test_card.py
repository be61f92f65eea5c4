from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from deft.deploy.card import model_card
from deft.deploy.facts import Companion, Measured, RunFacts, facts_of
from trained_run import write_run

FILES = {"segment.onnx": "the graph", "run_onnx.py": "runs it", "model.safetensors": "weights"}


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> RunFacts:
    return facts_of(write_run(tmp_path_factory.mktemp("card") / "run"))


def sections(card: str) -> dict[str, str]:
    parts = card.split("\n## ")
    return {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in parts[1:]}


def test_the_front_matter_is_what_the_hub_reads(facts: RunFacts) -> None:
    _, front, _ = model_card(facts, FILES).split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "deft-wsss",
        "pipeline_tag": "image-segmentation",
        "license": "other",
        "tags": ["weakly-supervised", "semantic-segmentation", "deft"],
    }


def test_all_sections_are_there_whatever_is_known(facts: RunFacts) -> None:
    found = sections(model_card(facts, FILES))
    titles = ["Use", "Classes", "Scores", "Thresholds", "Bias", "Data", "Training", "Software", "Licence"]
    assert list(found) == titles
    assert found["Scores"].startswith("None:")
    assert found["Bias"].startswith("Not known:")
    assert "does not know how many images" in found["Classes"]
    assert found["Licence"].count("*(to be filled in)*") == 4
    assert "| seeds | 0.3 | auto |" in found["Thresholds"]
    assert "| torch | 2.14.1 |" in found["Software"]
    assert "python run_onnx.py photo.jpg mask.png" in found["Use"]


def test_scores_counts_and_bias_are_told(facts: RunFacts) -> None:
    known = replace(
        facts,
        counts={"train": (6, 4, 0), "val": (1, 2, 3)},
        scores=(Measured("segmentation network", "masks of 4 images", "mIoU", 0.614, (0.9, 0.5, float("nan"), 0.4)),),
        leaning=(Companion("cow", "grass", "0.90 with grass, 0.20 without"),),
        groups={"aligned": (3, 0.7, "mIoU of the seeds")},
    )
    found = sections(model_card(known, FILES))
    assert "| 1 | cat | 6 | 1 | 50.0 % |" in found["Classes"]
    assert "| 2 | cow | 4 | 2 | – |" in found["Classes"]
    assert "| segmentation network | masks of 4 images | mIoU | 61.4 % |" in found["Scores"]
    assert "- cow: **grass** (0.90 with grass, 0.20 without)" in found["Bias"]
    assert "| aligned | 3 | mIoU of the seeds | 70.0 % |" in found["Bias"]
    assert "was not measured" not in found["Bias"]


def test_a_card_of_a_classifier_offers_no_masks(facts: RunFacts) -> None:
    record = {**facts.record, "settings": {**facts.record["settings"], "segment": None}}
    card = model_card(replace(facts, record=record), {"classifier.pt2": "the graph"})
    assert "A classifier for 3 classes" in card
    assert "deft predict" not in card
    assert "run_onnx.py" not in card


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("folder:/home/jane/birds", "folder:birds"),
        ("voc:C:\\Users\\jane\\VOC2012", "voc:VOC2012"),
        ("coco:data/coco?empty=drop", "coco:coco"),
        ("demo:", "demo"),
        ("/home/jane/my_data.py:Birds?root=photos", "images"),
        ("", "images"),
    ],
)
def test_no_path_of_the_training_machine_is_told(given: str, name: str, facts: RunFacts) -> None:
    record = {**facts.record, "data": {**facts.record["data"], "given": given}}
    card = model_card(replace(facts, record=record), FILES)
    assert f"on {name.replace('_', chr(92) + '_')}\n" in card
    assert "jane" not in card


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a|b", "[x](javascript:1)", "`code`", "two\nlines"])
def test_names_of_classes_are_shown_and_not_obeyed(name: str, facts: RunFacts) -> None:
    card = model_card(replace(facts, classes=(name, "cow", "dog")), FILES)
    (row,) = [line for line in card.splitlines() if line.startswith("| 1 |")]
    assert "<script" not in row and "](" not in row.replace("\\]\\(", "") and "`" not in row.replace("\\`", "")
    assert row.replace("\\|", "").count("|") == 3
