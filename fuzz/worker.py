"""One process that reads inputs of one reader, under limits; a process of ``fuzz/watch.py`` looks after it.

Input number n is drawn from random bytes that follow from the reader and n alone, so that the number is enough to
repeat it. A process that exceeds its time or its memory, or crashes, ends; the number of its input is then in its
state file.
"""

from __future__ import annotations

import faulthandler
import hashlib
import inspect
import json
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from fuzz.reader import Files, Place, Reader, attempt

SECONDS = 2.0
"""Most processor time for one input."""
MEMORY = 1024**3
"""Most memory for one input, in bytes, above what the process has when it begins."""
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where the files of inputs are written: in memory on Linux, so that no disk is waited for."""
_BYTES = 4096
"""Random bytes that an input is drawn from."""
_WARMING = 20
"""Most inputs that are read before the first one that counts."""
_STATE = struct.Struct("<QQdQ")


def entry(reader: Reader, handle: Callable[[Files], None]) -> Callable[[bytes], object]:
    """A function that draws an input from bytes, and hands it over; bytes that are too few are no input."""

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(reader.inputs)
    def one(files: Files) -> None:
        handle(files)

    found: Callable[[bytes], object] = one.hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    return found


def random_bytes(name: str, number: int) -> bytes:
    """The bytes that input ``number`` of a reader is drawn from."""
    return random.Random(f"{name}:{number}").randbytes(_BYTES)


def drawn(reader: Reader, number: int) -> Files:
    """The files of an input, which is not read; empty if its bytes are no input."""
    found: list[Files] = []
    entry(reader, found.append)(random_bytes(reader.name, number))
    return found[0] if found else {}


def read_state(path: Path) -> tuple[int, int, float, int]:
    """Number of the input at work, inputs read, their seconds of processor time, and inputs that were accepted."""
    content = path.read_bytes()
    return _STATE.unpack(content) if len(content) == _STATE.size else (0, 0, 0.0, 0)


class Work:
    """Reads inputs one after another; failures are printed, one line of JSON each."""

    def __init__(self, reader: Reader, state: Path, folder: Path) -> None:
        """Prepare the folder, the limits and the state file."""
        self._reader = reader
        self._place = Place(folder, reader.beside())
        self._state = open(state, "wb", buffering=0)  # noqa: SIM115 (open as long as the process)
        self.number = self.read = self.accepted = 0
        self.seconds = 0.0
        warnings.simplefilter("ignore")
        self._most: int | None = None

    def warm(self, one: Callable[[bytes], object]) -> None:
        """Read inputs without a number until one is accepted: whatever is imported or made once is there then."""
        for number in range(_WARMING):
            one(random_bytes(self._reader.name, -number))
            if self.accepted:
                return

    def begin(self) -> None:
        """Set the limits, after everything is imported."""
        faulthandler.enable()
        faulthandler.register(signal.SIGPROF, chain=True)  # what was going on when the time was over
        if sys.platform == "linux":
            pages = int(Path("/proc/self/statm").read_text().split()[5])
            resource.setrlimit(resource.RLIMIT_DATA, (pages * resource.getpagesize() + MEMORY,) * 2)
        self._most = _resident() + MEMORY

    def one(self, files: Files) -> None:
        """Read an input."""
        self._note()
        begin = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS if self._most is not None else 0)
        try:
            self.accepted += attempt(self._reader, self._place, files)
        except MemoryError as error:
            self._tell("memory", error)
        except Exception as error:
            self._tell("traceback", error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if self._most is not None and _resident() > self._most:
            self._tell("memory", MemoryError(f"{_resident():,} bytes"))
            self._most = _resident() + MEMORY
        self.read += 1
        self.seconds += time.process_time() - begin
        self._note()

    def _note(self) -> None:
        self._state.seek(0)
        self._state.write(_STATE.pack(self.number, self.read, self.seconds, self.accepted))

    def _tell(self, kind: str, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/deft/" in frame.filename] or list(frames)
        at = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
        said = f"{type(error).__name__}: {str(error)[:200]}"
        print(json.dumps({"number": self.number, "kind": kind, "at": at, "said": said}), flush=True)


def _resident() -> int:
    """Largest memory of the process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def work(reader: Reader, state: Path, first: int, count: int, seconds: float) -> None:
    """Read the inputs ``first``, ``first + 1``, ... until there are ``count`` or the time is over."""
    with tempfile.TemporaryDirectory(prefix="deft-fuzz-", dir=IN_MEMORY) as folder:
        at_work = Work(reader, state, Path(folder))
        one = entry(reader, at_work.one)
        at_work.warm(one)
        at_work.read = at_work.accepted = 0
        at_work.seconds = 0.0
        at_work.begin()
        end = time.monotonic() + seconds
        for number in range(first, first + count):
            at_work.number = number
            one(random_bytes(reader.name, number))
            if time.monotonic() > end:
                return


def guide(reader: Reader, state: Path, corpus: Path, count: int, seconds: float) -> None:
    """Read inputs that Atheris makes from those that reached new code; failing ones are kept in the corpus's folder."""
    import atheris

    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="deft-fuzz-", dir=IN_MEMORY) as folder:
        at_work = Work(reader, state, Path(folder))
        one = entry(reader, at_work.one)
        at_work.warm(one)
        for module in [module for name, module in sys.modules.items() if name.startswith("deft.")]:
            for function in [each for each in vars(module).values() if inspect.isfunction(each)]:
                if function.__module__ == module.__name__:
                    atheris.instrument_func(function)
        at_work.read = at_work.accepted = 0
        at_work.begin()

        def from_bytes(data: bytes) -> None:
            at_work.number = int.from_bytes(hashlib.sha256(data).digest()[:6], "big")
            one(data)

        options = [f"-runs={count}", f"-max_total_time={int(seconds)}", f"-max_len={_BYTES}", "-verbosity=0"]
        atheris.Setup([sys.argv[0], *options, "-rss_limit_mb=0", str(corpus)], from_bytes)
        atheris.Fuzz()
