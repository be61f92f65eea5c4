"""A run and its export as ONNX, which takes long and is made once for all processes of the tests."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from filelock import FileLock

from deft.artifacts import read_json, write_json
from deft.deploy.folder import Exported, export_model
from trained_run import write_run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with both networks; read only."""
    return write_run(tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture(scope="session")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> tuple[Path, Exported]:
    """Its export as ONNX; read only."""
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    out, record = shared / "exported", shared / "exported.json"
    with FileLock(shared / "exported.lock"):
        if not record.exists():
            write_json(record, asdict(export_model(trained, out)))
        done = read_json(record)
    return out, Exported(done["files"], tuple(done["remarks"]), done["address"])
