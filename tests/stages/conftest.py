"""Runs that are begun by hand, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from deft.artifacts import RunFolder
from deft.contracts import Splits
from deft.data import open_data
from deft.pipeline import Pipeline
from deft.stages.context import Run

Begin = Callable[..., Run]


@pytest.fixture
def splits(folder_data: Path) -> Splits:
    return open_data(f"folder:{folder_data}")


@pytest.fixture
def begin(splits: Splits, tmp_path: Path) -> Iterator[Begin]:
    """``begin(pipeline, name="run", reuse=(), data=splits)``: a run in its folder, let go of when it begins again."""
    held: dict[str, RunFolder] = {}

    def opened(pipeline: Pipeline, name: str = "run", reuse: Sequence[Path] = (), data: Splits = splits) -> Run:
        if name in held:
            held.pop(name).close()
        held[name] = RunFolder(tmp_path / name, {"recipe": "", "settings": {"name": name}})
        return Run(pipeline, data, held[name], reuse)

    yield opened
    for folder in held.values():
        folder.close()
