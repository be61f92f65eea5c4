from __future__ import annotations

import json
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
    column = table.columns.index("seeds, train, fixed threshold")
    for name in ("one", "two"):
        assert dict(table.rows)[name][column] == scores[name]["train"]["seeds"]["fixed"]["miou"]
    assert "network, val" not in table.columns  # neither run has one


def test_an_unfinished_run_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a finished run"):
        rewrite_report(tmp_path)


def test_each_part_of_val_has_its_table() -> None:
    def scores(aligned: float, conflicting: float) -> dict[str, object]:
        parts = {"aligned": {"count": 3, "map": aligned}, "conflicting": {"count": 4, "map": conflicting}}
        return {"val": {"tags": {"map": 0.5}, "groups": parts}}

    whole, parts = compare({"one": scores(0.9, 0.3), "two": scores(0.8, 0.7)})
    assert whole.columns == ("tags, val (mAP)",)
    assert parts.columns == ("aligned", "conflicting")
    assert parts.images == (3, 4)
    assert dict(parts.rows) == {"one": (0.9, 0.3), "two": (0.8, 0.7)}
