"""A process that learns nothing: it says what a learner says, and does to a run what a test has told it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from deft.artifacts import load_mask, read_json, save_mask, write_json
from deft.artifacts.hashes import digest

PROGRAM = """
import json, os, pathlib, sys, time

run = pathlib.Path(sys.argv[1])
beside = run.parent


def say(**said):
    print(json.dumps(said), flush=True)


say(ready=True)
for line in sys.stdin:
    (beside / "asked.json").write_text(line)
    say(stage="masks")
    os.rename(run / "masks", beside / "masks before")
    while True:
        while not (found := list(beside.glob("order *"))):
            time.sleep(0.01)
        order = found[0].name
        found[0].unlink()
        if order == "order die":
            os._exit(9)
        if order == "order segment":
            os.rename(run / "predictions", beside / "predictions before")
        elif (beside / "predictions before").exists():
            os.rename(beside / "predictions before", run / "predictions")
        if not (run / "masks").exists():
            os.rename(beside / ("masks before" if order == "order fail" else "next"), run / "masks")
        if order not in ("order score", "order segment"):
            break
        say(stage=order.removeprefix("order ").replace("score", "scores"))
    if order == "order learn":
        say(learned={"images": 2, "rejected": 0, "miou": 0.5, "scored": 3})
    else:
        say(error="out of patience")
"""
"""In place of ``deft.review.learning._PROGRAM``: takes the masks away, and waits for an order beside the run."""


def order(run: Path, what: str) -> None:
    """Go on.

    Args:
        run: of the learner.
        what: ``segment``, masks of :func:`next_masks` are there and those of the network are not; ``score``, all are;
            ``learn``, the round is; ``fail``, there is none; ``die``.
    """
    (run.parent / f"order {what}").touch()


def next_masks(run: Path, key: str = "", **changed: int) -> None:
    """Make the masks of the next round: those of now, but for some images, which are of one class alone."""
    folder = Path(shutil.copytree(run / "masks", run.parent / "next"))
    record = read_json(folder / "stage.json")
    for name, value in changed.items():
        path = folder / f"{name}.png"
        save_mask(path, np.full_like(load_mask(path), value), record["key"])
        record["files"][path.name] = digest(path)
    write_json(folder / "stage.json", record | ({"key": key} if key else {}))
