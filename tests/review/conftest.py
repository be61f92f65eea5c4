"""A run to review, made once and copied for each test that changes it, and a server of it for those that only read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deft.review.serve import opened
from deft.review.session import Session
from review_runs import Client, served, write_run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, voc_data: Path) -> Path:
    """A finished run with maps, on 8 training and 4 held-out images of 64 x 64 pixels; read only."""
    return write_run(tmp_path_factory.mktemp("review") / "run", f"voc:{voc_data}")


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def session(run: Path) -> Session:
    """An opened run, to be changed."""
    return opened(run)


@pytest.fixture(scope="module")
def client(made: Path) -> Iterator[Client]:
    """Asks a server of the run that is read only."""
    with served(made) as found:
        yield found
