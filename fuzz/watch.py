"""Looks after the processes that read inputs: counts, starts again after a crash, and keeps what failed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fuzz.readers import READERS
from fuzz.worker import IN_MEMORY, drawn, read_state

WAITING = 120.0
"""Seconds after which an input that takes no processor time is one that waits for ever."""
SILENT = {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
"""Environment of the processes: memory is then what the input needs."""


@dataclass
class Outcome:
    """What some inputs of a reader led to."""

    inputs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    next: int = 1
    """Number of the first input that has not been read."""
    failures: tuple[dict[str, object], ...] = ()


def watched(name: str, first: int, count: int, seconds: float, guided: Path | None = None) -> Outcome:
    """Read inputs of a reader in a process of their own, and in another one after each that ends it.

    Args:
        name: of the reader.
        first: number of the first input.
        count: number of inputs.
        seconds: after which it ends.
        guided: folder of the corpus if Atheris makes the inputs.
    """
    total = Outcome(next=first)
    end, last = time.monotonic() + seconds, first + count
    while total.next < last and (left := end - time.monotonic()) > 0:
        found = _one_process(name, total.next, last - total.next, left, guided)
        total.inputs += found.inputs
        total.accepted += found.accepted
        total.seconds += found.seconds
        total.failures += found.failures
        total.next = found.next
        if guided is not None and not found.failures:
            break
    return total


def _one_process(name: str, first: int, count: int, seconds: float, guided: Path | None) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="deft-fuzz-", dir=IN_MEMORY) as folder:
        state, said, errors = (Path(folder) / part for part in ("state", "said", "errors"))
        given = ["--worker", str(state), "--first", str(first), "--inputs", str(count), "--seconds", str(seconds)]
        command = [sys.executable, "-m", "fuzz", name, *given, *(("--guided", str(guided)) if guided else ())]
        with open(said, "wb") as out, open(errors, "wb") as beside:
            process = subprocess.Popen(command, stdout=out, stderr=beside, env={**os.environ, **SILENT})
            waited = _wait(process, state)
        number, inputs, spent, accepted = read_state(state) if state.exists() else (first, 0, 0.0, 0)
        failures = [json.loads(line) for line in said.read_text().splitlines() if line.startswith("{")]
        found = Outcome(inputs, accepted, spent, number + 1, tuple(failures))
        code = process.returncode
        if number < first and code != 0 and guided is None:
            tail = errors.read_text(errors="replace").strip()
            raise RuntimeError(f"the process of {name} ended with code {code} before input {first}: {tail[-2000:]}")
        ended = code == 0 or (guided is not None and code > 0 and inputs > 0)
        if not ended:
            kind = "hang" if waited or code == -signal.SIGPROF else "crash"
            tail = errors.read_text(errors="replace").strip()
            if inputs == 0 and code > 0:
                raise RuntimeError(f"the process of {name} ended with code {code}: {tail[-2000:]}")
            failure = {"number": number, "kind": kind, "at": _place(tail), "said": f"exit code {code}"}
            found.failures += (failure,)
            found.inputs += 1
        return found


def _wait(process: subprocess.Popen[bytes], state: Path) -> bool:
    """Wait for the end of a process; whether it had to be ended because it waited for ever."""
    known, since = None, time.monotonic()
    while True:
        try:
            process.wait(1.0)
            return False
        except subprocess.TimeoutExpired:
            now = state.read_bytes() if state.exists() else b""
            if now != known:
                known, since = now, time.monotonic()
            elif time.monotonic() - since > WAITING:
                process.kill()
                process.wait()
                return True
        except BaseException:
            process.kill()
            raise


def _place(text: str) -> str:
    """The newest line of a stack in the package, from what faulthandler wrote."""
    lines = [line for line in text.splitlines() if line.lstrip().startswith("File ") and "/deft/" in line]
    return lines[0].strip().removeprefix("File ").replace('"', "") if lines else text[-120:]


def keep(name: str, failure: dict[str, object], folder: Path) -> Path:
    """Write the files of a failing input to a folder, with the command that repeats it."""
    number = int(str(failure["number"]))
    place = folder / name / str(number)
    for path, content in drawn(READERS[name], number).items():
        (place / "files" / path).parent.mkdir(parents=True, exist_ok=True)
        (place / "files" / path).write_bytes(content)
    place.mkdir(parents=True, exist_ok=True)
    text = f"{failure['kind']} at {failure['at']}: {failure['said']}\npython -m fuzz {name} --repeat {number}\n"
    (place / "repeat.txt").write_text(text, encoding="utf-8")
    return place
