"""Starting several processes of one test file that speak to each other."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path


def together(program: Path, *words: object, processes: int = 2, patience: float = 900.0) -> None:
    """Run a Python file as several processes, each with its rank as the last word, and wait for all.

    They speak over the loopback interface, whatever the machine's own name leads to. Where one fails the others are
    ended, for they would wait for it, and the error shows how each of them ended and what it said.

    Args:
        program: the file.
        words: before the rank.
        processes: how many.
        patience: seconds; a busy machine takes minutes to import torch.
    """
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    path = os.pathsep.join([*filter(None, sys.path)])  # the same packages as here, and this module
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": loopback, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, str(program), *map(str, words)]
    with ExitStack() as files:
        said = [files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(processes)]
        running = [
            subprocess.Popen([*command, str(rank)], stdout=told, stderr=told, env=environment)
            for rank, told in enumerate(said)
        ]
        _wait(running, patience)
        codes = [one.returncode for one in running]
        if any(codes):
            for told in said:
                told.seek(0)
            texts = "\n".join(
                f"process {rank} ended with {codes[rank]}:\n{said[rank].read()}" for rank in range(processes)
            )
            raise AssertionError(f"expected {processes} processes to end with 0, got {codes}\n{texts}")


def _wait(running: list[subprocess.Popen[bytes]], patience: float) -> None:
    """Until all have ended, one of them badly, or patience is at its end; none runs on behind."""
    end = time.monotonic() + patience
    try:
        while any(one.poll() is None for one in running) and time.monotonic() < end:
            if any(one.poll() for one in running):
                end = min(end, time.monotonic() + 5)  # the others may still say what they saw of it
            time.sleep(0.05)
    finally:
        for one in running:
            if one.poll() is None:
                one.kill()
                one.wait()
