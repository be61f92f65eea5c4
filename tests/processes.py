"""Starting several processes of one test file that speak to each other."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

PATIENCE = 900.0
"""Seconds; a busy machine takes minutes to import torch."""
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"}
"""Processes speak over the loopback interface, whatever the machine's own name leads to."""
STARTERS = ("SLURM_", "TORCHELASTIC_", "MASTER_")
"""What variables begin with by which a job would tell these processes that they belong to it."""


def free_port() -> int:
    """A port that nobody listens at, and that the system does not give to whoever connects to another one meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("localhost", port))
            except OSError:
                continue
        return port


def run_together(
    program: Path,
    *words: object,
    processes: int = 2,
    patience: float = PATIENCE,
    environment: Callable[[int], Mapping[str, str]] = lambda rank: {},
) -> list[tuple[int, str]]:
    """Run a Python file as several processes and wait for all; where one fails the others are ended soon after.

    Args:
        program: the file.
        words: its arguments; the last one is the rank.
        processes: how many.
        patience: seconds.
        environment: variables of the process of a rank, beside this process's own.

    Returns:
        Of each process its exit code and what it said.
    """
    path = os.pathsep.join(filter(None, sys.path))  # the same packages as here, and this module
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(STARTERS)}
    inherited |= {**LOOPBACK, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, str(program), *map(str, words)]
    with ExitStack() as files:
        said = [files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(processes)]
        running = [
            subprocess.Popen([*command, str(rank)], stdout=told, stderr=told, env={**inherited, **environment(rank)})
            for rank, told in enumerate(said)
        ]
        _wait(running, patience)
        for told in said:
            told.seek(0)
        return [(one.returncode, told.read()) for one, told in zip(running, said, strict=True)]


def together(program: Path, *words: object, processes: int = 2, patience: float = PATIENCE) -> None:
    """As :func:`run_together`, of processes that all have to succeed; the error shows what each of them said."""
    ended = run_together(program, *words, processes=processes, patience=patience)
    codes = [code for code, _ in ended]
    if any(codes):
        texts = "\n".join(f"process {rank} ended with {code}:\n{said}" for rank, (code, said) in enumerate(ended))
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
