"""What a round has taken over from a review."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deft.artifacts import write_json
from deft.artifacts.corrected import Corrected, read_corrected
from deft.contracts import InputError


def full(run: Path) -> Corrected:
    return Corrected(run, {"a": "1", "b": "2"}, {"c": "3"}, {"v": "4"}, ("r",), {"a": ("cat", "dog")})


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_corrected(tmp_path) == Corrected(tmp_path)
    write_json(tmp_path / "corrected" / "corrections.json", full(tmp_path).to_json())
    assert read_corrected(tmp_path) == full(tmp_path)
    assert read_corrected(tmp_path).stage.key == full(tmp_path).stage.key


def test_the_key_of_masks_knows_what_teaches_and_who_is_held_out_and_nothing_else(tmp_path: Path) -> None:
    given = full(tmp_path)
    assert Corrected(tmp_path, {}, {}, {"v": "4"}, ("r",), {"r": ()}).masks_key == ""
    same = Corrected(tmp_path, {"b": "2", "a": "1"}, {"c": "another mask"}, {}, (), {})
    assert same.masks_key == given.masks_key != ""
    assert Corrected(tmp_path, {"a": "1", "b": "9"}, {"c": "3"}).masks_key != given.masks_key
    assert Corrected(tmp_path, {"a": "1", "b": "2"}, {"d": "3"}).masks_key != given.masks_key
    assert Corrected(tmp_path, {}, {"c": "3"}).masks_key != ""


def test_scores_depend_on_all_of_it(tmp_path: Path) -> None:
    assert Corrected(tmp_path).scores_key == []
    keys = [full(tmp_path).scores_key, Corrected(tmp_path, val={"v": "4"}).scores_key]
    keys += [Corrected(tmp_path, val={"v": "5"}).scores_key, Corrected(tmp_path, rejected=("r",)).scores_key]
    assert len({tuple(key) for key in keys}) == 4 and all(keys)


@pytest.mark.parametrize("content", [[], {}, {"taught": {"a": 1}}, {"taught": {}, "held out": {}, "val": []}])
def test_other_json_is_one_message(tmp_path: Path, content: Any) -> None:
    write_json(tmp_path / "corrected" / "corrections.json", content)
    with pytest.raises(InputError, match=r"corrections\.json: expected .*remove the folder"):
        read_corrected(tmp_path)
