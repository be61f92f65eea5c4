"""Every reader meets a fixed, small number of odd and damaged files; ``make fuzz`` goes on from there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from fuzz.reader import Files, Place, attempt
from fuzz.readers import READERS

INPUTS = 200
SECONDS = 2.0


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore")
def test_odd_and_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    place = Place(tmp_path, reader.beside())
    outcomes = []

    @settings(
        max_examples=INPUTS, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(reader.inputs)
    def one(files: Files) -> None:
        begin = time.process_time()
        outcomes.append(attempt(reader, place, files))
        assert time.process_time() - begin < SECONDS

    one()
    assert len(outcomes) >= INPUTS / 2
    assert False in outcomes, "no input was refused, so that they are hardly odd"
