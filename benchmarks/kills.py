"""Whether a stopped run goes on exactly: stopped at random moments, it must end byte for byte as the unbroken one.

    python benchmarks/kills.py
    python benchmarks/kills.py --kills 50 --recipe irn_deft --workers 0 2 --seed 0

A tiny run of all stages is made unbroken, once for each number of reading processes. Then the same command is started,
stopped and started again, until it has ended, and every file of its folder is compared with the unbroken run's, byte
for byte. Left out are `lock`, which names the process, and leftovers of interrupted writes, `.part-*`; seconds are set
to 0 on both sides before the page is written again and compared. Trainings keep a checkpoint every 0.3 seconds here.

- `--kills`: SIGKILL, half of them at a time drawn evenly over the length of the unbroken run, half in a stage that is
  drawn first, so that short ones are met. One of four leaves the reading processes to find out for themselves.
- `--terms`: SIGTERM, to the process or to its readers too; it must end with code 143 within 10 seconds.
- `--full`: a disk that is full from some file on; the command must end with code 2 and say so.
- `--saves`: SIGKILL of a process that stores tensors without pause, whose file must stay whole, and as many stores that
  fail in each of two ways, which must keep the old file.
- `--starters`: second starts of a running command, which must end with code 2 and leave the first alone.

Without any of these all are done and `benchmarks/kills.md` is written. The exit code is 1 if anything is not as it
must be.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from faults import Start, call, differences, fresh, prepare, where, without_times
from stops import DATA, At, Tally, Unbroken, Way, fill, kill, make_unbroken, stopped, tail, terminate
from stores import stores

ALL = {"kills": 50, "terms": 20, "full": 10, "saves": 200, "starters": 20}
"""How often each is done where nothing is chosen."""
COLUMNS = (
    *("runs compared", "files compared", "faults", "stops while readers worked", "of these without telling them"),
    *("slowest end", "longest hold of the folder after it", "unbroken run"),
)


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in ALL.items():
        reader.add_argument(f"--{name}", type=int, metavar="N", help=f"{number} where nothing is chosen")
    reader.add_argument(
        "--at",
        nargs="+",
        default=[],
        metavar="STAGE",
        help="instead: SIGKILL in each of these stages (or a folder in one)",
    )
    reader.add_argument("--recipe", default="irn_deft")
    reader.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="reading processes")
    reader.add_argument("--seed", type=int, default=0, help="of the moments")
    reader.add_argument("--write", type=Path, help="where the tables go (default: benchmarks/kills.md for all of them)")
    given = reader.parse_args()
    chosen = {name: getattr(given, name) for name in ALL}
    everything = not given.at and all(number is None for number in chosen.values())
    counts = ALL if everything else {name: number or 0 for name, number in chosen.items()}
    prepare()
    with tempfile.TemporaryDirectory(prefix="deft-kills-") as place:
        lines, faults = _all(Path(place), given, counts)
    if faults:
        lines += ["## Faults", "", *(f"- {fault}" for fault in faults), ""]
    print("\n".join(lines))
    target = given.write or (Path(__file__).with_suffix(".md") if everything else None)
    if target is not None:
        head = ["# Stopped runs", "", (__doc__ or "").partition("--seed 0\n\n")[2], "", _origin(given), "", *lines]
        target.write_text("\n".join(head), encoding="utf-8")
    return 1 if faults else 0


def _all(place: Path, given: argparse.Namespace, counts: dict[str, int]) -> tuple[list[str], list[str]]:
    """The tables of what was asked for, and everything that was not as it must be."""
    lines: list[str] = []
    faults: list[str] = []
    chance = random.Random(given.seed)
    ways = {
        "kills": Way("SIGKILL", -signal.SIGKILL, kill),
        "terms": Way("SIGTERM", 128 + signal.SIGTERM, terminate),
        "full": Way("Full disk", 2, fill, "no space left on the disk"),
    }
    unbroken = {}
    if given.at or counts["starters"] or any(counts[name] for name in ways):
        unbroken = {
            number: make_unbroken(place / f"unbroken-{number}", given.recipe, number) for number in given.workers
        }
    for name, way in ways.items():
        if not counts[name]:
            continue
        tallies = {}
        for workers, number in _shares(counts[name], given.workers).items():
            tallies[workers] = stopped(unbroken[workers], way, number, chance)
            faults += tallies[workers].faults
        lines += _table(way.title, tallies, unbroken)
    if given.at:
        tallies = {
            workers: stopped(unbroken[workers], Way("SIGKILL", -signal.SIGKILL, At(given.at)), len(given.at), chance)
            for workers in given.workers
        }
        faults += [fault for tally in tallies.values() for fault in tally.faults]
        lines += _table("SIGKILL at chosen moments", tallies, unbroken)
    for told, wrong in (
        stores(place / "stores", counts["saves"], chance),
        _starters(unbroken[given.workers[0]], counts["starters"]) if counts["starters"] else ([], []),
    ):
        lines += told
        faults += wrong
    return lines, faults


def _shares(total: int, workers: Sequence[int]) -> dict[int, int]:
    return {number: total // len(workers) + (place < total % len(workers)) for place, number in enumerate(workers)}


def _starters(unbroken: Unbroken, wanted: int) -> tuple[list[str], list[str]]:
    """Second starts of a command that runs."""
    from deft.artifacts import read_json

    faults: list[str] = []
    refused, firsts, files = 0, 0, 0
    log = unbroken.folder.with_name("second.log")
    while refused < wanted and not faults:
        folder = fresh(unbroken.folder.with_name("shared"))
        first = Start(unbroken.command(folder), folder.with_suffix(".log"))
        while first.wait(0.01) is None and not (folder / unbroken.stages[0] / "stage.json").exists():
            pass
        while refused < wanted and where(folder, unbroken.stages) in unbroken.stages[:-1] and not faults:
            log.unlink(missing_ok=True)
            code = Start(unbroken.command(folder), log).end()
            if code == 2 and "in use by" in log.read_text(encoding="utf-8"):
                refused += 1
            else:
                faults.append(f"second starter: expected code 2, got {code}:\n{tail(log)}")
        code = first.end()
        if code != 0 or read_json(folder / unbroken.stages[-1] / "stage.json")["state"] != "done":
            faults.append(f"first starter: ended with code {code}:\n{tail(folder)}")
            break
        call(lambda folder=folder: without_times(folder))  # type: ignore[misc]
        compared, found = differences(unbroken.folder, folder)
        faults += [f"first starter: {difference}" for difference in found]
        firsts, files = firsts + 1, files + compared
    lines = ["## Two starters", "", f"{refused} of {wanted} second starts refused with code 2; the {firsts} runs they"]
    lines += [f"were started beside ended as if alone ({files} files compared).", ""]
    return lines, faults


def _table(title: str, tallies: dict[int, Tally], unbroken: dict[int, Unbroken]) -> list[str]:
    """Where the stops fell, and what was compared."""
    lines = [f"## {title}", ""]
    lines += [f"| stage | {' | '.join(f'{workers} workers' for workers in tallies)} | with a checkpoint left |"]
    lines += ["|---" * (len(tallies) + 2) + "|"]
    for stage in next(iter(unbroken.values())).places:
        counts = [tally.stops[stage] for tally in tallies.values()]
        left = sum(tally.kept[stage] for tally in tallies.values())
        lines.append(f"| {stage} | {' | '.join(map(str, counts))} | {left or ''} |")
    lines.append(f"| all | {' | '.join(str(tally.stops.total()) for tally in tallies.values())} | |")
    lines += ["", "| workers | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for workers, tally in tallies.items():
        cells: list[object] = [workers, tally.runs, tally.files, len(tally.faults), tally.readers, tally.alone]
        cells += [f"{seconds:.2f} s" for seconds in (tally.slowest, tally.held, unbroken[workers].seconds)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return [*lines, ""]


def _origin(given: argparse.Namespace) -> str:
    """Command, commit, machine and versions."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(["git", "status", "--porcelain", "deft"], capture_output=True, text=True).stdout.strip()
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning-fabric", "timm", "numpy"))
    return (
        f"`{' '.join(['python', 'benchmarks/kills.py', *sys.argv[1:]])}` at commit {commit or 'unknown'}"
        f"{' with changes' if changed else ''}, recipe {given.recipe}, data `{DATA}`, {platform.machine()}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {packages}."
    )


if __name__ == "__main__":
    sys.exit(main())
