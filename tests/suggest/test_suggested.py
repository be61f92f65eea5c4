"""``deft suggest``: images to correct next."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft.artifacts import load_mask
from deft.artifacts.review import Review, Reviewed
from deft.cli.main import main
from deft.contracts import InputError
from deft.suggest import suggested
from deft.suggest.measured import Measured
from deft.suggest.suggested import ranked

CLASSES = ("cat", "cow", "dog")


def measurements(wrong: np.ndarray, **others: Any) -> Measured:
    count = len(wrong)
    given = {
        "area": np.full(wrong.shape, 0.3, np.float32),
        "seen": np.zeros(wrong.shape, np.float32),
        "disagree": np.zeros(count, np.float32),
        "close": np.zeros(count, np.float32),
        "typical": np.ones(count, np.float32),
    }
    return Measured(wrong=wrong.astype(np.float32), network=True, **(given | others))


class Tags:
    """A dataset of tags alone."""

    contexts, context_labels = (), None

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels
        self.classes = tuple(f"class {k}" for k in range(labels.shape[1]))
        self.names = tuple(f"img_{index:05d}" for index in range(len(labels)))

    def __len__(self) -> int:
        return len(self.labels)


def test_twenty_suggestions_are_not_of_one_class() -> None:
    rng = np.random.default_rng(0)
    labels = np.eye(6, dtype=np.bool_)[np.r_[np.zeros(150, int), rng.integers(1, 6, 50)]]
    wrong = np.concatenate([np.zeros((200, 1)), labels * rng.uniform(0.05, 0.1, (200, 1))], axis=1)
    wrong[:150] *= 2
    data: Any = Tags(labels)
    area = np.concatenate([np.full((200, 1), 0.7), 0.3 * labels], axis=1)
    found = ranked(data, measurements(wrong, area=area), {}, {}, 20)
    shown = {int(np.flatnonzero(labels[data.names.index(each.name)])[0]) for each in found}
    assert len(found) == 20 and shown == set(range(6))
    assert found[0].score == 1 and all(one.score >= two.score for one, two in pairwise(found))


def test_reviewed_images_are_left_out_and_their_classes_are_covered() -> None:
    labels = np.eye(2, dtype=np.bool_)[[0, 0, 0, 1, 1]]
    wrong = np.concatenate([np.zeros((5, 1)), labels * np.array([[0.2], [0.19], [0.18], [0.15], [0.14]])], axis=1)
    data: Any = Tags(labels)
    given = measurements(wrong)
    assert [each.name for each in ranked(data, given, {}, {}, 1)] == ["img_00000"]
    reviewed = {"img_00000": Reviewed("corrected", "hash"), "img_00001": Reviewed("accepted", "hash")}
    found = ranked(data, given, reviewed, {})
    assert sorted(each.name for each in found) == ["img_00002", "img_00003", "img_00004"]
    assert found[0].name == "img_00003" and found[0].reason == "rare class: class 1"
    rejected = {"img_00000": Reviewed("rejected")}
    assert ranked(data, given, rejected, {})[0].name == "img_00001"  # nothing was learned from it


def test_a_hopeless_image_comes_after_a_typical_one_with_the_same_doubt() -> None:
    labels = np.ones((12, 1), dtype=np.bool_)
    wrong = np.full((12, 2), 0.1)
    typical = np.linspace(0.05, 0.95, 12, dtype=np.float32)
    found = ranked(Tags(labels), measurements(wrong, typical=typical), {}, {})  # type: ignore[arg-type]
    assert [each.name for each in found[:2]] == ["img_00011", "img_00010"] and found[-1].name == "img_00000"
    assert found[0].parts["typical"] == 0.95


def test_a_doubtful_tag_and_an_untagged_class_are_told() -> None:
    labels = np.zeros((12, 2), dtype=np.bool_)
    labels[:, 0] = True
    seen = np.zeros((12, 3), np.float32)
    seen[3, 2], seen[4, 1] = 0.2, 0.9
    doubtful = {"img_00007": ("class 1", False)}
    found = ranked(Tags(labels), measurements(np.full((12, 3), 0.1), seen=seen), {}, doubtful)  # type: ignore[arg-type]
    said = {each.name: each.reason for each in found}
    assert found[0].name == "img_00007" and said["img_00007"] == "the tag class 1 may be missing"
    assert said["img_00003"] == "the network sees class 1 on 20 %, which is no tag"
    assert "network" not in said["img_00004"]  # it is tagged


def test_ten_thousand_images_are_ranked_in_seconds() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random((10_000, 20)) < 0.1
    wrong = rng.random((10_000, 21)) * np.c_[np.ones(10_000), labels] * 0.2
    found = ranked(Tags(labels), measurements(wrong), {}, {}, 100)  # type: ignore[arg-type]
    assert len({each.name for each in found}) == 100


def test_the_list_of_a_run_names_its_training_images_once(run: Path) -> None:
    found = suggested(run)
    assert sorted(each.name for each in found) == [f"img_{index:02d}" for index in range(8)]
    assert all(each.reason and 0 <= each.score <= 1 for each in found)
    assert all(0 <= value <= 1 for each in found for value in each.parts.values())
    assert suggested(run, 3) == found[:3]


def test_what_was_reviewed_is_not_suggested_again(run: Path) -> None:
    first = suggested(run, 2)
    review = Review(run, CLASSES)
    review.write(first[0].name, load_mask(run / "masks" / f"{first[0].name}.png"), "corrected")
    review.write(first[1].name, None, "rejected")
    assert not {each.name for each in first} & {each.name for each in suggested(run)}
    for each in suggested(run):
        review.write(each.name, None, "rejected")
    assert suggested(run) == []


def test_the_command_prints_a_table_or_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suggest", str(run), "-n", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = suggested(run, 2)
    for rank, each in enumerate(found, 1):
        assert lines[rank - 1].split()[:3] == [str(rank), each.name, f"{each.score:.2f}"]
        assert lines[rank - 1].endswith(each.reason)
    assert lines[2] == "to photograph: dog: 2 training images; photograph more"
    assert main(["suggest", str(run), "-n", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in told["images"]] == [each.name for each in found]
    assert told["images"][0]["parts"] == dict(found[0].parts)
    assert told["photograph"] == [line.removeprefix("to photograph: ") for line in lines[2:]]


@pytest.mark.parametrize("number", ["0", "-3"])
def test_a_number_that_is_none_is_one_message(number: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suggest", str(run), "-n", number]) == 2
    assert capsys.readouterr().err == f"deft: expected a number of suggestions of at least 1, got {number}\n"


def test_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a run folder"):
        suggested(tmp_path)
