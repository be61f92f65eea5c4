"""A run and its export as ONNX, which takes seconds and is made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from deft.deploy.folder import Exported, export_model
from trained_run import write_run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with both networks; read only."""
    return write_run(tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture(scope="session")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Exported]:
    """Its export as ONNX; read only."""
    out = tmp_path_factory.mktemp("exported") / "model"
    return out, export_model(trained, out)
