"""Every reader meets a fixed, small number of odd and damaged files; ``make fuzz`` goes on from there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fuzz.counts import Counts
from fuzz.reader import Files, Place, attempt
from fuzz.readers import READERS
from fuzz.watch import Outcome
from fuzz.worker import entry, random_bytes

INPUTS = 200
SECONDS = 2.0
FEWEST = 0.2
"""Share of inputs that has to be read: generators whose files are all refused reach only the first checks."""


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore")
def test_odd_and_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    place = Place(tmp_path, reader.beside())
    outcomes = []

    def one(files: Files) -> None:
        begin = time.process_time()
        outcomes.append(attempt(reader, place, files))
        assert time.process_time() - begin < SECONDS or not outcomes[1:]  # the first one imports what it needs

    read = entry(reader, one)
    inputs = max(20, round(INPUTS * reader.share))
    for number in range(1, inputs + 1):
        read(random_bytes(name, number))
    assert len(outcomes) >= inputs / 2
    assert False in outcomes, "no input was refused, so that they are hardly odd"
    assert sum(outcomes) >= FEWEST * len(outcomes), f"{sum(outcomes)} of {len(outcomes)} inputs were read"


def test_counts_go_on_where_they_ended_and_slow_readers_have_fewer_inputs(tmp_path: Path) -> None:
    table = tmp_path / "fuzz.json"
    shares = {"quick": 1.0, "slow": 0.1}
    for _ in range(44):
        counts = Counts(table, shares)  # as another start reads it
        name, first = counts.take(list(shares))
        counts.add(name, Outcome(inputs=5, accepted=2, seconds=0.1, next=first + 5))
    read = Counts(table, shares).readers
    assert {name: row["next"] for name, row in read.items()} == {"quick": 201, "slow": 21}
    assert {name: row["inputs"] for name, row in read.items()} == {"quick": 200, "slow": 20}
    assert Counts(table, shares).total == 220 and Counts(table, shares, afresh=True).total == 0
