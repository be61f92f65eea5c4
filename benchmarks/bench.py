"""One table of the speed of everything: what ``make bench`` runs.

    python benchmarks/bench.py                     every file of benchmarks/speed, on the GPU where there is one
    python benchmarks/bench.py walk crf            these alone; the rows of the others stay in the table
    python benchmarks/bench.py --quick             tiny sizes, to see that all runs; the times mean nothing

Each benchmark runs in a process of its own, so that its peak memory is its own. The rows go to ``speed-cpu.json`` or
``speed-cuda.json`` beside this file (``--out`` names another folder), and all that the JSON holds to the ``.md`` beside
it. A benchmark that fails is in the table with its error, and the command ends with exit code 1.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import math
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from deft.engine.memory import keep_freed

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "speed"))

import machine
from measure import HEADER, Row, line

HERE = Path(__file__).parent
SPEED = HERE / "speed"


def benchmarks() -> list[str]:
    """Names of the files of ``benchmarks/speed`` that yield rows."""
    return sorted(file.stem for file in SPEED.glob("*.py") if "\ndef rows(" in file.read_text(encoding="utf-8"))


def main() -> int:
    """Measure, write the table, and say whether all went well: 0, or 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(benchmarks())}; all without")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER", help="where the table goes")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.names) - set(benchmarks()))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(benchmarks())}")
    if chosen.rows:
        _measure(chosen.names[0], torch.device(chosen.device), chosen.quick, chosen.rows)
        return 0

    chosen.out.mkdir(parents=True, exist_ok=True)
    target = chosen.out / f"speed-{chosen.device}.json"
    table: dict[str, Any] = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {"benchmarks": {}}
    table["machine"] = machine.machine(torch.device(chosen.device))
    for name in chosen.names or benchmarks():
        print(f"\n{name}\n{HEADER}", flush=True)
        table["benchmarks"][name] = _own_process(name, chosen.device, chosen.quick)
        _write(target, json.dumps(table, indent=1, ensure_ascii=False) + "\n")
        _write(target.with_suffix(".md"), page(table, chosen.device))
    print(f"\n{target.with_suffix('.md')}")
    return int(any("error" in table["benchmarks"][name] for name in chosen.names or benchmarks()))


def page(table: dict[str, Any], device: str) -> str:
    """The table in Markdown: machine, all rows, and from when each benchmark's rows are."""
    parts = [f"# Speed on the {'GPU' if device == 'cuda' else 'CPU'}", ""]
    parts.append(
        "Written by `python benchmarks/bench.py`. Both ways of a row were timed in one run on the same inputs,"
    )
    parts.append("warm; times are medians.")
    parts += ["", *(f"- {key}: {value}" for key, value in table["machine"].items()), "", HEADER]
    for name, found in sorted(table["benchmarks"].items()):
        parts += [line(Row(**row)) for row in found["rows"]]
        if "error" in found:
            parts.append(f"| {name} | | | | | | | | failed: {' '.join(found['error'].replace('|', ' ').split())} |")
    parts += ["", "| rows of | measured | commit | with |", "|---|---|---|---|"]
    for name, found in sorted(table["benchmarks"].items()):
        packages = ", ".join(f"{package} {number}" for package, number in found["versions"].items())
        quick = ", tiny sizes: the times mean nothing" if found["quick"] else ""
        parts.append(f"| `speed/{name}.py` | {found['date']}{quick} | {found['commit']} | {packages} |")
    return "\n".join(parts) + "\n"


def _own_process(name: str, device: str, quick: bool) -> dict[str, Any]:
    """Rows of one benchmark and where they are from; with ``error`` where it failed, beside the rows before that."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        command = [sys.executable, __file__, name, "--device", device, "--rows", str(rows)]
        ended = subprocess.run(command + ["--quick"] * quick, check=False, stderr=subprocess.PIPE, text=True)
        lines = rows.read_text(encoding="utf-8").splitlines() if rows.exists() else []
    found = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": machine.commit(),
        "versions": machine.versions(),
        "quick": quick,
        "rows": [json.loads(text) for text in lines],
    }
    if ended.returncode:
        print(ended.stderr, file=sys.stderr)
        found["error"] = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
    return found


def _measure(name: str, device: torch.device, quick: bool, target: Path) -> None:
    """Measure one benchmark here; each row goes to the file and to the screen as soon as there is one."""
    keep_freed()
    with target.open("w", encoding="utf-8") as file:
        for row in importlib.import_module(name).rows(device, quick):
            missing = row.ours is None or math.isnan(row.ours)
            file.write(json.dumps(asdict(row) | ({"ours": None} if missing else {})) + "\n")
            file.flush()
            print(line(row), flush=True)


def _write(target: Path, text: str) -> None:
    """The whole file or none of it."""
    new = target.with_name(target.name + ".new")
    new.write_text(text, encoding="utf-8")
    new.replace(target)


if __name__ == "__main__":
    sys.exit(main())
