"""Steps of a review: what each writes, who is refused, and that untouched pixels stay as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from deft.artifacts.review import Review, StaleError
from deft.contracts import InputError
from deft.export.source import PSEUDO
from deft.review.maps import mask_at
from deft.review.serve import opened
from deft.review.session import Session, carried_over
from review_runs import THRESHOLD


def own(session: Session, number: int) -> np.ndarray:
    """The run's own mask of a training image."""
    return session.source.mask(PSEUDO, session.item(number))


def drawn_on(session: Session, number: int, value: int = 2) -> np.ndarray:
    found = session.mask(number).copy()
    found[3:9, 5:11] = value
    return found


def test_a_drawn_mask_is_written_at_once(session: Session, run: Path) -> None:
    changed = drawn_on(session, 0)
    journal = session.draw(0, 0, changed, "brush")
    assert (journal.revision, journal.now.state, journal.now.what) == (1, "corrected", "brush")
    found = Review(run, session.source.classes)
    assert (found.mask("img_00") == changed).all()
    assert found.read()["img_00"].replaces == session.source.own_digest(session.item(0))
    again = opened(run)  # after a restart
    assert (again.mask(0) == changed).all()
    assert again.details(0)["can_undo"]
    assert again.move(0, 1, -1).now.state == "unreviewed"
    assert (again.mask(0) == own(again, 0)).all()


def test_two_windows_do_not_overwrite_each_other(session: Session, run: Path) -> None:
    other = opened(run)
    first = drawn_on(session, 0)
    session.draw(0, 0, first, "brush")
    before = {path: path.read_bytes() for path in (run / "review").rglob("*.*")}
    for act in (
        lambda: other.draw(0, 0, drawn_on(other, 0, 3), "brush"),
        lambda: other.decide(0, 0, "rejected"),
        lambda: other.tag(0, 0, [1]),
        lambda: other.move(0, 0, -1),
        lambda: other.cut(0, 0, 0.5),
    ):
        with pytest.raises(StaleError):
            act()
    assert {path: path.read_bytes() for path in (run / "review").rglob("*.*")} == before
    assert (other.mask(0) == first).all()
    assert other.draw(0, 1, drawn_on(other, 0, 3), "brush").revision == 2


def test_the_runs_own_mask_is_accepted_and_another_is_corrected(session: Session) -> None:
    assert session.decide(0, 0, "accepted").now.state == "accepted"
    assert (session.source.review.mask("img_00") == own(session, 0)).all()
    session.draw(0, 1, drawn_on(session, 0), "brush")
    assert session.decide(0, 2, "accepted").now.state == "corrected"
    session.draw(0, 3, own(session, 0), "layer")
    assert session.decide(0, 4, "accepted").now.state == "accepted"


def test_a_rejected_image_keeps_its_mask_for_whoever_takes_that_back(session: Session) -> None:
    changed = drawn_on(session, 0)
    session.draw(0, 0, changed, "brush")
    assert session.decide(0, 1, "rejected").now.state == "rejected"
    assert session.source.review.mask("img_00") is None
    assert session.decide(0, 2, "unreviewed").now.state == "unreviewed"
    assert (session.mask(0) == changed).all()
    session.decide(0, 3, "rejected")
    assert session.draw(0, 4, changed, "brush").now.state == "corrected"


def test_held_out_images_have_the_masks_of_the_network(session: Session, run: Path) -> None:
    assert session.details(9)["layers"] == ["mask", "network"]
    assert session.details(9)["threshold"] is None
    assert session.decide(9, 0, "accepted").now.state == "accepted"
    (run / "predictions" / "val" / "img_10.png").unlink()
    again = opened(run)
    assert not again.mask(10).any()
    with pytest.raises(InputError, match="has no mask to accept"):
        again.decide(10, 0, "accepted")
    assert again.draw(10, 0, np.ones((64, 64), np.uint8), "brush").now.replaces == ""


def test_tags_are_kept_where_they_differ_from_the_dataset(session: Session) -> None:
    changed = session.tag(3, 0, [3, 1, 3])  # tagged cat and cow
    assert changed.now.tags == ("cat", "dog")
    assert changed.now.state == "unreviewed"
    details = session.details(3)
    assert (details["tags"], details["dataset_tags"]) == ([1, 3], [1, 2])
    assert session.tag(3, 1, [2, 1]).now.tags is None
    assert session.tag(3, 2, []).now.tags == ()
    for wrong in ([0], [4], [1, 255]):
        with pytest.raises(InputError, match="expected tags from 1 to 3"):
            session.tag(3, 3, wrong)


def test_a_mask_keeps_its_tags_and_tags_keep_the_mask(session: Session) -> None:
    changed = drawn_on(session, 0)
    session.tag(0, 0, [3])
    session.draw(0, 1, changed, "brush")
    now = session.tag(0, 2, [2, 3]).now
    assert (now.tags, now.state) == (("cow", "dog"), "corrected")
    assert (session.mask(0) == changed).all()


def test_an_older_mask_stays_marked_until_it_is_accepted(session: Session, run: Path) -> None:
    changed = drawn_on(session, 0)
    session.draw(0, 0, changed, "brush")
    record = (run / "masks" / "stage.json").read_text()
    now = session.source.own_digest(session.item(0))
    (run / "masks" / "stage.json").write_text(record.replace(now, session.source.own_digest(session.item(1))))
    shutil.copy(run / "masks" / "img_01.png", run / "masks" / "img_00.png")  # as if the run were made again
    again = opened(run)
    assert again.details(0)["older_maps"]
    assert (again.mask(0) == changed).all()
    again.draw(0, 1, drawn_on(again, 0, 3), "brush")
    again.tag(0, 2, [2])
    assert again.details(0)["older_maps"]
    again.decide(0, 3, "accepted")
    assert not again.details(0)["older_maps"]


def test_one_image_at_another_threshold(session: Session) -> None:
    assert session.cut(0, 0, THRESHOLD) is None  # it is the run's own
    journal = session.cut(0, 0, 0.6)
    assert journal is not None
    assert (journal.now.state, journal.now.threshold, journal.now.what) == ("unreviewed", 0.6, "threshold")
    assert (session.mask(0) == mask_at(session.source, session.item(0), 0.6)).all()
    assert session.details(0)["threshold"] == 0.6
    session.draw(0, 1, drawn_on(session, 0), "brush")
    assert session.details(0)["threshold"] == THRESHOLD  # what is drawn is at no threshold
    back = session.cut(0, 2, THRESHOLD)
    assert back is not None
    assert back.now.state == "corrected"
    assert (session.mask(0) == own(session, 0)).all()
    with pytest.raises(InputError, match="has no"):
        session.cut(9, 0, 0.5)


def test_a_class_at_another_threshold_changes_what_nobody_has_decided_about(session: Session) -> None:
    # Those of the cow: 1, 3, 4 and 7 of the training images.
    session.decide(1, 0, "accepted")
    session.draw(3, 0, drawn_on(session, 3), "brush")
    session.decide(3, 1, "unreviewed")  # drawn by hand all the same
    assert session.cut_all(2, 0.6) == (2, None)
    assert [session.gallery.journal(number).now.threshold for number in range(8)] == [
        *(None, None, None, None, 0.6, None, None, 0.6)
    ]
    assert session.cut_all(2, 0.6) == (0, None)
    assert session.cut_all(None, 0.6) == (3, None)  # 0, 2 and 6; 5 shows nothing
    assert (session.mask(1) == own(session, 1)).all()
    assert session.cut_all(None, THRESHOLD) == (5, None)
    assert (session.mask(4) == own(session, 4)).all()


def test_many_masks_are_cut_in_parts(session: Session) -> None:
    changed, start, parts = 0, 0, 0
    while start is not None:
        more, start = session.cut_all(None, 0.6, start, seconds=0)
        changed, parts = changed + more, parts + 1
    assert (changed, parts) == (7, 8)
    assert all(session.gallery.journal(number).now.threshold == 0.6 for number in (0, 1, 2, 3, 4, 6, 7))


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.zeros((64, 63), np.uint8), "expected a mask of 64 x 64 pixels, got 63 x 64"),
        (np.full((64, 64), 4, np.uint8), "expected mask values from 0 to 3, or 255, got 4"),
        (np.full((64, 64), 254, np.uint8), "got 254"),
    ],
)
def test_masks_that_do_not_fit_are_refused(session: Session, run: Path, mask: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        session.draw(0, 0, mask, "brush")
    assert not (run / "review" / "masks" / "img_00").exists()


def test_what_there_is_not_is_refused(session: Session) -> None:
    for number in (12, -1, 10**9):
        with pytest.raises(LookupError, match="no image"):
            session.details(number)
    with pytest.raises(InputError, match="expected accepted, rejected or unreviewed"):
        session.decide(0, 0, "corrected")


def test_a_damaged_mask_of_the_review_is_told_and_can_be_undone(session: Session, run: Path) -> None:
    session.draw(0, 0, drawn_on(session, 0), "brush")
    (path,) = (run / "review" / "masks" / "img_00").iterdir()
    path.write_bytes(b"no mask")
    with pytest.raises(InputError, match="damaged"):
        session.mask(0)
    session.move(0, 1, -1)
    assert (session.mask(0) == own(session, 0)).all()


@pytest.mark.parametrize("size", [(40, 30), (41, 29), (64, 7)])
def test_untouched_pixels_stay_when_a_mask_is_carried_over(size: tuple[int, int]) -> None:
    before = np.random.default_rng(0).integers(0, 4, size, dtype=np.uint8)
    rows, columns = (2 * np.arange(20) + 1) * size[0] // 40, (2 * np.arange(7) + 1) * size[1] // 14
    small = before[np.ix_(rows, columns)]
    assert (carried_over(small, before) == before).all()
    drawn = small.copy()
    drawn[4:9, 2:5] = 255
    after = carried_over(drawn, before)
    changed = np.argwhere(after != before)
    assert len(changed) > 0
    of_small = changed * (20, 7) // size
    assert of_small.min(axis=0).tolist() >= [3, 1]
    assert of_small.max(axis=0).tolist() <= [9, 5]
    assert (after[after != before] == 255).all()
    assert (after[np.ix_(rows, columns)] == drawn).all() or size[0] < 40


def test_a_mask_of_the_same_size_is_taken_as_it_is() -> None:
    before, drawn = np.zeros((3, 4), np.uint8), np.ones((3, 4), np.uint8)
    assert carried_over(drawn, before) is drawn
