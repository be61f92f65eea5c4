"""The list of images: orders, filters, numbers, and what other processes have written meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from deft.artifacts.review import UNREVIEWED, Decision, Review
from deft.contracts import InputError
from deft.export.source import Source
from deft.review.gallery import Gallery, Query
from deft.review.order import Suggested

MASK = np.ones((64, 64), np.uint8)


@pytest.fixture
def gallery(run: Path) -> Gallery:
    return Gallery(Source.of(run))


def names(gallery: Gallery, **query: str) -> list[str]:
    return [gallery.items[number].name.removeprefix("img_") for number in gallery.chosen(Query(**query))]


def later(gallery: Gallery) -> Gallery:
    """The gallery as if its second were over."""
    gallery._seen -= 2
    return gallery


def test_without_suggestions_images_stand_in_the_order_of_the_run(gallery: Gallery) -> None:
    everything = [f"{number:02d}" for number in range(12)]
    assert names(gallery) == everything
    assert not gallery.overview()["ranked"]
    assert names(gallery, order="name") == everything
    assert names(gallery, order="score") == everything


def test_suggestions_come_first_in_their_order(gallery: Gallery) -> None:
    gallery.suggest([Suggested("img_05", 0.2, "five"), Suggested("img_02", 0.9, "two"), Suggested("gone", 1, "")])
    assert names(gallery)[:4] == ["05", "02", "00", "01"]
    assert names(gallery, order="score")[:4] == ["02", "05", "00", "01"]
    assert names(gallery, order="name")[:2] == ["00", "01"]
    assert gallery.overview()["ranked"]
    first, other = gallery.entry(5), gallery.entry(0)
    assert (first["score"], first["reason"]) == (0.2, "five")
    assert (other["score"], other["reason"]) == (None, "")


def test_by_class_images_stand_by_their_first_tag_and_those_without_come_last(gallery: Gallery) -> None:
    # Tags by turns: cat, cow, dog, cat and cow, cow and dog, none.
    gallery.suggest([Suggested("img_09", 1, "")])
    expected = ["09", "00", "03", "06", "01", "04", "07", "10", "02", "08", "05", "11"]
    assert names(gallery, order="class") == expected


def test_filters_narrow_the_list(gallery: Gallery) -> None:
    assert names(gallery, class_name="dog") == ["02", "04", "08", "10"]
    assert names(gallery, context="road") == ["01", "03", "05", "07", "09", "11"]
    assert names(gallery, class_name="dog", context="grass") == ["02", "04", "08", "10"]
    assert names(gallery, text="G_1") == ["10", "11"]
    assert names(gallery, text="nothing") == []


def test_states_and_changed_tags_count(gallery: Gallery, run: Path) -> None:
    review = Review(run, gallery.source.classes)
    review.write("img_00", MASK, "corrected", tags=["dog"])
    review.write("img_01", MASK, "accepted")
    review.write("img_02", None, "rejected")
    review.step(Decision("img_03", UNREVIEWED, MASK, threshold=0.2), 0)
    later(gallery)
    for state, expected in (("corrected", ["00"]), ("accepted", ["01"]), ("rejected", ["02"])):
        assert names(gallery, state=state) == expected
    assert names(gallery, state="unreviewed") == [f"{number:02d}" for number in range(3, 12)]
    assert names(gallery, class_name="dog")[:2] == ["00", "02"]
    about = gallery.overview()
    assert about["counts"] == {"unreviewed": 9, "accepted": 1, "corrected": 1, "rejected": 1}
    assert [(each["name"], each["images"]) for each in about["classes"]] == [("cat", 3), ("cow", 6), ("dog", 5)]
    assert [each["color"] for each in about["classes"]] == ["#800000", "#008000", "#808000"]
    assert (about["total"], about["contexts"]) == (12, ["grass", "road"])
    assert gallery.entry(0)["tags"] == [3]
    assert gallery.dataset_tags(0) == [1]


@pytest.mark.parametrize(
    "query", [{"order": "random"}, {"class_name": "horse"}, {"state": "done"}, {"context": "sea"}, {"order": ""}]
)
def test_what_there_is_not_is_refused(gallery: Gallery, query: dict[str, str]) -> None:
    with pytest.raises(InputError, match="expected one of"):
        gallery.chosen(Query(**query))


def test_the_state_of_other_processes_is_seen_within_a_second(gallery: Gallery, run: Path) -> None:
    gallery.chosen(Query())
    Review(run, gallery.source.classes).write("img_04", MASK, "accepted")
    assert gallery.journal(4).revision == 1  # asked for by name it is read at once
    Review(run, gallery.source.classes).write("img_05", MASK, "accepted")
    until = time.monotonic() + 10
    while names(gallery, state="accepted") != ["04", "05"]:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_an_older_revision_does_not_replace_a_newer_one(gallery: Gallery, run: Path) -> None:
    old = gallery.journal(0)
    Review(run, gallery.source.classes).write("img_00", MASK, "accepted")
    assert gallery.journal(0).revision == 1
    gallery.put(0, old)
    assert gallery.known(0).revision == 1


def test_a_mask_of_older_maps_is_marked(gallery: Gallery, run: Path) -> None:
    review = Review(run, gallery.source.classes)
    review.write("img_00", MASK, "corrected", replaces="0" * 64)
    review.write("img_01", MASK, "corrected", replaces=gallery.source.own_digest(gallery.items[1]))
    review.write("img_02", MASK, "corrected")
    later(gallery).refresh()
    assert [gallery.entry(number)["older_maps"] for number in range(4)] == [True, False, False, False]


def test_a_photograph_that_cannot_be_read_is_told(own_voc: Path, tmp_path: Path) -> None:
    from review_runs import write_run

    source = Source.of(write_run(tmp_path / "run", f"voc:{own_voc}"))
    (own_voc / "JPEGImages" / "img_01.jpg").unlink()
    (own_voc / "JPEGImages" / "img_02.jpg").write_bytes(b"no picture")
    entries = Gallery(source).entries(range(4))
    assert [(each["width"], each["height"]) for each in entries] == [(16, 16), (0, 0), (0, 0), (16, 16)]
    assert ["fault" in each for each in entries] == [False, True, True, False]
    assert "img_01.jpg" in entries[1]["fault"]
