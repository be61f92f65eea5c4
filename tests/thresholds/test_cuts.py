from __future__ import annotations

import json
from pathlib import Path

import pytest

from deft.contracts import InputError
from deft.thresholds import AUTO, Choice, Cuts, Threshold, Tuned, read_tuned, write_tuned

CHOICE = Choice(threshold=0.31, low=0.28, high=0.35, images=40)


@pytest.mark.parametrize(
    ("setting", "choice", "tuned", "how", "used", "known"),
    [
        (0.15, CHOICE, None, "fixed", 0.15, {"fixed": 0.15, "auto": 0.31}),
        (0.0, None, None, "fixed", 0.0, {"fixed": 0.0}),
        (AUTO, CHOICE, None, "auto", 0.31, {"auto": 0.31}),
        (AUTO, CHOICE, 0.4, "tuned", 0.4, {"auto": 0.31, "tuned": 0.4}),
        (AUTO, None, 0.0, "tuned", 0.0, {"tuned": 0.0}),
        (0.15, CHOICE, 0.4, "tuned", 0.4, {"fixed": 0.15, "auto": 0.31, "tuned": 0.4}),
    ],
)
def test_tuned_thresholds_take_precedence_over_fixed_and_chosen_ones(
    setting: Threshold, choice: Choice | None, tuned: float | None, how: str, used: float, known: dict[str, float]
) -> None:
    cuts = Cuts("seed_threshold", setting, choice, tuned)
    assert (cuts.how, cuts.used, cuts.known) == (how, used, known)
    assert cuts.known[cuts.how] == cuts.used
    found = cuts.to_json()
    flat = {} if choice is None else {"from": 40, "equally good": [0.28, 0.35]}
    assert found == {"threshold": used, "chosen": how, **known, **flat}
    assert json.loads(json.dumps(found)) == found


def test_constant_maps_are_refused_with_the_name_of_the_setting() -> None:
    cuts = Cuts("refine.background", AUTO, None)
    assert (cuts.how, cuts.known) == ("auto", {})
    with pytest.raises(InputError, match=r"to choose refine\.background from, got maps that have one value everywhere"):
        _ = cuts.used
    none = Cuts("seed_threshold", AUTO, None, images=0, remedy="lower seeds.presence")
    with pytest.raises(
        InputError, match=r"choose seed_threshold from, got no image with a class; lower seeds\.presence$"
    ):
        _ = none.used


def test_tuned_thresholds_are_stored_in_the_run_folder(tmp_path: Path) -> None:
    assert read_tuned(tmp_path) is None
    tuned = Tuned({"seeds": 0.37, "refined": 0.5}, ("a", "folder/b", "猫"), {"seeds": 0.0123, "refined": 0.0})
    write_tuned(tmp_path, tuned)
    assert read_tuned(tmp_path) == tuned
    assert [path.name for path in tmp_path.iterdir()] == ["tuned.json"]
    other = Tuned({"seeds": 0.1}, (), {})
    write_tuned(tmp_path, other)
    assert read_tuned(tmp_path) == other


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        "{}",
        '{"thresholds": [0.3], "images": ["a"], "off": {}}',
        '{"thresholds": {"seeds": "0.3"}, "images": ["a"], "off": {}}',
        '{"thresholds": {"seeds": NaN}, "images": ["a"], "off": {}}',
        '{"thresholds": {"seeds": 0.3}, "images": "a", "off": {}}',
        '{"thresholds": {"seeds": 0.3}, "images": [1], "off": {}}',
        '{"thresholds": {"seeds": 0.3}, "images": ["a"], "off": {"seeds": null}}',
    ],
)
def test_edited_tuned_thresholds_are_one_message(text: str, tmp_path: Path) -> None:
    (tmp_path / "tuned.json").write_text(text)
    with pytest.raises(InputError, match=r"tuned\.json: expected .*; remove the file and repeat the deft tune command"):
        read_tuned(tmp_path)


def test_a_link_to_tuned_thresholds_that_are_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / "tuned.json").symlink_to("gone.json")
    with pytest.raises(InputError, match="a link to a file that is not there"):
        read_tuned(tmp_path)
