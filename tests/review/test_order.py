"""The order of the page is that of ``deft suggest``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deft.contracts import InputError
from deft.export.source import Source
from deft.review.order import suggested
from deft.suggest.suggested import suggested as ranked


def test_it_is_the_order_of_the_suggestions(run: Path) -> None:
    found = suggested(Source.of(run))
    assert [(each.name, each.score, each.reason) for each in found] == [
        (each.name, each.score, each.reason) for each in ranked(run)
    ]
    assert {each.name for each in found} == {f"img_{number:02d}" for number in range(8)}
    assert found[0].score == 1
    assert found[0].reason


def test_a_run_whose_settings_cannot_be_read_has_none(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"settings": {}}))
    with pytest.raises(InputError):
        suggested(Source.of(run))
