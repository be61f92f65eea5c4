from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from deft.artifacts import save_seeds
from deft.contracts import Dataset, SeedMaps
from deft.data import open_data
from deft.recipes import cam, irn_deft
from deft.report.summary import CAUTION, PLAIN
from deft.studies.bias_page import TITLE, compose_bias, sentence
from deft.studies.bias_tables import Pair
from deft.studies.rows import Finding, Row

DEFT = Row("irn_deft", "irn_deft", irn_deft())
CAM = Row("cam", "cam", cam())


def pair(name: str, companion: str, **figures: float) -> dict[str, Any]:
    counts = {"together": 6, "photographs": 8, "usual": 0.5}
    return {"class": name, "companion": companion, "kind": "context", **counts, **figures}


def record(*pairs: dict[str, Any], head: str | None = "linear", **examples: tuple[str, float]) -> dict[str, Any]:
    """The record of a run; each class may have an example photograph with the score of its background alone."""
    classes: list[dict[str, Any]] = []
    for name in ("cat", "cow", "dog"):
        entry: dict[str, Any] = {"class": name, "photographs": 8, "afa": None, "aba": None}
        if name in examples:
            image, alone = examples[name]
            entry |= {"alone": 0.25, "examples": [{"image": image, "alone": alone}]}
        classes.append(entry)
    return {"swap_head": head, "contexts": True, "masks": False, "classes": classes, "pairs": list(pairs)}


@pytest.fixture
def data(voc_data: Path) -> Dataset:
    return open_data(f"voc:{voc_data}").train


def test_a_sentence_states_counts_the_effect_and_the_background_alone() -> None:
    run = {"together": 45, "photographs": 50, "lift": 0.12, "lift_logits": 1.0}
    line = sentence(Pair("irn_deft", "cow", "grass", "context", (run,)), [{"alone": 0.3}])
    assert line.kind == CAUTION
    assert line.text == (
        "cow: 45 of its 50 photographs also show grass; on backgrounds without grass its score falls by 12 percentage "
        "points; in 30 % of its photographs the background alone is classified as cow"
    )


@pytest.mark.parametrize(
    ("lift", "text"),
    [
        (None, "backgrounds with and without it cannot be compared"),
        (0.004, "its score hardly changes"),
        (-0.01, "its score rises by 1 percentage point"),
    ],
)
def test_a_small_negative_or_unknown_effect_is_no_caution(lift: float | None, text: str) -> None:
    run = {"together": 45, "photographs": 50, "lift": lift}
    line = sentence(Pair("irn_deft", "cow", "dog", "tag", (run,)), [])
    assert line.kind == PLAIN
    assert line.text.endswith(text)


def test_pairs_are_ranked_by_the_system_that_swaps_backgrounds(data: Dataset, tmp_path: Path) -> None:
    swapped = [
        record(
            pair("cow", "road", lift=0.02, lift_logits=0.2),
            pair("cow", "grass", lift=0.1, lift_logits=1.0),
            pair("cat", "road", lift=0.2, lift_logits=1.5),
        ),
        None,
    ]
    plain = record(pair("cow", "grass", with_it=0.9), pair("dog", "grass", with_it=0.8), head=None)
    findings = [Finding(DEFT, seed, value) for seed, value in enumerate(swapped)] + [Finding(CAM, 0, plain)]
    outcome, page = compose_bias(findings, [tmp_path] * 3, data)
    ranked, photographs, classes = outcome.tables
    assert [row[:3] for row in ranked.rows] == [
        ("cat", "context", "road"),
        ("cow", "context", "grass"),
        ("cow", "context", "road"),
    ]
    assert [(row[0], row[2], row[3], row[6]) for row in photographs.rows if "grass" in row] == [
        ("cow", "grass", "irn_deft", "–"),
        ("cow", "grass", "cam", "90"),
    ]
    assert [row[0] for row in classes.rows] == ["cat", "cow", "dog"]
    assert [text.partition(":")[0] for text in outcome.values["sentences"]] == ["cat", "cow"]
    assert outcome.values["records"] == {"irn_deft": {"0": swapped[0]}, "cam": {"0": plain}}
    assert outcome.plots == ()
    headings = re.findall(r"<h2><bdi>(.*?)</bdi></h2>", page)
    assert headings == ["Summary", *(table.title for table in outcome.tables), "Limits"]
    assert f"<title>{TITLE}</title>" in page


def test_limits_follow_from_the_records(data: Dataset, tmp_path: Path) -> None:
    def limits(found: dict[str, Any]) -> str:
        return " ".join(compose_bias([Finding(DEFT, 0, found)], [tmp_path], data)[0].notes)

    whole = record(pair("cow", "grass", lift_logits=1.0), head="mlp") | {"masks": True}
    whole["classes"][0]["afa"] = 0.5
    texts = {
        "no context labels": {"contexts": False},
        "There are no masks": {"masks": False},
        "no batch norm": {"classes": record()["classes"]},
        "without DEFT's two vectors": {"swap_head": None},
        "cannot show interactions": {"swap_head": "shared"},
    }
    for text, change in texts.items():
        assert text not in limits(whole)
        assert text in limits(whole | change)


def test_examples_are_sorted_by_the_score_of_their_background(data: Dataset, tmp_path: Path) -> None:
    for name in ("img_00", "img_01"):
        k = int(data.labels[data.names.index(name)].argmax())
        maps = SeedMaps((k,), torch.linspace(0, 1, 256).view(1, 16, 16), (64, 64))
        save_seeds(tmp_path / "seeds" / "train" / f"{name}.npz", maps)
    found = record(pair("cow", "grass", lift_logits=1.0), cat=("img_00", 0.2), cow=("img_01", 0.7))
    outcome, page = compose_bias([Finding(DEFT, 0, found)], [tmp_path], data)
    (plot,) = outcome.plots
    assert plot.png.startswith(b"\x89PNG")
    assert re.findall(r"background alone: (\d+) %</bdi>", page) == ["70", "20"]
    assert page.count("<img") == 4


def test_names_are_escaped_in_markdown_and_html(data: Dataset, tmp_path: Path) -> None:
    found = record(pair("<b>cow</b>", "*grass*", lift_logits=1.0, lift=0.1))
    outcome, page = compose_bias([Finding(DEFT, 0, found)], [tmp_path], data)
    assert outcome.tables[0].rows[0][:3] == ("&lt;b&gt;cow&lt;/b&gt;", "context", r"\*grass\*")
    assert any("&lt;b&gt;cow" in note for note in outcome.notes)
    assert outcome.values["sentences"][0].startswith("<b>cow</b>: 6 of its 8")
    assert "<b>" not in page and "&lt;b&gt;cow&lt;/b&gt;" in page


def test_without_any_result_the_page_has_no_tables(data: Dataset, tmp_path: Path) -> None:
    outcome, page = compose_bias([Finding(DEFT, 0)], [tmp_path], data)
    assert (outcome.tables, outcome.plots) == ((), ())
    assert outcome.values == {"records": {}, "sentences": []}
    assert TITLE in page
