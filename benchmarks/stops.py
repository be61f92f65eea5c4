"""Ways to stop a run, and whether it goes on: the rounds of ``benchmarks/kills.py``."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faults import Start, Words, broken_checkpoints, call, differences, fresh, released, where, without_times

DATA = "demo:train=32,val=8,size=64"
GRACE = 10.0
"""Seconds that SIGTERM leaves a run."""
SHORT = 0.3
"""Seconds of what is no stage: opening the data, scores, the page."""
SETTINGS = (
    *("backbone=test_resnet", "weights=none", "segment.channels=16"),
    *("classifier.plan.min_steps=50", "classifier.plan.epochs=2", "classifier.plan.batch=4"),
    *("classifier.head.swap_epoch=2", "classifier.head.deft.swap_epoch=2", "classifier.augment.share=(0.01, 1.0)"),
    *("seeds.plan.min_steps=30", "seeds.plan.epochs=1", "seeds.plan.batch=4", "seeds.iterations=2"),
    *("seeds.labels.fg=0.02", "seeds.labels.bg=0.01", "seeds.labels.crf.iterations=1"),
    *("refine.plan.min_steps=24", "refine.plan.epochs=1", "refine.plan.batch=2", "refine.train_radius=5"),
    *("refine.labels.fg=0.02", "refine.labels.bg=0.01", "refine.labels.crf.iterations=1"),
    *("segment.plan.min_steps=30", "segment.plan.epochs=1", "segment.plan.batch=4"),
)
"""Of every recipe those that it has."""


@dataclass(frozen=True)
class Unbroken:
    """The run that was not stopped, and the command that made it."""

    folder: Path
    words: Words
    """Behind ``deft``, all but the folder."""
    stages: tuple[str, ...]
    """Their names, in order."""
    seconds: float
    """Of the whole command."""
    lengths: dict[str, float]
    """Seconds of each stage."""

    @property
    def places(self) -> list[str]:
        """All that :func:`faults.where` may say, in order."""
        return ["opening", *self.stages, "scores", "report"]

    def command(self, folder: Path) -> Words:
        """The words that make the same run in a folder."""
        return (*self.words, "--out", str(folder))


@dataclass
class Tally:
    """What became of the stops of one kind."""

    stops: Counter[str] = field(default_factory=Counter)
    """By the stage they fell into."""
    kept: Counter[str] = field(default_factory=Counter)
    """Of these the ones that left a checkpoint to go on from."""
    runs: int = 0
    files: int = 0
    """Compared, over all runs."""
    readers: int = 0
    """Stops while reading processes were at work."""
    alone: int = 0
    """Of these the ones that did not tell the readers."""
    slowest: float = 0.0
    """Seconds from the signal to the end of the process, at most."""
    held: float = 0.0
    """Seconds that the folder was still held after that, at most."""
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Stop:
    """A start that was told to end, or has ended before."""

    start: Start
    seconds: float = 0.0
    """From the signal to the end."""
    readers: int = 0
    """Reading processes that were at work."""
    alone: bool = False
    """Whether the signal went to the process and not to its readers."""


@dataclass(frozen=True)
class Way:
    """One way to stop a run."""

    title: str
    code: int
    """How a stopped process ends."""
    stop: Callable[[Unbroken, Path, random.Random], Stop]
    """Begin the command in a folder and stop it."""
    says: str = ""
    """What it then prints."""


def make_unbroken(folder: Path, recipe: str, workers: int) -> Unbroken:
    """Make the run that is not stopped."""
    from deft.artifacts import read_json
    from deft.evaluate.page import MADE
    from deft.recipes import RECIPES
    from deft.settings import fields_of

    known = fields_of(RECIPES[recipe]())
    settings = [item for item in SETTINGS if item.partition("=")[0] in known]
    settings += [f"{name}={workers}" for name in known if name.endswith("plan.workers")]
    words = ("run", recipe, "--data", DATA, *(word for item in settings for word in ("--set", item)))
    start = Start((*words, "--out", str(fresh(folder))), folder.with_suffix(".log"))
    if start.end() != 0:
        raise SystemExit(f"the unbroken run failed:\n{tail(folder)}")
    seconds = start.seconds
    stages = tuple(name for name in MADE if (folder / name / "stage.json").exists())
    lengths = {stage: float(read_json(folder / stage / "stage.json")["seconds"]) for stage in stages}
    call(lambda: without_times(folder))
    print(f"unbroken, {workers} workers: {seconds:.1f} s", file=sys.stderr, flush=True)
    return Unbroken(folder, words, stages, seconds, lengths)


def stopped(unbroken: Unbroken, way: Way, wanted: int, chance: random.Random) -> Tally:
    """Runs that are stopped again and again until that many stops have been given; each is ended and compared."""
    tally = Tally()
    while tally.stops.total() < wanted and not tally.faults:
        folder = fresh(unbroken.folder.with_name("stopped"))
        folder.with_suffix(".log").unlink(missing_ok=True)
        code, moments = way.code, list[str]()
        while code == way.code and not tally.faults and tally.stops.total() < wanted:
            stop = way.stop(unbroken, folder, chance)
            code = stop.start.end()
            if code == way.code and way.says in tail(folder):
                stage = where(folder, unbroken.stages)
                moments.append(stage)
                tally.stops[stage] += 1
                tally.kept[stage] += (folder / stage / "checkpoint.safetensors").exists()
                tally.readers += stop.readers > 0
                tally.alone += stop.alone and stop.readers > 0
                tally.slowest = max(tally.slowest, stop.seconds)
                tally.held = max(tally.held, released(folder))
                tally.faults += [f"{way.title} in {stage}: {broken}" for broken in broken_checkpoints(folder)]
                if way.code != -signal.SIGKILL and stop.seconds > GRACE:
                    tally.faults.append(f"{way.title} in {stage}: {stop.seconds:.1f} s until the end")
                print(f"{way.title}: {tally.stops.total()} of {wanted}, in {stage}", file=sys.stderr, flush=True)
        if code == way.code:
            code = Start(unbroken.command(folder), folder.with_suffix(".log")).end()
        told = f"{way.title} in {', '.join(moments)}"
        _compare(unbroken, folder, code, told, tally)
    return tally


def _compare(unbroken: Unbroken, folder: Path, code: int, told: str, tally: Tally) -> None:
    """Note what differs between the unbroken run and one that was stopped."""
    if code != 0:
        tally.faults.append(f"{told}: ended with code {code}:\n{tail(folder)}")
        return
    call(lambda: without_times(folder))
    files, found = differences(unbroken.folder, folder)
    tally.runs += 1
    tally.files += files
    tally.faults += [f"{told}: {difference}" for difference in found]


def kill(unbroken: Unbroken, folder: Path, chance: random.Random) -> Stop:
    """Every other time at random somewhere in a stage that is drawn first, or short stages would never be met.

    A run that is past that stage is left to end. One of four kills leaves the readers to find out for themselves, as a
    system does that is short of memory.
    """
    alone, begun = chance.random() < 0.25, where(folder, unbroken.stages)
    start = Start(unbroken.command(folder), folder.with_suffix(".log"))
    if chance.random() < 0.5:
        return _end(start, chance.uniform(0, unbroken.seconds), signal.SIGKILL, alone)
    places = unbroken.places
    stage = chance.choice(places)
    if places.index(stage) < places.index(begun):
        return Stop(start)
    while start.wait(0.002) is None and places.index(where(folder, unbroken.stages)) < places.index(stage):
        pass
    return _end(start, chance.uniform(0, unbroken.lengths.get(stage, SHORT)), signal.SIGKILL, alone)


def terminate(unbroken: Unbroken, folder: Path, chance: random.Random) -> Stop:
    """To the process alone, as a shell does it, or to its readers too, as a scheduler does it."""
    start = Start(unbroken.command(folder), folder.with_suffix(".log"))
    delay = chance.uniform(0.2, unbroken.seconds)  # earlier the command may not have been asked to mind yet
    return _end(start, delay, signal.SIGTERM, alone=chance.random() < 0.5)


def _end(start: Start, delay: float, number: signal.Signals, alone: bool) -> Stop:
    """Send the signal after some seconds, unless the command has ended by then."""
    if start.wait(delay) is not None:
        return Stop(start)
    readers, begun = start.members() - 1, time.monotonic()
    start.send(number, everybody=not alone)
    start.end()
    return Stop(start, time.monotonic() - begun, readers, alone)


def fill(unbroken: Unbroken, folder: Path, chance: random.Random) -> Stop:
    """A disk that is full from one of the run's files on, drawn at random."""
    files = sum(1 for _ in unbroken.folder.rglob("*"))
    start = Start(unbroken.command(folder), folder.with_suffix(".log"), full_at=chance.randint(1, files))
    return Stop(start)


class At:
    """SIGKILL in the middle of the given stages, or folders of stages such as `refine/labels`, one after another."""

    def __init__(self, stages: Sequence[str]) -> None:
        self.stages = list(stages)

    def __call__(self, unbroken: Unbroken, folder: Path, chance: random.Random) -> Stop:
        """Wait for a checkpoint of the stage or, where nothing is trained, for half of its files."""
        if not self.stages:
            raise SystemExit(f"a run ended before it was in the stage it should be killed in; see {folder}")
        stage = self.stages.pop(0)
        trained = (unbroken.folder / stage / "history.json").exists()
        half = sum(path.is_file() for path in (unbroken.folder / stage).rglob("*")) // 2
        start = Start(unbroken.command(folder), folder.with_suffix(".log"))
        while start.wait(0.002) is None:
            found = [path for path in (folder / stage).rglob("*") if path.is_file()]
            if any(path.name == "checkpoint.safetensors" for path in found) or (not trained and len(found) >= half):
                break
        return _end(start, 0.0, signal.SIGKILL, alone=False)


def tail(folder: Path) -> str:
    """The last lines that a command printed."""
    return "\n".join(folder.with_suffix(".log").read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
