"""Learning from a review while it goes on: the server's side of the process that makes rounds.

The process (:mod:`deft.review.learner`) begins with the first change of a session, because its imports take longer than
many a round. While it makes one, the page reads the run as it was (:mod:`deft.review.snapshot`). It reads new maps and
masks as soon as the network begins to learn from them, and all new files once the round is there. If there is none,
because of an error or because the process was ended, the page stays with what it has, unless the run is whole.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import Any

from deft.artifacts.record import run_record
from deft.contracts import InputError
from deft.export.source import Source
from deft.guards.words import printable
from deft.review.session import Session
from deft.review.snapshot import MAPS, STAGES, snapshot
from deft.runner.recorded import recorded_pipeline
from deft.runner.run import SCORES

SEGMENT = "segment"
"""The stage before which all masks are made."""
_PATIENCE = 2.0
"""Seconds in which the process ends by itself; a run that is killed can be resumed too."""
_GRACE = 2.0
"""Seconds for which the files of the round before are kept for requests that have begun to read them."""
_PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from deft.review.learner import main; main(sys.argv[1])"
"""The same modules as those of this process, whatever Python's own rules for its path would find."""


def learns(source: Source) -> bool:
    """Whether a run learns while somebody waits: its backbone is frozen, and it has a network.

    Not if its settings come from a file of the user, which nobody has named.
    """
    try:
        pipeline = recorded_pipeline(source.run, run_record(source.run))
    except InputError:
        return False
    return pipeline.frozen is not None and pipeline.segment is not None


class Learning:
    """What the page knows of rounds, and the process that makes them. Thread-safe."""

    def __init__(self, session: Session, made: Callable[[], None] = lambda: None) -> None:
        """Begin no process yet.

        Args:
            session: reads the new files after each round.
            made: called after each round.
        """
        self.session, self._made = session, made
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._asked: subprocess.Popen[str] | None = None
        """The process that was asked for a round last."""
        self._left: set[Path] = set()
        """Folders with files of a round before."""
        self._prepared = self._closed = False
        self._begun: float | None = None
        """When the round began that is being made."""
        self._stage = ""
        self._presses = 0
        self._result: dict[str, Any] = {}

    def state(self) -> dict[str, Any]:
        """What the page asks for again and again.

        Returns:
            ``learning``, whether a round is being made, with its ``stage`` and ``seconds``, or the ``result`` of the
            last one, which has ``learned`` or ``error``, and ``seconds``; ``presses``, how many there were; ``round``,
            that of the session.
        """
        with self._lock:
            begun = self._begun
            found = {"learning": begun is not None, "presses": self._presses, "round": self.session.round}
            if begun is None:
                return found | {"result": self._result}
            return found | {"stage": self._stage, "seconds": round(time.monotonic() - begun, 1)}

    def prepare(self) -> None:
        """Begin the process, which needs some seconds that nobody waits for; once, and without a word if it fails."""
        with self._lock:
            if not self._prepared:
                self._prepared = True
                with suppress(InputError, OSError):  # who asks for a round is told
                    self._ready()

    def begin(self) -> None:
        """Begin a round.

        Raises:
            InputError: one is being made, the review has ended, the files of the run cannot be kept, or no process can
                be started.
        """
        with self._lock:
            if self._closed:
                raise InputError("the review has ended")
            if self._begun is not None:
                raise InputError("it is learning already; what is reviewed meanwhile counts from the next time on")
            self._begun, self._stage = time.monotonic(), ""
            self._presses += 1
        source = self.session.source
        try:
            if source.kept is None:
                kept = snapshot(source.run)
                self._left.add(kept)
                self.session.turn(replace(source, kept=kept))
            else:
                with suppress(OSError):
                    os.utime(source.kept)  # commands remove what has been left for an hour
            self._ask({"run": os.fspath(source.run), "data": source.given})
        except (InputError, OSError) as error:
            told = str(error)
            if isinstance(error, OSError):  # one of many files has no number: another command is at work on them
                place = "" if error.filename is None else f" ({os.fsdecode(error.filename)})"
                told = f"{error.strerror or 'the files of the run change'}{place}"
            self._ended({"error": told})
            raise InputError(told) from None

    def close(self) -> None:
        """End the process, in the middle of a round too, and remove what was kept for it."""
        with self._lock:
            self._closed, process = True, self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for kept in list(self._left):
            shutil.rmtree(kept, ignore_errors=True)

    def _ready(self) -> subprocess.Popen[str]:
        """The process, begun if there is none; the lock is held."""
        if self._closed:
            raise InputError("the review has ended")
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, os.fspath(self.session.source.run), *sys.path],
                stdin=PIPE,
                stdout=PIPE,
                text=True,
                encoding="ascii",
                start_new_session=True,  # Ctrl-C is for the server, with which it ends
            )
            threading.Thread(target=self._follow, args=(self._process,), name="deft-learning", daemon=True).start()
        return self._process

    def _ask(self, wanted: dict[str, Any]) -> None:
        """Ask the process for a round; if it has ended since it was begun, another one."""
        with self._lock:
            for last in (False, True):
                self._asked = process = self._ready()
                assert process.stdin is not None
                try:
                    process.stdin.write(json.dumps(wanted) + "\n")
                    process.stdin.flush()
                    return
                except OSError:
                    self._process = None
                    if last:
                        raise

    def _follow(self, process: subprocess.Popen[str]) -> None:
        """Read what a process says, until it ends."""
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                said = json.loads(line)
                if "stage" in said:
                    self._stage = said["stage"]
                    if self._stage == SEGMENT:
                        self._turn_to_masks()
                    elif self._stage == SCORES:  # masks and network are there, which nobody has to wait for any longer
                        self._turn()
                elif "learned" in said or "error" in said:
                    self._ended(said)
        code = process.wait()
        with self._lock:
            if self._process is process:
                self._process = None
            left = self._begun is not None and self._asked is process and not self._closed
        if left:
            why = "perhaps for lack of memory" if code == -9 else f"with code {code}"
            self._ended({"error": f"the process that learns has ended, {why}; what it finished is kept: try again"})

    def _ended(self, result: dict[str, Any]) -> None:
        """A round is there, or there is none; the page is told after the session has turned to it."""
        turned = self._turn()
        with self._lock:
            seconds = time.monotonic() - (self._begun or time.monotonic())
            self._result = result | {"seconds": round(seconds, 1)}
            self._begun = None
        if "error" in result:
            print(f"deft: nothing was learned: {printable(result['error'])}", file=sys.stderr)
        if turned:
            args = (set(self._left), "learned" in result)
            threading.Thread(target=self._after, args=args, name="deft-learned", daemon=True).start()

    def _turn(self) -> bool:
        """Let the session read the files of now, if the run has all that the page has been reading; whether it has."""
        before = self.session.source
        source = replace(before, kept=None)
        with suppress(InputError, OSError):
            if all(source.stage(name) for name in STAGES if before.stage(name)):
                self.session.turn(source, True)
                return True
        return False

    def _turn_to_masks(self) -> None:
        """Let the session read masks of now, if they are others than before, beside the network of before."""
        before = self.session.source
        with suppress(InputError, OSError):
            known, found = _keys(before), _keys(replace(before, kept=None))
            if known != found and known.keys() <= found.keys():
                kept = snapshot(before.run, before.kept)
                self._left.add(kept)
                self.session.turn(replace(before, kept=kept), True)

    def _after(self, left: set[Path], made: bool) -> None:
        """What is to be done after a round, or after none."""
        if left:
            time.sleep(_GRACE)
        for kept in left:
            shutil.rmtree(kept, ignore_errors=True)
            self._left.discard(kept)
        if made:
            self._made()


def _keys(source: Source) -> dict[str, str]:
    """The key of each finished stage of maps and masks."""
    return {name: stage.key for name in MAPS if (stage := source.stage(name)) is not None}
