from __future__ import annotations

import json
from pathlib import Path

import pytest

import deft
from deft.evaluate.page import collect
from deft.pipeline import Pipeline
from deft.recipes import cam
from deft.report.summary import headline
from deft.runner.recorded import reopen
from deft.thresholds import Tuned, write_tuned
from short import tiny


def short(*more: str, steps: int = 2) -> Pipeline:
    """Class activation maps and their masks, of a classifier that learned little."""
    return tiny(cam(), "segment=none", *more, steps=steps)


def test_a_page_holds_hostile_names_as_text(own_folder: Path, tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>"
    (own_folder / "images" / "img_00.png").rename(own_folder / "images" / "a<b>&quot;.png")
    (own_folder / "masks" / "img_00.png").rename(own_folder / "masks" / "a<b>&quot;.png")
    for file in ("labels.csv", "classes.txt"):
        text = (own_folder / file).read_text().replace("img_00", "a<b>&quot;").replace("cat", nasty)
        (own_folder / file).write_text(text)
    page = deft.run(short(), f"folder:{own_folder}", tmp_path / "run").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "http" not in page.split("</style>")[1].split("<footer>")[0].replace("http-equiv", "")


@pytest.mark.parametrize("setting", ["auto", "0.3"])
def test_the_page_says_how_the_threshold_in_use_was_chosen(setting: str, folder_data: Path, tmp_path: Path) -> None:
    pipeline = short(f"seed_threshold={setting}", steps=20)
    page = deft.run(pipeline, f"folder:{folder_data}", tmp_path / "run").read_text(encoding="utf-8")
    run = reopen(tmp_path / "run")
    try:
        data, cuts = collect(run), run.cuts("seeds")
    finally:
        run.out.close()
    auto = cuts.known["auto"]
    how = "auto" if setting == "auto" else "fixed"
    assert cuts.used == (auto if how == "auto" else 0.3)
    shown = [(one.chosen, one.threshold) for one in data.scores if (one.what, one.split) == ("seeds", "train")]
    assert [kind for kind, _ in shown] == ([how, "swept"] if how == "auto" else [how, "auto", "swept"])
    assert shown[0] == (how, cuts.used) and ("auto", auto) in shown
    assert headline(data) == next(one for one in data.scores if one.headline)
    assert (headline(data).what, headline(data).chosen) == ("pseudo-masks", how)  # type: ignore[union-attr]
    curve = data.curves["seeds, train"]
    assert (curve.used, curve.auto) == (cuts.used, auto)
    assert f"threshold {auto:.2f} (chosen without masks)" in page
    assert ("fixed threshold 0.30" in page) == (how == "fixed")
    assert "best threshold" in page and "(chosen on the ground truth)" in page
    held_out = [one.chosen for one in data.scores if (one.what, one.split) == ("seeds", "val")]
    assert held_out == [kind for kind, _ in shown]


def test_images_that_thresholds_were_tuned_on_are_not_scored_and_that_is_said(
    folder_data: Path, tmp_path: Path
) -> None:
    pipeline, out = short(steps=20), tmp_path / "run"
    deft.run(pipeline, f"folder:{folder_data}", out)
    before = json.loads((out / "scores.json").read_text())
    names = sorted(before["train"]["images"])[:3]
    write_tuned(out, Tuned({"seeds": 0.42}, tuple(names), {"seeds": 0.0123}))
    page = deft.run(pipeline, f"folder:{folder_data}", out).read_text(encoding="utf-8")
    after = json.loads((out / "scores.json").read_text())
    assert sorted(after["train"]["images"]) == sorted(before["train"]["images"].keys() - set(names))
    for part in (after["train"]["seeds"], after["train"]["masks"], after["val"]["seeds"]):
        assert part["used"] == {"chosen": "tuned", **part["tuned"]}
        assert part["tuned"]["threshold"] == 0.42
    assert after["train"]["seeds"]["auto"]["threshold"] == before["train"]["seeds"]["auto"]["threshold"]
    assert after["train"]["seeds"]["curve"] != before["train"]["seeds"]["curve"]  # of other images
    assert after["val"]["seeds"]["curve"] == before["val"]["seeds"]["curve"]
    assert after["thresholds"]["seeds"]["chosen"] == "tuned"
    assert "threshold 0.42 (tuned on drawn masks)" in page
    assert "tuned on the masks of 3 training images" in page and "seeds 1.2" in page
