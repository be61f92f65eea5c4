"""Which photograph each image of a run was, as far as its own bytes are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deft.artifacts import write_json
from deft.artifacts.photographs import digests, recorded
from deft.data import open_data
from deft.data.fingerprints import taught

ONE, TWO = "1" * 40, "2f" * 20


def test_digests_are_those_of_single_photographs() -> None:
    train = {"images": {"a": [ONE, [0]], "b": [f"{TWO} as stored", []], "row": [f"{ONE} 17", []], "all": ["", []]}}
    val = {"images": {"a": [TWO, []], "row": [TWO, []], "v": [TWO, []]}}
    found = digests({"train": train, "val": val})
    assert found == {"a": ONE, "b": f"{TWO} as stored", "v": TWO}  # of two with one name, the training image


@pytest.mark.parametrize(
    "content", [[], {}, {"train": 3}, {"train": {"images": []}}, {"train": {"images": {"a": [3]}}}]
)
def test_a_record_that_is_none_knows_nothing(content: Any, tmp_path: Path) -> None:
    assert recorded(tmp_path) == {}
    write_json(tmp_path / "images.json", content)
    assert recorded(tmp_path) == {}
    (tmp_path / "images.json").write_text("{")
    assert recorded(tmp_path) == {}


def test_photographs_in_files_are_known_and_drawn_ones_are_not(folder_data: Path) -> None:
    data = open_data(f"folder:{folder_data}").train
    assert digests({"train": taught(data).to_json()}).keys() == set(data.names)
    assert digests({"train": taught(open_data("demo:").train).to_json()}) == {}
