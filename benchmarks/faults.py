"""Starts of a command that can be stopped at any moment, and what they leave: the tools of ``benchmarks/kills.py``.

A start is a fork of this process, which has imported everything already: that costs a hundredth of a second and not
the ten that a new Python spends on imports. It leads a process group of its own, so that the processes that read
images end with it. Nothing is computed with torch in this process: its threads do not survive a fork.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

CHECKPOINT_SECONDS = 0.3
"""Between two checkpoints of a training, so that tiny trainings have some."""
PATIENCE = 300.0
"""Seconds after which a start counts as hanging."""
FORK = multiprocessing.get_context("fork")
Words = tuple[str, ...]


def prepare() -> None:
    """Import what a run needs, before any fork; hide a GPU, which no fork could use."""
    os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    import lightning_fabric  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import segmentation_models_pytorch  # noqa: F401

    import deft.cli.main
    import deft.engine.plan
    import deft.evaluate.page

    deft.engine.plan.CHECKPOINT_SECONDS = CHECKPOINT_SECONDS


class Start:
    """One start of ``deft``, with its output at the end of a file."""

    def __init__(self, words: Words, log: Path, full_at: int = 0) -> None:
        """Begin.

        Args:
            words: the command line behind ``deft``.
            log: takes what the command prints.
            full_at: the number of the file, from 1, at which the disk is full; 0 for never.
        """
        self.begun = time.monotonic()
        self.process = FORK.Process(target=_command, args=(words, log, full_at))
        self.process.start()

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit code, negative for a signal's; None when it still runs after that time."""
        end = time.monotonic() + (float("inf") if seconds is None else seconds)
        # Not ``join``, which with a time limit waits for a pipe that the readers hold open too.
        while self.process.exitcode is None and time.monotonic() < end:
            time.sleep(0.002)
        return self.process.exitcode

    def end(self) -> int:
        """The exit code of a start that is let alone.

        Raises:
            TimeoutError: it hangs; it is killed then.
        """
        code = self.wait(PATIENCE)
        if code is None:
            self.send(signal.SIGKILL)
            raise TimeoutError(f"a start has not ended after {PATIENCE} seconds")
        return code

    def send(self, number: signal.Signals, everybody: bool = True) -> None:
        """Send a signal to the process and, if wished, to those that it started."""
        process = cast(int, self.process.pid)
        with suppress(ProcessLookupError):
            try:
                (os.killpg if everybody else os.kill)(process, number)
            except ProcessLookupError:  # the group is made by the child itself, in its first millisecond
                os.kill(process, number)

    def members(self) -> int:
        """Number of processes in its group that run."""
        count = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, _, group = path.read_text().rpartition(")")[2].split()[:3]
                count += int(group) == self.process.pid and state != "Z"
        return count

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.begun


def _command(words: Words, log: Path, full_at: int) -> None:
    import torch

    from deft.cli.main import main

    os.setsid()
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(handle, stream)
    torch.set_num_threads(1)
    if full_at:
        os.fsync = _full_disk(full_at)  # type: ignore[assignment]
    sys.exit(main(words))


def _full_disk(number: int) -> Callable[[int], None]:
    """``fsync`` of a disk that is full from the given file on."""
    count = 0

    def fsync(handle: int) -> None:
        nonlocal count
        count += 1
        if count >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return fsync


def call(work: Callable[[], None]) -> int:
    """The exit code of ``work`` in a fork."""
    process = FORK.Process(target=work)
    process.start()
    process.join()
    return cast(int, process.exitcode)


def released(folder: Path, seconds: float = 60.0) -> float:
    """Wait until nobody holds the run folder, and return how long that took: readers may outlive who started them.

    Raises:
        TimeoutError: it is held for longer than that.
    """
    from deft.artifacts import InUseError, claim

    begun = time.monotonic()
    path = folder / "lock"
    while path.exists():
        try:
            with claim(path):
                break
        except InUseError:
            if time.monotonic() - begun > seconds:
                raise TimeoutError(f"{folder} is held for over {seconds} seconds") from None
        time.sleep(0.002)
    return time.monotonic() - begun


def where(folder: Path, stages: tuple[str, ...]) -> str:
    """The stage that a stopped run was in.

    Args:
        folder: of the run.
        stages: names of all its stages, in order.

    Returns:
        The first that is not done, ``opening`` before the first began, ``scores`` or ``report`` behind the last.
    """
    from deft.artifacts import read_json

    if not (folder / stages[0] / "stage.json").exists():
        return "opening"
    for stage in stages:
        record = folder / stage / "stage.json"
        if not record.exists() or read_json(record)["state"] != "done":
            return stage
    return "report" if (folder / "scores.json").exists() else "scores"


def differences(whole: Path, stopped: Path) -> tuple[int, list[str]]:
    """Compare two run folders byte by byte: number of files compared, and what differs.

    ``lock`` names the process and leftovers of interrupted writes, ``.part-*``, name nothing: both are left out.
    """
    here, there = set(_products(whole)), set(_products(stopped))
    found = [f"{path} is missing" for path in sorted(here - there)] + [
        f"{path} is new" for path in sorted(there - here)
    ]
    both = sorted(here & there)
    found += [f"{path} differs" for path in both if (whole / path).read_bytes() != (stopped / path).read_bytes()]
    return len(both), found


def _products(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if path.is_file() and path.name != "lock" and not any(part.startswith(".part-") for part in inside.parts):
            yield str(inside)


def without_times(folder: Path) -> None:
    """Set the seconds of every stage to 0 and write the page again: wall time is the one thing that is never equal."""
    from deft.artifacts import read_json, write_json
    from deft.runner.rewrite import rewrite_report

    for path in sorted(folder.glob("*/stage.json")) + sorted(folder.glob("*/*/stage.json")):
        write_json(path, {**read_json(path), "seconds": 0.0})
    (folder / "report.html").unlink()
    rewrite_report(folder)


def broken_checkpoints(folder: Path) -> list[str]:
    """Checkpoints of a stopped run that cannot be read whole."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    broken = []
    for path in sorted(folder.rglob("checkpoint.safetensors")):
        try:
            load_file(path)
        except (SafetensorError, OSError) as error:
            broken.append(f"{path.parent.name}: {error}")
    return broken


def fresh(folder: Path) -> Path:
    """The folder's path, with nothing there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder
