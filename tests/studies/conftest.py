"""A study runner that makes no runs: it plans the rows of a study and composes hand-made scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deft.studies import STUDIES
from deft.studies.outcome import Outcome
from deft.studies.rows import Finding, Row
from deft.studies.runner import StudyRunner

Planned = tuple[dict[str, Row], Outcome]


@dataclass(frozen=True)
class PlanningRunner(StudyRunner):
    """Keeps the rows that a study would make, and takes the scores of seeds 0, 1, ... from ``scores``."""

    scores: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)

    def survey(
        self,
        rows: Sequence[Row],
        work: Callable[[Row, int], None],
        compose: Callable[[list[Finding]], Outcome],
        record: str = "study.json",
    ) -> Outcome:
        self.rows.update({row.name: row for row in rows})
        return compose(
            [Finding(row, seed, value) for row in rows for seed, value in enumerate(self.scores.get(row.name, [None]))]
        )


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Planned]:
    """``plan(study, *systems, data="demo:", scores={})``: the rows a study would make, and what it makes of scores."""

    def planned(study: str, *systems: str, data: str = "demo:", scores: Mapping[str, Sequence[Any]] = {}) -> Planned:
        runner = PlanningRunner(data, tmp_path / "out", systems=systems, scores=scores)
        outcome = STUDIES[study](runner)
        assert not runner.out.exists()
        return runner.rows, outcome

    return planned
