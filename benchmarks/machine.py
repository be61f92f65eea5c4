"""What a table of speed was measured on: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent / "speed"))

from measure import copy_bandwidth, matrix_rate

from deft.engine.cores import cores

PACKAGES = ("torch", "numpy", "timm", "lightning-fabric", "pydensecrf2")
FLAGS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")


def machine(device: torch.device) -> dict[str, str]:
    """Words for the processor, its memory and, where it is measured, the GPU with its measured rates."""
    described = processor()
    flags = [flag for flag in FLAGS if flag in described.get("flags", "").split()]
    found = {
        "processor": f"{described.get('model name', platform.processor() or platform.machine())}, {cores()} cores",
        "instructions": ", ".join(flags) or "none of " + ", ".join(FLAGS),
        "threads": str(torch.get_num_threads()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
    }
    if device.type == "cuda":
        found["GPU"] = torch.cuda.get_device_name(device)
        found["GPU, copies measured"] = f"{copy_bandwidth(device) / 1e9:,.0f} GB/s read and written"
        found["GPU, bf16 products measured"] = f"{matrix_rate(device) / 1e12:,.0f} TFLOP/s"
    return found


def versions() -> dict[str, str]:
    """Versions of Python and of what the times depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str:
    """The commit that is checked out, and whether files differ from it."""
    try:
        name = _git("rev-parse", "--short=12", "HEAD")
        return f"{name} with changes" if _git("status", "--porcelain", "--", "deft", "benchmarks/*.py") else name
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor() -> dict[str, str]:
    """What Linux tells of the first core; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (text.partition(":") for text in lines)}


def _git(*words: str) -> str:
    root = Path(__file__).parent.parent
    return subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, text=True).stdout.strip()
