"""Runs on disks that become full, and on disks that fail: is anything lost?

    python benchmarks/disks.py
    python benchmarks/disks.py --full 10 --failing 10 --seed 0

A tiny run of all stages is made unbroken. Then the same command is started on a disk of its own, which stops to take
data at a moment that is drawn anew each time:

- full: a file system in memory (tmpfs) is filled by another file, so that the system itself says that no space is left;
- failing: ext4 on a device whose blocks cannot be stored any more, so that what the system had accepted is lost when it
  is written out, and it says `Input/output error`.

The command must end with code 2 and say what happened. The disk is mended, the same command is started again, and every
file is compared with the unbroken run's, byte for byte (as `benchmarks/kills.py` does). A run that ends before it needs
the disk again counts as no try. Only the administrator of a Linux machine may mount disks.

`benchmarks/disks.md` is written. The exit code is 1 if anything is not as it must be.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from faults import Start, call, differences, prepare, where, without_times
from machine import commit, machine, versions
from stops import Unbroken, make_unbroken

MEGABYTE = 2**20
SPACE = 256
"""Megabytes of a disk; a run of this kind takes some eight, and is refused where it could not have 152."""


@dataclass(frozen=True)
class Disk:
    """A mounted disk, and the file system that limits it."""

    place: Path
    """Where the run folder goes."""
    below: Path
    """The file system whose space is taken away."""

    def fill(self) -> None:
        """Let the disk take no more data."""
        handle = os.open(self.below / "filler", os.O_WRONLY | os.O_CREAT)
        for size in (MEGABYTE, 4096):
            with suppress(OSError):
                while os.write(handle, bytes(size)):
                    pass
        os.close(handle)

    def mend(self) -> None:
        """Let it take data again."""
        (self.below / "filler").unlink()


@contextmanager
def full(place: Path) -> Iterator[Disk]:
    """A disk that can be filled."""
    with _mounted(place / "full", "-t", "tmpfs", "-o", f"size={SPACE}m", "tmpfs") as disk:
        yield Disk(disk, disk)


@contextmanager
def failing(place: Path) -> Iterator[Disk]:
    """A disk that fails: its blocks are those of a file with holes, for which there may be no space."""
    with _mounted(place / "below", "-t", "tmpfs", "-o", f"size={SPACE}m", "tmpfs") as below:
        image = below / "image"
        with image.open("wb") as file:
            file.truncate(4 * SPACE * MEGABYTE)
        # Without a journal, so that a block that is lost does not end the whole file system.
        _run("mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=0,nodiscard", str(image))
        with _mounted(place / "failing", "-o", "loop,errors=continue", str(image)) as disk:
            yield Disk(disk, below)


@contextmanager
def _mounted(place: Path, *words: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    _run("mount", *words, str(place))
    try:
        yield place
    finally:
        _run("umount", "-l", str(place))


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


@dataclass
class Tally:
    """What became of the tries of one kind."""

    stages: Counter[str] = field(default_factory=Counter)
    """Of the tries, by the stage they fell into."""
    files: int = 0
    """Compared, over all tries."""
    faults: list[str] = field(default_factory=list)


def tried(
    unbroken: Unbroken,
    kind: Callable[[Path], AbstractContextManager[Disk]],
    says: tuple[str, ...],
    wanted: int,
    chance: random.Random,
) -> Tally:
    """Runs on disks of one kind, until that many of them were stopped by their disk."""
    tally = Tally()
    while tally.stages.total() < wanted:
        with tempfile.TemporaryDirectory(prefix="deft-disks-") as place, kind(Path(place)) as disk:
            folder, log = disk.place / "run", Path(place) / "run.log"
            code, stage = _broken(unbroken, disk, folder, log, chance)
            if code == 0:
                continue  # all was written before
            tally.stages[stage] += 1
            said = log.read_text(encoding="utf-8", errors="replace")
            if code != 2 or not any(words in said for words in says) or "Traceback" in said:
                tally.faults.append(
                    f"in {stage}: expected code 2 and a word about the disk, got {code}:\n{said[-600:]}"
                )
            disk.mend()
            code = Start(unbroken.command(folder), log).end()
            if code != 0:
                said = log.read_text(encoding="utf-8", errors="replace")
                tally.faults.append(f"in {stage}: the command that should go on ended with {code}:\n{said[-600:]}")
                continue
            call(lambda folder=folder: without_times(folder))  # type: ignore[misc]
            files, found = differences(unbroken.folder, folder)
            tally.files += files
            tally.faults += [f"in {stage}: {difference}" for difference in found]
        print(f"{kind.__name__}: {tally.stages.total()} of {wanted}, in {stage}", file=sys.stderr, flush=True)
    return tally


def _broken(unbroken: Unbroken, disk: Disk, folder: Path, log: Path, chance: random.Random) -> tuple[int, str]:
    """Start the command and take its disk away at a drawn moment: the exit code, and the stage in which it ended."""
    stage = chance.choice(unbroken.stages)
    start = Start(unbroken.command(folder), log)
    places = unbroken.places
    while start.wait(0.002) is None and places.index(where(folder, unbroken.stages)) < places.index(stage):
        pass
    start.wait(chance.uniform(0, unbroken.lengths[stage]))
    disk.fill()
    return start.end(), where(folder, unbroken.stages)


KINDS = {
    "full": (full, ("no space left on the disk",)),
    "failing": (failing, ("Input/output error", "Read-only file system", "no space left on the disk")),
}


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in KINDS:
        reader.add_argument(f"--{name}", type=int, default=10, metavar="N", help="tries (default 10)")
    reader.add_argument("--seed", type=int, default=0, help="of the moments")
    reader.add_argument("--write", type=Path, default=Path(__file__).with_suffix(".md"))
    given = reader.parse_args()
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise SystemExit("expected the administrator of a Linux machine, who may mount disks")
    chance = random.Random(given.seed)
    prepare()
    with tempfile.TemporaryDirectory(prefix="deft-disks-") as place:
        unbroken = make_unbroken(Path(place) / "unbroken", "irn_deft", 0)
        tallies = {
            name: tried(unbroken, kind, says, getattr(given, name), chance) for name, (kind, says) in KINDS.items()
        }
    page = _page(unbroken, tallies)
    given.write.write_text(page, encoding="utf-8")
    print(page)
    return 1 if any(tally.faults for tally in tallies.values()) else 0


def _page(unbroken: Unbroken, tallies: dict[str, Tally]) -> str:
    """The table, and where it comes from."""
    lines = ["# Disks that are full, disks that fail", "", (__doc__ or "").partition("--seed 0\n\n")[2].strip(), ""]
    lines += [f"| the disk stopped in | {' | '.join(tallies)} |", "|---" * (len(tallies) + 1) + "|"]
    for stage in unbroken.places:
        lines.append(f"| {stage} | {' | '.join(str(tally.stages[stage] or '') for tally in tallies.values())} |")
    lines.append(f"| all | {' | '.join(str(tally.stages.total()) for tally in tallies.values())} |")
    lines.append(f"| files compared | {' | '.join(str(tally.files) for tally in tallies.values())} |")
    lines.append(f"| faults | {' | '.join(str(len(tally.faults)) for tally in tallies.values())} |")
    lines += [
        "",
        f"`{' '.join(['python', 'benchmarks/disks.py', *sys.argv[1:]])}` at commit {commit()}; "
        f"{machine(torch.device('cpu'))['processor']}; "
        + ", ".join(f"{name} {number}" for name, number in versions().items())
        + ".",
        "",
    ]
    faults = [f"- {name}, {fault}" for name, tally in tallies.items() for fault in tally.faults]
    return "\n".join([*lines, *(["## Faults", "", *faults, ""] if faults else [])])


if __name__ == "__main__":
    sys.exit(main())
