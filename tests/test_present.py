from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import deft
from deft.cli import main
from deft.contracts import InputError
from deft.present import compare, rewrite_report
from deft.recipes import cam
from deft.settings import assign

SETTINGS = ["backbone=test_resnet", "weights=none", "segment=none", "classifier.plan.min_steps=2"]
SETTINGS += ["classifier.plan.epochs=1", "classifier.plan.workers=0"]


def test_a_page_holds_hostile_names_as_text(own_folder: Path, tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>"
    (own_folder / "images" / "img_00.png").rename(own_folder / "images" / "a<b>&quot;.png")
    (own_folder / "masks" / "img_00.png").rename(own_folder / "masks" / "a<b>&quot;.png")
    for file in ("labels.csv", "classes.txt"):
        text = (own_folder / file).read_text().replace("img_00", "a<b>&quot;").replace("cat", nasty)
        (own_folder / file).write_text(text)
    page = deft.run(assign(cam(), SETTINGS), f"folder:{own_folder}", tmp_path / "run").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "http" not in page.split("</style>")[1].split("<footer>")[0].replace("http-equiv", "")


def test_runs_stand_side_by_side(folder_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("one", 0), ("two", 1)):
        deft.run(assign(cam(), [*SETTINGS, f"seed={seed}"]), f"folder:{folder_data}", tmp_path / name, name=name)
    assert main(["report", str(tmp_path / "one"), "--beside", str(tmp_path / "two")]) == 0
    text = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    assert "Side by side" in text
    scores = {name: json.loads((tmp_path / name / "scores.json").read_text()) for name in ("one", "two")}
    table = compare(scores)[0]
    row = dict(table.rows)["seeds, train, fixed threshold"]
    assert row == tuple(scores[name]["train"]["seeds"]["fixed"]["miou"] for name in ("one", "two"))
    assert not any(all(math.isnan(value) for value in values) for _, values in table.rows)


def test_an_unfinished_run_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a finished run"):
        rewrite_report(tmp_path)
