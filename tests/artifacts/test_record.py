from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deft.artifacts import write_json
from deft.artifacts.record import run_record, stage_key
from deft.contracts import InputError

RECORD = {
    "recipe": "cam",
    "settings": {"class": "deft.pipeline.Pipeline"},
    "data": {"given": "demo:", "images": 2, "held out": 0, "classes": ["cow"]},
}


def test_a_whole_record_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", RECORD)
    assert run_record(tmp_path) == RECORD


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("recipe", 3),
        ("settings", "cam"),
        ("settings", None),
        ("data", []),
        ("data.given", {"a": 1}),
        ("data.images", "two"),
        ("data.images", True),
        ("data.held out", 1.5),
        ("data.classes", "cow"),
        ("data.classes", [1]),
    ],
)
def test_an_entry_of_another_type_is_named(entry: str, value: Any, tmp_path: Path) -> None:
    record = json.loads(json.dumps(RECORD))
    outer, _, inner = entry.rpartition(".")
    (record[outer] if outer else record)[inner] = value
    write_json(tmp_path / "run.json", record)
    with pytest.raises(InputError, match=rf"run\.json: expected '{entry}' to be .*, got .*; restore the file"):
        run_record(tmp_path)


def test_only_entries_that_are_needed_have_to_be_there(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"data": {"given": "demo:"}})
    assert run_record(tmp_path, "data.given")["data"]["given"] == "demo:"
    for needed in ("settings", "data.classes"):
        with pytest.raises(InputError, match=f"found no entry '{needed}' in it"):
            run_record(tmp_path, needed)


@pytest.mark.parametrize(
    "text", ["[" * 100 + "]" * 100, "[" * 100_000, '{"a":' * 500 + "1" + "}" * 500, "3", "null", "{"]
)
def test_other_json_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run\.json: expected (the record of a run|JSON), got .*; "):
        run_record(tmp_path)


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no run\.json in it"):
        run_record(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", '"k"', '{"key": null}', '{"key": ["k"]}', '{"key": 7}', "{", "[" * 9000])
def test_the_key_of_a_stage_is_read_or_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "stage.json"
    path.write_text('{"key": "k", "state": "done"}')
    assert stage_key(path) == "k"
    path.write_text(text)
    with pytest.raises(InputError, match=r"stage\.json: expected"):
        stage_key(path)
