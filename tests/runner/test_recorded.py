"""What is opened again is what was recorded, and a record that cannot be trusted is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deft.artifacts import write_json
from deft.contracts import InputError
from deft.data import open_data
from deft.recipes import cam
from deft.runner.recorded import (
    data_of,
    open_data_of,
    read_record,
    recorded_pipeline,
    reopen,
    with_given_weights,
)
from deft.runner.run import description
from deft.settings import plain
from short import tiny

PIPELINE = tiny(cam(), "max_side=64", "weights=none")


@pytest.fixture
def record(folder_data: Path) -> dict[str, Any]:
    given = f"folder:{folder_data}"
    return description(PIPELINE, given, open_data(given), "cam", weights="0123")


def test_pipeline_and_data_are_those_of_the_record(record: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", record)
    pipeline, splits, read = read_record(tmp_path)
    assert read == record
    assert pipeline.weights == "0123"  # a digest: the file may have another place now
    assert with_given_weights(pipeline, record) == PIPELINE
    assert with_given_weights(pipeline, {}) == pipeline
    assert len(splits.train) == 8 and splits.train.fingerprint() == record["data"]["fingerprint"]


def test_a_record_without_a_side_reads_photographs_as_they_are(record: dict[str, Any], tmp_path: Path) -> None:
    assert recorded_pipeline(tmp_path, record).max_side == 64
    del record["settings"]["max_side"]
    assert recorded_pipeline(tmp_path, record).max_side is None


def test_other_data_than_the_runs_is_refused(record: dict[str, Any], tmp_path: Path) -> None:
    assert len(open_data_of(tmp_path, record).train) == 8
    with pytest.raises(InputError, match=r"demo:train=3.*: expected the data of the run, with images 8, got 3"):
        open_data_of(tmp_path, record, "demo:train=3,val=4,size=32")


def test_a_python_file_is_run_only_if_it_is_named_and_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("raise SystemExit('run')\n")
    given = f"{file}:Birds"
    record = {"data": {"given": given, "code": "another"}}
    with pytest.raises(InputError, match="its data is made by a Python file, which would be run"):
        data_of(tmp_path, record)
    with pytest.raises(InputError, match="expected the Python file that the run was made with, got a changed one"):
        data_of(tmp_path, record, given)


def test_what_is_no_run_cannot_be_opened_again(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a run folder, found no run\.json"):
        reopen(tmp_path)
    write_json(tmp_path / "run.json", {"data": {"given": "demo:"}, "settings": {}})
    with pytest.raises(InputError, match="found no entry 'recipe' in it; restore the file"):
        reopen(tmp_path)
    data = {"given": "", "images": 1, "held out": 0, "classes": ["cow"]}
    write_json(tmp_path / "run.json", {"recipe": "cam", "data": data, "settings": plain(cam())})
    with pytest.raises(InputError, match="its data was given in Python and has no name"):
        reopen(tmp_path)
    write_json(
        tmp_path / "run.json", {"recipe": "cam", "data": data | {"given": "demo:"}, "settings": plain(cam().seeds)}
    )
    with pytest.raises(InputError, match=r"expected a pipeline in its run\.json"):
        reopen(tmp_path)
