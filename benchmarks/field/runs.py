"""Short runs, one finished run that cases copy, and what a case asks about a run folder afterwards."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from field.case import Content, called, grey, photographs, write

START = "import sys; from deft.cli.main import main; sys.exit(main(sys.argv[1:]))"
NOBODY = 65534
"""A user and a group without rights."""
_RECORDS = ("stage.json", "run.json", "made.json", "contents.json", "report.html", "lock")
"""Files that hold seconds, places or hashes of such."""

_PHOTOS: dict[str, Content] = {
    **photographs("a.png", "b.png", "c.png", "d.png", "e.png"),
    "labels.csv": "image,labels\na,cow\nb,dog\nc,cow;dog\nd,\ne,cow\n",
    "val.txt": "e\n",
    "classes.txt": "cow\ndog\n",
    **{f"masks/{name}.png": grey(np.eye(12, 16, dtype=np.uint8)) for name in "ae"},
}
PHOTOS: dict[str, Content] = {f"photos/{name}": content for name, content in _PHOTOS.items()}
"""Data of a run in a folder ``photos``: four images to train with, and a held-out one."""
SHORT = (
    *("classifier.plan.epochs=1", "classifier.plan.min_steps=2", "classifier.plan.batch=4"),
    "classifier.plan.workers=0",
    *("segment.plan.epochs=1", "segment.plan.min_steps=2", "segment.plan.batch=2", "segment.plan.workers=0"),
    *(
        "segment.channels=16",
        "seeds.scales=(1.0,)",
        "seed_threshold=0.3",
        "inference.scales=(1.0,)",
        "inference.flip=false",
    ),
)
"""Settings of a run of a second."""


def run_words(data: object, out: object, *more: str, recipe: str = "cam", weights: object = "none") -> list[str]:
    """The words of ``deft run`` on a folder; ``more`` are settings that follow the short ones."""
    words = ["run", recipe, "--data", f"folder:{data}", "--out", str(out), "--backbone", "test_resnet"]
    words += ["--weights", str(weights), "--precision", "32", "--threads", "1"]
    return [*words, *(word for setting in (*SHORT, *more) for word in ("--set", setting))]


@cache
def finished() -> Path:
    """A finished run on :data:`PHOTOS`; cases work on copies."""
    place = Path(tempfile.mkdtemp(prefix="deft-cases-run-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    write(place / "data", PHOTOS)
    code, said = called(run_words(place / "data" / "photos", place / "run"))
    if code:
        raise RuntimeError(f"the run that cases copy ended with {code}: {said}")
    return place / "run"


def copied(folder: Path, name: str = "run") -> Path:
    """A copy of the finished run, where a case lets commands write."""
    return Path(shutil.copytree(finished(), folder / "out" / name))


@dataclass(frozen=True)
class Ended:
    """A command that ran in a process of its own."""

    code: int
    said: str
    peak: int
    """Bytes of memory at most, at least those of this process."""


def process(
    words: Sequence[object],
    before: str = "",
    prefix: Sequence[str] = (),
    program: str = START,
    home: Path | None = None,
) -> Ended:
    """Run a command in a process of its own.

    Args:
        words: of the command.
        before: Python code that runs before anything is imported.
        prefix: words of a command that starts the process.
        program: Python code that runs the command.
        home: the user's folder.
    """
    place = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if home is not None:
        place |= {"HOME": str(home)}
    full = [*prefix, sys.executable, "-c", f"{before}\n{program}", *map(str, words)]
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(full, stdout=said, stderr=said, env=place)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
    return Ended(child.returncode, text, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def remade(run: Path, act: Callable[[], object]) -> list[str]:
    """The stages that are made, or made again, while something is done to a run folder."""
    before = _stages(run)
    act()
    return sorted(name for name, state in _stages(run).items() if before.get(name) != state)


def _stages(run: Path) -> dict[str, tuple[int, int]]:
    """When the record of each stage was written."""
    found = {path.parent.relative_to(run).as_posix(): path.stat() for path in run.rglob("stage.json")}
    return {name: (status.st_ino, status.st_mtime_ns) for name, status in found.items()}


def differs(run: Path, other: Path) -> str:
    """The first file that two runs do not have in common; empty if there is none."""
    names = {path.relative_to(root) for root in (run, other) for path in root.rglob("*") if path.is_file()}
    for name in sorted(names):
        one, two = run / name, other / name
        if name.name in _RECORDS:
            continue
        if not one.is_file() or not two.is_file():
            return f"{name} is in one of two runs"
        if one.read_bytes() != two.read_bytes():
            return f"{name} differs from that of an undisturbed run"
    return ""


def unlike(run: Path, other: Path, stage: str = "classifier", near: float = 0.0) -> str:
    """Whether the weights that two runs have trained differ by more than ``near``; empty if they do not."""
    paths = [root / stage / "model.safetensors" for root in (run, other)]
    if missing := [path for path in paths if not path.is_file()]:
        return f"{missing[0]} is not there"
    one, two = map(load_file, paths)
    if one.keys() != two.keys():
        return f"{stage}: other weights than those of an undisturbed run"
    away = max(float((one[name].double() - two[name].double()).abs().max()) for name in one)
    return "" if away <= near else f"{stage}: weights are {away:g} away from those of an undisturbed run"


def whole(run: Path) -> str:
    """What a finished run lacks; empty if it has its files, and numbers in its scores."""
    if missing := [name for name in ("report.html", "scores.json", "made.json") if not (run / name).is_file()]:
        return f"has no {missing[0]}"
    for name in _stages(run):
        if json.loads((run / name / "stage.json").read_text())["state"] != "done":
            return f"{name} is not finished"
    for path in run.rglob("model.safetensors"):
        if not all(value.isfinite().all() for value in load_file(path).values()):
            return f"{path.relative_to(run)} has weights that are not finite"
    return ""


def expected(ended: tuple[int, str] | Ended, code: int, *said: str, never: Sequence[str] = ("Traceback",)) -> str:
    """What is not right about the end of a command; empty if it ended with this code and said these words."""
    got, text = (ended.code, ended.said) if isinstance(ended, Ended) else ended
    if got != code:
        return f"exit code {got}: {text[-300:]}"
    if found := [word for word in never if word in text]:
        return f"says {found[0]!r}: {text[-300:]}"
    missing = [word for word in said if word.casefold() not in text.casefold()]
    return f"does not say {missing[0]!r}: {text[-300:]}" if missing else ""


def all_of(*wrong: str) -> str:
    """The first thing that is wrong."""
    return next(filter(None, wrong), "")
