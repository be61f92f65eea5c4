"""From a review to what a round learns."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft.artifacts import load_mask
from deft.artifacts.corrected import read_corrected
from deft.artifacts.review import Decision, Review
from deft.contracts import InputError, Splits
from deft.data import open_data
from deft.engine.corrections import Corrections
from deft.runner.images import Images
from deft.stages.corrections import take_over

CLASSES = ("cat", "cow", "dog")
MASK = np.full((64, 64), 2, dtype=np.uint8)


@pytest.fixture
def splits(folder_data: Path) -> Splits:
    return open_data(f"folder:{folder_data}")


def test_reviewed_images_are_sorted_and_their_masks_copied(splits: Splits, tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    review.write("img_00", MASK, "corrected", ["dog"])  # held out by its name, and so are its tags
    review.write("img_02", MASK, "corrected", ["dog"])  # as in the dataset
    review.write("img_03", MASK, "accepted", ["cow"])
    review.write("img_04", None, "rejected")
    review.write("img_09", MASK, "corrected")  # of the held-out split
    review.write("img_10", None, "rejected")
    found = take_over(tmp_path, splits, Corrections())
    assert (set(found.taught), set(found.held_out), set(found.val)) == ({"img_02", "img_03"}, {"img_00"}, {"img_09"})
    assert found.rejected == ("img_04",) and found.tags == {"img_03": ("cow",)}
    assert read_corrected(tmp_path) == found and found.stage.done
    for name in ("img_00", "img_02", "img_03", "img_09"):
        assert (load_mask(found.mask_file(name)) == MASK).all()
    assert set(take_over(tmp_path, splits, Corrections(held_out=0)).taught) == {"img_00", "img_02", "img_03"}


def test_tags_teach_of_images_whose_masks_nobody_has_looked_at(splits: Splits, tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    for name, tags in (("img_00", ("dog",)), ("img_03", ("cow",)), ("img_02", ("dog",))):
        review.step(Decision(name, "unreviewed", tags=tags, what="tags"), 0)
    found = take_over(tmp_path, splits, Corrections())
    assert found.tags == {"img_03": ("cow",)} and not found.taught  # img_00 is held out, img_02 has these tags
    assert read_corrected(tmp_path) == found and found.stage.done


def test_an_unchanged_review_writes_nothing_and_none_removes_what_was_taken_over(
    splits: Splits, tmp_path: Path
) -> None:
    assert not take_over(tmp_path, splits, Corrections()).taught and not list(tmp_path.iterdir())
    Review(tmp_path, CLASSES).write("img_02", MASK, "corrected")
    take_over(tmp_path, splits, Corrections())
    record = tmp_path / "corrected" / "stage.json"
    before = record.stat().st_mtime_ns
    take_over(tmp_path, splits, Corrections())
    assert record.stat().st_mtime_ns == before
    shutil.rmtree(tmp_path / "review")
    take_over(tmp_path, splits, Corrections())
    assert not (tmp_path / "corrected").exists()


def test_the_copy_is_made_again_if_it_is_damaged_or_the_review_has_changed(splits: Splits, tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    review.write("img_02", MASK, "corrected")
    file = take_over(tmp_path, splits, Corrections()).mask_file("img_02")
    file.write_bytes(b"")
    take_over(tmp_path, splits, Corrections())
    assert (load_mask(file) == MASK).all()
    review.write("img_02", MASK - 1, "corrected")
    assert (load_mask(file) == MASK).all()  # until the next round begins
    take_over(tmp_path, splits, Corrections())
    assert (load_mask(file) == MASK - 1).all()


def test_the_review_of_another_run_teaches(splits: Splits, tmp_path: Path) -> None:
    Review(tmp_path / "first", CLASSES).write("img_02", MASK, "corrected")
    found = take_over(tmp_path / "second", splits, Corrections(), tmp_path / "first")
    assert set(found.taught) == {"img_02"} and (load_mask(found.mask_file("img_02")) == MASK).all()
    assert not (tmp_path / "first" / "corrected").exists()


@pytest.mark.parametrize(
    ("classes", "decisions", "told"),
    [
        (
            ("cat", "sheep"),
            {"img_02": (MASK, "corrected"), "img_03": (MASK, "accepted"), "img_04": (MASK - 1, "accepted")},
            "got 2 reviewed images with 'sheep', which the data does not have; bring the class back, write its new "
            "name into review.json and the tags of these files, or remove them: {review}/images/img_02.json, "
            "{review}/images/img_03.json",
        ),
        (CLASSES, {"img_02": (MASK[:, :50], "corrected")}, "size of its image, 64 x 64, got 50 x 64"),
        (CLASSES, {"img_09": (MASK.repeat(2, 0), "accepted")}, "size of its image, 64 x 64, got 64 x 128"),
        (CLASSES, {f"img_{index:02d}": (None, "rejected") for index in range(8)}, "every training image is rejected"),
    ],
)
def test_a_review_of_something_else_is_one_message(
    classes: tuple[str, ...], decisions: dict[str, Any], told: str, splits: Splits, tmp_path: Path
) -> None:
    Images.of(splits).store(tmp_path)
    review = Review(tmp_path, classes)
    for name, (mask, state) in decisions.items():
        review.write(name, mask, state)
    with pytest.raises(InputError, match=re.escape(told.format(review=review.folder))) as error:
        take_over(tmp_path, splits, Corrections())
    assert "\n" not in str(error.value)
    assert not read_corrected(tmp_path).taught


def test_a_mask_that_another_program_has_changed_is_told(splits: Splits, tmp_path: Path) -> None:
    review = Review(tmp_path, CLASSES)
    review.write("img_02", MASK, "corrected")
    review.mask_file("img_02", review.read()["img_02"].mask).write_bytes(b"other")
    with pytest.raises(InputError, match=r"\.png: damaged, or changed by another program"):
        take_over(tmp_path, splits, Corrections())


@pytest.mark.parametrize("classes", [("cow", "cat"), ("zebra", "dog", "cow", "cat"), ("cat", "cow")])
def test_masks_and_tags_follow_the_names_of_classes(
    classes: tuple[str, ...], splits: Splits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A review in other classes teaches what it would in those of now; classes that no decision uses may be gone."""
    mask = np.zeros((64, 64), np.uint8)
    mask[8:20], mask[20:40], mask[40:50] = classes.index("cat") + 1, classes.index("cow") + 1, 255
    review = Review(tmp_path, classes)
    review.write("img_03", mask, "corrected", ["cow"])
    review.write("img_04", None, "rejected", ["zebra"] if "zebra" in classes else None)
    found = take_over(tmp_path, splits, Corrections())
    expected = np.zeros((64, 64), np.uint8)
    expected[8:20], expected[20:40], expected[40:50] = 1, 2, 255
    assert (load_mask(found.mask_file("img_03")) == expected).all()
    assert found.tags == {"img_03": ("cow",)} and found.rejected == ("img_04",)
    other = Review(tmp_path / "same", CLASSES)
    other.write("img_03", expected, "corrected", found.tags["img_03"])
    other.write("img_04", None, "rejected")
    assert take_over(tmp_path / "same", splits, Corrections()).stage.key == found.stage.key
    assert capsys.readouterr().err == ""


def test_a_photograph_of_another_size_was_replaced_if_its_bytes_are_not_known(
    splits: Splits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    review = Review(tmp_path, CLASSES)
    review.write("img_02", MASK[:, :50], "corrected")
    review.write("img_03", MASK, "corrected")
    assert set(take_over(tmp_path, splits, Corrections()).taught) == {"img_03"}
    assert "1 reviewed image is another photograph now and counts as unreviewed (img_02)" in capsys.readouterr().err
    journal = review.journal("img_02")
    assert (journal.now.state, journal.now.mask, journal.revision) == ("unreviewed", "", 2)
    take_over(tmp_path, splits, Corrections())
    assert capsys.readouterr().err == ""  # said once: the image is unreviewed in the review


def test_gone_photographs_are_left_out_and_renamed_ones_followed(
    folder_data: Path, splits: Splits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Images.of(splits).store(tmp_path / "first")
    review = Review(tmp_path / "first", CLASSES)
    for name in ("img_02", "img_03", "img_05"):
        review.write(name, MASK, "corrected")
    review.write("img_04", None, "rejected")
    data = Path(shutil.copytree(folder_data, tmp_path / "data"))
    change(data, "img_02", "later")  # as a stem, not as a text in other names
    change(data, "img_04", None)
    now = open_data(f"folder:{data}")
    found = take_over(tmp_path / "second", now, Corrections(held_out=0), tmp_path / "first")
    assert set(found.taught) == {"later", "img_03", "img_05"} and not found.rejected
    assert (load_mask(found.mask_file("later")) == MASK).all()
    assert capsys.readouterr().err == (
        f"{review.folder}: 1 reviewed image is no longer in the data and is left out (img_04), "
        "1 reviewed image has another name now, which is followed (img_02)\n"
    )
    assert review.journal("img_04").now.state == "rejected"  # the review of another run is only read


def test_a_review_of_other_images_altogether_is_refused(folder_data: Path, splits: Splits, tmp_path: Path) -> None:
    Review(tmp_path / "first", CLASSES).write("IMG_1", MASK, "corrected")
    with pytest.raises(InputError, match="expected a review of images of the data, got none that it has, 'IMG_1'"):
        take_over(tmp_path / "second", splits, Corrections(), tmp_path / "first")
    assert not take_over(tmp_path / "first", splits, Corrections()).taught  # a run goes on with its own


def change(data: Path, old: str, new: str | None) -> None:
    """Rename a photograph of a ``folder:`` dataset, or remove it."""
    for path in data.rglob(f"{old}.*"):
        path.unlink() if new is None else path.rename(path.with_stem(new))
    table = data / "labels.csv"
    rows = [row.partition(",") for row in table.read_text().splitlines()]
    kept = [(new or name if Path(name).stem == old else name, comma, rest) for name, comma, rest in rows]
    table.write_text("\n".join("".join(row) for row in kept if new or Path(row[0]).stem != old) + "\n")
