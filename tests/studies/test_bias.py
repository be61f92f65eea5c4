from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.classify.deft import DeftHead
from deft.classify.swap_forms import LinearSwap, MlpSwap, SharedSwap, SwapForm
from deft.contracts import InputError
from deft.data import open_data
from deft.report.summary import CAUTION, PLAIN
from deft.studies.bias import Companions, Inquiry, bias, choose_images, norm_ratios, pair_logits
from deft.studies.bias_page import Pair, sentence
from deft.studies.study import StudyRunner

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


@pytest.mark.parametrize("form", [LinearSwap(), SharedSwap(), MlpSwap()])
def test_pairs_are_scored_as_the_head_scores_them(form: SwapForm) -> None:
    torch.manual_seed(0)
    head = DeftHead(maps=2, swap_head=form).build(6, 3)
    z_fg, z_bg = torch.randn(2, 4, 6)
    with torch.no_grad():
        found = pair_logits(head, z_fg, z_bg)
        for i in range(4):
            for j in range(4):
                alone = head.swap_logits(torch.cat([z_fg[i], z_bg[j]])[None])[0].numpy()
                assert np.allclose(found[i, j], alone, atol=1e-6)
    change = found - found[:, :1]
    additive = np.allclose(change, change[:1], atol=1e-5)
    assert additive == form.additive


def test_norm_ratios_of_a_linear_swap() -> None:
    head = DeftHead(maps=2).build(5, 3)
    ratios = norm_ratios(head, 5)
    weight = head.f_swap[0].weight.detach()
    assert ratios == pytest.approx((weight[:, 5:].norm(dim=1) / weight[:, :5].norm(dim=1)).tolist(), rel=1e-5)
    assert all(math.isnan(value) for value in norm_ratios(DeftHead(maps=2, swap_head=MlpSwap()).build(5, 3), 5))
    assert len(norm_ratios(DeftHead(maps=2, swap_head=SharedSwap()).build(5, 3), 5)) == 3


def test_companions_are_contexts_and_the_other_tags(voc_data: Path, folder_data: Path) -> None:
    scenes, tags = (
        Companions.of(open_data(f"voc:{voc_data}").train),
        Companions.of(open_data(f"folder:{folder_data}").train),
    )
    assert scenes.names == ("grass", "road", "cat", "cow", "dog")
    assert scenes.kinds == ("context", "context", "tag", "tag", "tag")
    assert scenes.shown.shape == (8, 5)
    assert tags.kinds == ("tag",) * 3
    assert tags.counts.diagonal().tolist() == [0, 0, 0]


def test_every_class_is_looked_at(voc_data: Path) -> None:
    data = open_data(f"voc:{voc_data}").train
    chosen = choose_images(data, 8)
    assert chosen == sorted(set(chosen))
    assert data.labels[chosen].any(axis=0).all()


def test_sentences_are_for_the_owner_of_the_photographs() -> None:
    run = {"together": 45, "photographs": 50, "lift": 0.12, "lift_logits": 1.0}
    pair = Pair("irn_deft", "cow", "grass", "context", (run,))
    line = sentence(pair, [{"alone": 0.3}])
    assert line.kind == CAUTION
    assert line.text == (
        "cow: its photographs show grass in 45 of 50; on backgrounds without grass its score falls by 12 points; "
        "the background alone is taken for cow in 30 % of its photographs"
    )
    alike = sentence(Pair("irn_deft", "cow", "dog", "tag", ({**run, "lift": None},)), [])
    assert alike.kind == PLAIN
    assert "seen with dog in 45 of 50; every photograph shows it or none does" in alike.text


def test_the_study_ranks_and_shows(voc_data: Path, tmp_path: Path) -> None:
    runner = StudyRunner(f"voc:{voc_data}", tmp_path, seeds=(0, 1), settings=TINY)
    outcome = bias(runner, Inquiry(images=12, together=1, examples=1))
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
    assert "cannot be known without DEFT's two vectors" in (tmp_path / "bias.md").read_text()


def test_without_contexts_and_masks_it_says_what_cannot_be_known(
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
    outcome = bias(runner, Inquiry(images=8, together=1, examples=1))
    assert not outcome.failures
    text, page = (tmp_path / "out" / "bias.md").read_text(), (tmp_path / "out" / "bias.html").read_text()
    assert "The data name no contexts" in text
    assert "There are no masks" in text
    assert "<script>" not in text + page
    assert "[x](" not in text
    assert "alert" in text and "alert" in page


def test_without_the_two_vectors_nothing_can_be_swapped(voc_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="add irn_deft to --systems"):
        bias(StudyRunner(f"voc:{voc_data}", tmp_path, systems=("cam",)))
