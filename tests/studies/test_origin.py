from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from deft import __version__
from deft.studies import origin


def test_versions_name_the_project_python_and_the_packages() -> None:
    found = dict(item.split(" ") for item in origin.versions().split(", "))
    assert list(found) == ["deft", "Python", "torch", "timm", "lightning-fabric", "numpy"]
    assert found["deft"] == __version__
    assert found["Python"] == platform.python_version()
    assert found["numpy"] == np.__version__


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_that_of_the_checkout_and_changes_are_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "deft"
    (package / "studies").mkdir(parents=True)
    (package / "__init__.py").write_text("a = 1\n")
    monkeypatch.setattr(origin, "__file__", str(package / "studies" / "origin.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert origin.commit() == "not a checkout"

    def git(*words: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "--quiet")
    assert origin.commit() == "not a checkout"  # the package is not in the repository
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    assert origin.commit() == f"`{git('rev-parse', '--short', 'HEAD')}`"
    (tmp_path / "notes.txt").write_text("not of the package")
    assert "with changes" not in origin.commit()
    (package / "__init__.py").write_text("a = 2\n")
    assert origin.commit() == f"`{git('rev-parse', '--short', 'HEAD')}` with changes"


def test_the_machine_is_named_by_its_processor_and_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    processor = origin.machine()
    assert re.fullmatch(rf"{os.cpu_count()} cores of .+", processor)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    assert origin.machine() == f"A GPU, {processor}"
