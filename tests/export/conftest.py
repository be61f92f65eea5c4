"""A run to export, made anew for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from export_runs import write_photographs, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a finished run; its photographs are in ``data`` beside it."""
    return write_run(tmp_path / "run", write_photographs(tmp_path / "data"))
