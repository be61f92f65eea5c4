"""Read odd and damaged files until the time is over, and count what happens.

    python -m fuzz                                  all readers, for 10 minutes
    python -m fuzz coco cvat --inputs 100000        two readers, until 100,000 more inputs were read
    python -m fuzz --guided --minutes 60            inputs that Atheris makes, guided by the code they reach
    python -m fuzz coco --repeat 4711               one input again, in this process, with its traceback
    python -m fuzz --again                          the inputs that failed, again

An input fails if any exception but InputError leaves the reader, if it takes more than 2 seconds of processor time or
more than 1 GB of memory, if it waits for ever, or if the process crashes. Its files are written to build/fuzz/READER/,
with the command that repeats it. The next start goes on where the last one ended; counts are in benchmarks/fuzz.json.
The exit code is 1 if an input failed. `--guided` needs Linux and `pip install atheris`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz.counts import Counts
from fuzz.reader import Place
from fuzz.readers import READERS
from fuzz.watch import keep, watched
from fuzz.worker import drawn, guide, work

ROOT = Path(__file__).parents[1]
_FIRST, _PART = 500, 5000
"""Inputs of a reader before the next one has its turn, at first and at most."""


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"all if none is named: {', '.join(READERS)}")
    parser.add_argument("--inputs", type=int, default=0, help="end after that many inputs")
    parser.add_argument("--minutes", type=float, default=10.0, help="end after that time (default: 10)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: 2)")
    parser.add_argument("--guided", nargs="?", type=Path, const=ROOT / "build" / "fuzz-corpus", help="with Atheris")
    parser.add_argument("--counts", type=Path, default=ROOT / "benchmarks" / "fuzz.json", help="the table")
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz", help="where failing inputs are written")
    parser.add_argument("--afresh", action="store_true", help="begin a new table")
    parser.add_argument("--again", action="store_true", help="only the inputs that failed")
    parser.add_argument("--repeat", type=int, metavar="NUMBER", help="read one input here")
    for hidden in ("--worker", "--first", "--seconds"):
        parser.add_argument(hidden, type=Path if hidden == "--worker" else float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := [name for name in given.readers if name not in READERS]:
        parser.error(f"expected readers among {', '.join(READERS)}, got {unknown[0]!r}")
    names = given.readers or list(READERS)
    if given.worker is not None:
        reader = READERS[names[0]]
        if given.guided is not None:
            guide(reader, given.worker, given.guided / reader.name, given.inputs, given.seconds)
        else:
            work(reader, given.worker, int(given.first), given.inputs, given.seconds)
        return 0
    if given.repeat is not None:
        return _repeat(names[0], given.repeat)
    counts = Counts(given.counts, {name: reader.share for name, reader in READERS.items()}, given.afresh)
    failed = _again(counts) if given.again else _all(names, counts, given)
    print("\n".join(counts.lines()))
    return 1 if failed else 0


def _all(names: list[str], counts: Counts, given: argparse.Namespace) -> int:
    """Give every reader a turn, the ones with the fewest inputs first; the number of failures."""
    end, last = time.monotonic() + 60 * given.minutes, counts.total + (given.inputs or sys.maxsize)
    part = min(_PART, max(1, -(-given.inputs // len(names)))) if given.inputs else _PART

    def turns(_: int) -> int:
        failed = 0
        while (left := end - time.monotonic()) > 0 and counts.total < last:
            name, first = counts.take(names)
            share = READERS[name].share
            own = max(1, round(min(part * share, max(_FIRST * share, counts.readers[name]["inputs"]))))
            found = watched(name, first, min(own, last - counts.total), left, given.guided)
            counts.add(name, found, given.guided is not None)
            for failure in found.failures:
                failed += 1
                print(
                    f"{name} {failure['number']}: {failure['kind']} at {failure['at']}: {failure['said']}", flush=True
                )
                if given.guided is None:
                    keep(name, failure, given.keep)
        return failed

    jobs = max(1, min(given.jobs, len(names)))
    with ThreadPoolExecutor(jobs) as pool:
        return sum(pool.map(turns, range(jobs)))


def _again(counts: Counts) -> int:
    """Read the inputs that failed again; the number of those that still do."""
    failed = 0
    for name, row in counts.readers.items():
        for failure in list(row["failing"]):
            number = failure["number"]
            if found := watched(name, number, 1, 600.0).failures:
                failed += 1
                print(f"{name} {number}: still {found[0]['kind']} at {found[0]['at']}: {found[0]['said']}")
            else:
                counts.mended(name, number)
    return failed


def _repeat(name: str, number: int) -> int:
    """Read one input in this process; its exception is raised."""
    reader = READERS[name]
    with tempfile.TemporaryDirectory(prefix="deft-fuzz-") as folder:
        place = Place(Path(folder), reader.beside())
        place.fill(drawn(reader, number))
        begin = time.process_time()
        try:
            reader.read(place.folder)
        finally:
            print(f"{name} {number}: {time.process_time() - begin:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
