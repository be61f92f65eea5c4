"""A finished run to choose images of, and copies of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import deft
from deft.recipes import cam
from short import tiny


@pytest.fixture(scope="session")
def with_network(voc_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with a segmentation network; read only."""
    out = tmp_path_factory.mktemp("suggest") / "run"
    deft.run(tiny(cam(), "precision=32-true", steps=4), f"voc:{voc_data}", out, name="cam")
    return out


@pytest.fixture
def run(with_network: Path, tmp_path: Path) -> Path:
    """A copy to write a review into."""
    return Path(shutil.copytree(with_network, tmp_path / "run"))
