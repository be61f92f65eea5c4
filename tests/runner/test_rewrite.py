from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import deft
from deft.artifacts import read_json, write_json
from deft.contracts import InputError
from deft.evaluate.compare import compare
from deft.recipes import cam
from deft.runner.rewrite import rewrite_report
from short import tiny


@pytest.fixture(scope="module")
def finished(folder_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "one"
    deft.run(tiny(cam(), "segment=none", steps=2), f"folder:{folder_data}", out, name="one")
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run to change."""
    return Path(shutil.copytree(finished, tmp_path / "one"))


def beside(run: Path, name: str, recipe: str) -> Path:
    """Another run with scores of its own: its masks are right in every second pixel more."""
    other = Path(shutil.copytree(run, run.parent / name))
    scores = read_json(other / "scores.json")
    scores["train"]["seeds"]["used"]["miou"] = 0.987
    write_json(other / "scores.json", scores)
    write_json(other / "run.json", {**read_json(other / "run.json"), "recipe": recipe})
    return other


def test_the_page_is_made_again_from_what_is_stored(run: Path) -> None:
    first = (run / "report.html").read_bytes()
    scores = (run / "scores.json").read_bytes()
    (run / "report.html").unlink()
    assert rewrite_report(run) == run / "report.html"
    assert (run / "report.html").read_bytes() == first
    assert (run / "scores.json").read_bytes() == scores
    assert "Side by side" not in (run / "report.html").read_text(encoding="utf-8")
    rewrite_report(run)  # the folder is free again


@pytest.mark.parametrize(("recipe", "shown"), [("two", "two"), ("", "second")])
def test_runs_stand_side_by_side_under_the_names_of_their_recipes(recipe: str, shown: str, run: Path) -> None:
    other = beside(run, "second", recipe)
    text = rewrite_report(run, [other]).read_text(encoding="utf-8")
    assert "Side by side" in text
    assert f"<bdi>{shown}</bdi>" in text and "98.7" in text
    (table, *_) = compare(
        {name: json.loads((path / "scores.json").read_text()) for name, path in (("one", run), (shown, other))}
    )
    column = table.columns.index("seeds, train, the run's threshold")
    assert dict(table.rows)[shown][column] == 0.987
    assert "98.7" not in (other / "report.html").read_text(encoding="utf-8")  # of the other run nothing is written


def test_a_run_that_is_not_finished_has_no_page(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a finished run, found none; finish it with the command"):
        rewrite_report(tmp_path / "nowhere")
    other = beside(run, "second", "two")
    (other / "scores.json").unlink()
    before = (run / "report.html").read_bytes()
    with pytest.raises(InputError, match=f"{other}: expected a finished run"):
        rewrite_report(run, [other])
    assert (run / "report.html").read_bytes() == before


def test_the_data_may_lie_elsewhere_and_must_be_those_of_the_run(run: Path, folder_data: Path, tmp_path: Path) -> None:
    first = (run / "report.html").read_bytes()
    moved = shutil.copytree(folder_data, tmp_path / "moved")
    rewrite_report(run, data=f"folder:{moved}")
    assert (run / "report.html").read_bytes() == first
    with pytest.raises(
        InputError, match=r"expected the data of the run, with images 8, got 6; .*; name it with --data"
    ):
        rewrite_report(run, data="demo:train=6,val=4,size=32")
    assert (run / "report.html").read_bytes() == first


EDITED = {
    "scores.json": ['{"classes": []}', "[]", "null", '{"classes": ["a"], "train": {"seeds": 7}}'],
    "run.json": ["[]", '{"recipe": "one"}'],
    "tuned.json": ["[]", '{"thresholds": 1}'],
    "classifier/history.json": ['{"loss": "low"}', "[[1, 2]]"],
    "seeds/stage.json": ["[]", '{"key": {}}'],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in EDITED.items() for text in texts])
def test_edited_records_are_one_message_and_the_page_is_kept(name: str, text: str, run: Path) -> None:
    before = (run / "report.html").read_bytes()
    (run / name).write_text(text)
    with pytest.raises(InputError) as caught:
        rewrite_report(run)
    assert name in str(caught.value) and ("expected" in str(caught.value) or "damaged" in str(caught.value))
    assert (run / "report.html").read_bytes() == before


def test_scores_of_images_or_classes_that_the_data_does_not_have_are_told(run: Path) -> None:
    scores = read_json(run / "scores.json")
    images = scores["train"]["images"]
    write_json(run / "scores.json", {**scores, "train": {**scores["train"], "images": {**images, "other": 0.5}}})
    with pytest.raises(InputError, match="expected scores of the images of the data, got some of 'other'"):
        rewrite_report(run)
    write_json(run / "scores.json", {**scores, "classes": scores["classes"][::-1]})
    with pytest.raises(InputError, match="expected scores of the classes of the data, got others"):
        rewrite_report(run)
