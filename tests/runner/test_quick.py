from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deft.artifacts import load_mask
from deft.artifacts.review import Review
from deft.cli.main import main
from deft.contracts import InputError
from deft.recipes import frozen
from deft.runner import quick as module
from deft.runner.quick import answers, quick
from deft.settings import assign
from short import tiny

PIPELINE = tiny(frozen(), "precision=32-true", "segment=none", "corrections.held_out=0.0")


def test_answers(make_folder: Any, tmp_path: Path) -> None:
    """The same question is continued; other tags begin the next answer, which keeps features and review."""
    data, out = make_folder(tmp_path / "data", count=8, side=64), tmp_path / "answers"
    assert answers(out) == []
    page = quick(PIPELINE, f"folder:{data}", out, "frozen")
    assert page == out / "1" / "report.html" and page.exists()
    seeds = (out / "1" / "seeds" / "stage.json").stat().st_mtime_ns
    assert quick(PIPELINE, f"folder:{data}", out, "frozen") == page
    assert (out / "1" / "seeds" / "stage.json").stat().st_mtime_ns == seeds

    review = Review(out / "1", ("cat", "cow", "dog"))
    accept(review, "img_01")
    table = data / "labels.csv"
    table.write_text(table.read_text().replace("img_00,cat", "img_00,cat;dog"))
    assert quick(PIPELINE, f"folder:{data}", out, "frozen") == out / "2" / "report.html"
    assert answers(out) == [out / "1", out / "2"]
    for path in (out / "1" / "features").glob("*.safetensors"):
        assert os.path.samefile(path, out / "2" / "features" / path.name)
    assert json.loads((out / "2" / "corrected" / "corrections.json").read_text())
    assert set(Review(out / "2", ("cat", "cow", "dog")).read()) == {"img_01"}


def test_an_answer_takes_over_from_all_earlier_ones(make_folder: Any, tmp_path: Path) -> None:
    data, out = f"folder:{make_folder(tmp_path / 'data', count=8, side=64)}", tmp_path / "answers"
    for number, settings in enumerate((["seed=1"], ["seed=2", "frozen.stride=16"], ["seed=1"]), 1):
        assert quick(assign(PIPELINE, settings), data, out, "frozen") == out / str(number) / "report.html"
    for stage in ("features", "classifier", "seeds"):
        for path in (out / "1" / stage).rglob("*.*"):
            assert path.is_dir() or os.path.samefile(path, out / "3" / path.relative_to(out / "1")), path


def said(capsys: Any) -> list[str]:
    """What a command has said about reviews and data, of which nothing may be said twice."""
    lines = [line for line in capsys.readouterr().err.splitlines() if "review" in line or "images to learn" in line]
    assert len(set(lines)) == len(lines)
    return lines


def test_a_review_follows_classes_and_photographs(make_folder: Any, tmp_path: Path, capsys: Any) -> None:
    data, out = make_folder(tmp_path / "data", count=8, side=64), tmp_path / "answers"
    table, images = data / "labels.csv", data / "images"

    def answer() -> tuple[Path, dict[str, Any]]:
        folder = quick(PIPELINE, f"folder:{data}", out, "frozen").parent
        return folder, json.loads((folder / "corrected" / "corrections.json").read_text())

    quick(PIPELINE, f"folder:{data}", out, "frozen")
    first, cow = Review(out / "1", ("cat", "cow", "dog")), np.full((64, 64), 2, np.uint8)
    for name in ("img_02", "img_03", "img_07"):
        first.write(name, cow, "corrected")
    first.write("img_04", None, "rejected")
    capsys.readouterr()

    (data / "classes.txt").write_text("ant\ncat\ncow\ndog\n")
    table.write_text(table.read_text().replace("img_00,cat", "img_00,ant"))
    folder, found = answer()
    assert folder == out / "2" and found["taught"].keys() == {"img_02", "img_03"} and found["rejected"] == ["img_04"]
    assert (load_mask(folder / "corrected" / "masks" / "img_02.png") == 3).all()
    assert len(said(capsys)) == 1  # the overview of the data
    before = stamps(folder)
    assert answer() == (folder, found) and stamps(folder) == before
    assert len(said(capsys)) == 1

    for path in data.rglob("img_02.png"):
        path.rename(path.with_stem("other"))
    for path in data.rglob("img_04.png"):
        path.unlink()
    Image.open(images / "img_03.png").rotate(90).save(images / "img_03.png")
    rows = table.read_text().replace("img_02,", "other,").splitlines()
    table.write_text("\n".join(row for row in rows if "img_04" not in row) + "\n")
    folder, found = answer()
    assert folder == out / "3" and found["taught"].keys() == {"other"} and found["rejected"] == []
    assert (remark := said(capsys)[1]).startswith(f"{out / '2' / 'review'}: ")
    for part in ("no longer in the data and is left out (img_04)", "counts as unreviewed (img_03)", "(img_02)"):
        assert part in remark

    first.write("img_01", cow, "corrected")  # in a window of an earlier answer
    folder, found = answer()
    assert folder == out / "3" and found["taught"].keys() == {"other", "img_01"}
    assert said(capsys)[1] == f"{folder / 'review'}: 1 later decision of earlier answers taken over (img_01)"
    assert (load_mask(folder / "corrected" / "masks" / "img_01.png") == 3).all()

    assert found["val"].keys() == {"img_07"}
    Image.open(images / "img_07.png").rotate(90).save(images / "img_07.png")
    folder, found = answer()  # nothing learns from held-out photographs
    assert folder == out / "3" and found["val"] == {} and "counts as unreviewed (img_07)" in said(capsys)[1]
    assert answer()[1] == found and len(said(capsys)) == 1
    assert Review(folder, ("ant", "cat", "cow", "dog")).journal("img_07").now.state == "unreviewed"

    (data / "classes.txt").write_text("ant\ncat\ndog\n")
    table.write_text(table.read_text().replace("cow", "dog"))
    with pytest.raises(InputError, match="got 2 reviewed images with 'cow', which the data does not have"):
        answer()
    assert sorted(path.name for path in out.iterdir()) == ["1", "2", "3"]


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("stage.json")}


def test_an_answer_that_is_refused_leaves_no_folder(make_folder: Any, tmp_path: Path) -> None:
    data, out = f"folder:{make_folder(tmp_path / 'data', count=8, side=64)}", tmp_path / "answers"
    small = assign(PIPELINE, ["frozen.gigabytes=0.000001"])
    with pytest.raises(InputError, match=r"frozen\.gigabytes"):
        quick(small, data, out, "frozen")
    assert answers(out) == [] and list(out.iterdir()) == []
    quick(PIPELINE, data, out, "frozen")
    accept(Review(out / "1", ("cat", "cow", "dog")), "img_01")
    with pytest.raises(InputError, match=r"frozen\.gigabytes"):
        quick(assign(small, ["frozen.stride=16"]), data, out, "frozen")
    assert list(out.iterdir()) == [out / "1"]


def accept(review: Review, name: str) -> None:
    from deft.artifacts.review import ACCEPTED, Decision

    review.write_all([Decision(name, ACCEPTED, np.zeros((64, 64), dtype=np.uint8))])


def test_the_command(folder_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(module, "quick", lambda *given: asked.append(given) or tmp_path / "report.html")
    assert main(["quick", f"folder:{folder_data}", "--weights", "none", "--set", "seed=3"]) == 0
    pipeline, data, out, name = asked[0]
    assert (pipeline.backbone, pipeline.weights, pipeline.seed) == ("tf_efficientnet_lite0", "none", 3)
    assert (data, out, name) == (f"folder:{folder_data}", Path("runs/quick"), "frozen_deft")
    assert "report.html" in capsys.readouterr().out
    assert main(["quick", f"folder:{folder_data}", "--no-deft", "--weights", "none"]) == 0
    assert asked[1][3] == "frozen"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--weights", "gone.safetensors"], "no weights found"),
        (["--backbone", "resnet999"], "unknown backbone"),
        (["--backbone", "test_resnet", "--weights", "none", "--set", "frozen.taps=9"], "frozen.taps"),
        (["--set", "frozen=none"], "frozen backbone"),
        (["--set", "inference.flip=true"], "inference.flip"),
    ],
)
def test_bad_input_is_told_before_any_work(
    words: list[str], said: str, folder_data: Path, tmp_path: Path, capsys: Any
) -> None:
    assert main(["quick", f"folder:{folder_data}", "--out", str(tmp_path / "q"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.safetensors"))
