"""Provenance of results: commit, machine and package versions."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from deft import __version__

PACKAGES = ("torch", "timm", "lightning-fabric", "numpy")


def versions() -> str:
    """Versions of this project, of Python and of the packages that results depend on."""
    numbers = [f"{name} {version(name)}" for name in PACKAGES]
    return ", ".join([f"deft {__version__}", f"Python {platform.python_version()}", *numbers])


def commit() -> str:
    """Commit of the running code, and whether files differ from it; "not a checkout" outside of git."""
    place = Path(__file__).parents[1]

    def git(*words: str) -> str:
        try:
            found = subprocess.run(["git", "-C", str(place), *words], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return ""
        return found.stdout.strip()

    if not git("ls-files", "--error-unmatch", str(place / "__init__.py")):
        return "not a checkout"
    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no", "--", str(place)) else ""
    return f"`{git('rev-parse', '--short', 'HEAD')}`{changed}"


def machine() -> str:
    """Name of the GPU, if there is one, and of the processor."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.is_file() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    processor = f"{os.cpu_count()} cores of {names[0] if names else platform.processor() or platform.machine()}"
    if not torch.cuda.is_available():
        return processor
    return f"{torch.cuda.get_device_name()}, {processor}"
