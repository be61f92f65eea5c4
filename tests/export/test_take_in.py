"""``deft import``: into the review, all or nothing, with states, tags and the digest of what is replaced."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.artifacts.review import Review
from deft.cli.main import main
from deft.contracts import InputError
from deft.export.formats import reader_of
from deft.export.source import Source
from deft.export.take_in import take_in
from deft.recipes.finding import find_recipe
from deft.runner.run import run as start
from deft.runner.verify import verify
from export_runs import CLASSES, contents, exported, imported, own_masks
from short import tiny


def write(folder: Path, **masks: np.ndarray) -> Path:
    """Masks as PNGs."""
    folder.mkdir(exist_ok=True)
    for name, mask in masks.items():
        Image.fromarray(mask).save(folder / f"{name}.png")
    return folder


def test_equal_masks_are_accepted_and_others_corrected(run: Path, tmp_path: Path) -> None:
    own = own_masks(run)
    changed = own["turned"].copy()
    changed[0, 0] = 3
    imported(run, write(tmp_path / "in", a=own["a"], turned=changed), "png")
    found = Review(run, CLASSES).read()
    assert {name: each.state for name, each in found.items()} == {"a": "accepted", "turned": "corrected"}
    for name, each in found.items():
        assert each.replaces == sha256((run / "masks" / f"{name}.png").read_bytes()).hexdigest()


def test_tags_are_kept_where_they_changed(run: Path, tmp_path: Path) -> None:
    own = own_masks(run)  # tagged cat and dog; shows tooth brush too
    without = np.where(own["upside"] == 3, 0, own["upside"]).astype(np.uint8)
    same = np.where(own["turned"] == 2, 0, own["turned"]).astype(np.uint8)
    empty = np.zeros_like(own["a"])
    imported(run, write(tmp_path / "in", a=empty, turned=same, upside=without), "png")
    found = Review(run, CLASSES).read()
    assert {name: each.tags for name, each in found.items()} == {
        "a": (),
        "turned": None,
        "upside": ("cat", "tooth brush"),
    }


def test_nothing_else_of_the_run_changes(run: Path) -> None:
    before = contents(run)
    sound = verify(run)
    imported(run, exported(run, "coco"), "coco")
    after = contents(run)
    assert {name: text for name, text in after.items() if not name.startswith("review/")} == before
    assert {name for name in after if name not in before} >= {"review/review.json", "review/images/sub%2Fb c.json"}
    assert verify(run) == sound


def test_a_second_import_replaces_and_adds(run: Path, tmp_path: Path) -> None:
    own = own_masks(run)
    imported(run, write(tmp_path / "one", a=np.full_like(own["a"], 1)), "png")
    found = imported(run, write(tmp_path / "two", a=own["a"], upside=own["upside"]), "png")
    assert found.keys() == {"a", "upside"}
    assert (found["a"] == own["a"]).all()
    assert Review(run, CLASSES).read()["a"].state == "accepted"


def test_an_import_is_a_step_that_can_be_undone(run: Path, tmp_path: Path) -> None:
    own, review = own_masks(run), Review(run, CLASSES)
    review.write("a", own["a"], "accepted")
    imported(run, write(tmp_path / "in", a=np.full_like(own["a"], 1)), "png")
    journal = review.journal("a")
    assert (journal.revision, journal.now.what, journal.now.state) == (2, "import", "corrected")
    assert review.move("a", 2, -1).now.state == "accepted"
    assert (review.mask("a") == own["a"]).all()


def test_only_some_are_imported(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = exported(run, "voc")
    assert imported(run, out, "voc", "--only", "a,turned").keys() == {"a", "turned"}
    assert main(["import", str(run), str(out), "--format", "voc", "--only", "truned"]) == 2
    assert "(nearest: 'turned')" in capsys.readouterr().err


def test_held_out_images_are_reviewed_too(run: Path) -> None:
    found = imported(run, exported(run, "labelme", "--masks", "predictions", "--shapes", "masks"), "labelme")
    assert {name: each.state for name, each in Review(run, CLASSES).read().items()} == dict.fromkeys(found, "accepted")
    assert found.keys() == {"held/out", "held/turned"}


def test_masks_of_the_pixels_as_stored_are_turned(run: Path, tmp_path: Path) -> None:
    own = own_masks(run)
    # EXIF 6: the upright image is the stored one turned clockwise; 3: upside down.
    stored = write(tmp_path / "in", turned=np.rot90(own["turned"]), upside=np.rot90(own["upside"], 2))
    found = imported(run, stored, "png")
    assert (found["turned"] == own["turned"]).all()  # its size tells
    assert (found["upside"] == np.rot90(own["upside"], 2)).all()  # its size does not
    found = imported(run, stored, "png", "--as-stored")
    assert (found["turned"] == own["turned"]).all()
    assert (found["upside"] == own["upside"]).all()


@pytest.mark.parametrize("size", [(36, 51), (1, 1), (100, 72)])
def test_masks_of_another_size_are_refused(
    size: tuple[int, int], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write(tmp_path / "in", turned=np.zeros(size, np.uint8), a=own_masks(run)["a"])
    assert main(["import", str(run), str(files), "--format", "png"]) == 2
    said = capsys.readouterr().err
    assert f"expected a mask of the size of the photograph, 36 x 50, got {size[1]} x {size[0]}" in said
    assert "nothing was imported" in said
    assert not (run / "review").exists()


def test_many_faults_are_counted(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {name: np.zeros((2, 2), np.uint8) for name in ("a", "turned", "upside")}
    files = write(tmp_path / "in", **wrong)
    for inside in ("sub/b c", "held/out", "held/turned"):
        (files / inside).parent.mkdir(exist_ok=True)
        Image.fromarray(wrong["a"]).save(files / f"{inside}.png")
    assert main(["import", str(run), str(files), "--format", "png"]) == 2
    said = capsys.readouterr().err
    assert said.count("expected a mask of the size") == 5
    assert "... and 1 more" in said


@pytest.mark.parametrize(
    "form", ["png", "coco", "yolo", "yolo-semantic", "labelme", "labelstudio", "cvat", "cvat-mask"]
)
def test_a_folder_without_such_files_and_none_at_all(
    form: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "gone"):
        capsys.readouterr()
        assert main(["import", str(run), str(path), "--format", form]) == 2
        said = capsys.readouterr().err
        assert "found n" in said
        assert "Traceback" not in said
    assert not (run / "review").exists()


def test_the_record_of_another_version_is_not_written_over(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "review").mkdir()
    (run / "review" / "review.json").write_text('{"version": 9, "classes": [], "images": {}}')
    before = contents(run)
    files = write(tmp_path / "in", a=own_masks(run)["a"])
    assert main(["import", str(run), str(files), "--format", "png"]) == 2
    assert "expected version 2 of a review, got '9'" in capsys.readouterr().err
    after = contents(run)
    assert after.pop("review/lock")
    assert after == before


DAMAGES = {
    "cut": lambda content, rng: content[: rng.integers(len(content))],
    "flipped": lambda content, rng: b"".join(
        bytes([byte ^ (int(rng.integers(1, 256)) if rng.random() < 0.01 else 0)]) for byte in content
    ),
    "repeated": lambda content, rng: (at := int(rng.integers(len(content)))) and content[:at] + content[at // 2 :],
    "zeroed": lambda content, rng: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
}


@pytest.mark.parametrize(
    "form", ["png", "coco", "yolo", "yolo-semantic", "labelme", "labelstudio", "cvat", "cvat-mask"]
)
def test_damaged_files_are_told_or_read_and_never_half_imported(form: str, run: Path) -> None:
    out = exported(run, form)
    source, read = Source.of(run), reader_of(form)
    kinds = (".json", ".txt", ".xml", ".yaml", ".png")
    files = [path for path in sorted(out.rglob("*")) if path.suffix in kinds and path.parent.name != "JPEGImages"]
    rng = np.random.default_rng(0)
    told = 0
    for path in [path for path in files if "images" not in path.parts and path.stat().st_size > 1][:6]:
        whole = path.read_bytes()
        for damage in DAMAGES.values():
            path.write_bytes(damage(whole, rng) or b"")
            shutil.rmtree(run / "review", ignore_errors=True)
            try:
                take_in(source, read, out)
            except InputError as error:
                told += 1
                assert str(error)
                assert not (run / "review").exists()
            else:
                assert Review(run, CLASSES).read()
        path.write_bytes(whole)
    assert told


def test_a_run_is_resumed_beside_its_review(folder_data: Path, tmp_path: Path) -> None:
    pipeline = tiny(find_recipe("cam")[1], "segment=none", steps=2)
    out = tmp_path / "run"
    start(pipeline, f"folder:{folder_data}", out)
    assert main(["export", str(out), "--format", "labelme", "--out", str(tmp_path / "out")]) == 0
    assert main(["import", str(out), str(tmp_path / "out"), "--format", "labelme"]) == 0
    before = contents(out)
    sound = verify(out)
    assert sound.wrong == ()
    start(pipeline, f"folder:{folder_data}", out)
    after = contents(out)
    stages = [name for name in before if "/" in name]
    assert {name: after[name] for name in stages} == {name: before[name] for name in stages}
    assert len(Review(out, ("cat", "cow", "dog")).read()) == 8
    assert verify(out).wrong == ()
