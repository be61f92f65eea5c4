"""Rate of predictions on a Ray cluster of this machine beside the same command without Ray.

    python benchmarks/ray_rates.py NETWORK PHOTOGRAPHS
    python benchmarks/ray_rates.py segment/model.safetensors photographs --times 3

`deft predict` makes the masks of all photographs with as many threads, or workers on Ray, as there are cores; both take
turns. Rates are of the time between the first mask and the last: Ray needs some 15 seconds before. The masks of all
passes have to be equal, byte for byte. `benchmarks/ray_rates.json` and `benchmarks/ray_rates.md` are written; the exit
code is 1 if masks differ, or the median on Ray is below 0.9 times that without.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from machine import commit, machine, versions

from deft.engine.cores import cores

GOAL = 0.9


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("network", type=Path, help="a saved network, or a run")
    reader.add_argument("photographs", type=Path, help="a folder")
    reader.add_argument("--times", type=int, default=3, help="passes of each")
    reader.add_argument("--write", type=Path, default=Path(__file__).with_suffix(".json"))
    given = reader.parse_args()
    passes: dict[str, list[dict[str, float]]] = {"here": [], "ray": []}
    expected: dict[str, bytes] = {}
    differ = 0
    with tempfile.TemporaryDirectory(prefix="deft-rates-") as place:
        for number in range(given.times):
            for engine in passes:
                out = Path(place) / f"{engine}-{number}"
                passes[engine].append(one_pass(given.network, given.photographs, engine, out))
                masks = {path.name: path.read_bytes() for path in (out / "masks").glob("*.png")}
                expected = expected or masks
                differ += masks != expected
                print(f"{engine}: {passes[engine][-1]}", file=sys.stderr, flush=True)
    rates = {engine: statistics.median(one["rate"] for one in found) for engine, found in passes.items()}
    found: dict[str, Any] = {
        "commit": commit(),
        "machine": machine(torch.device("cpu")),
        "versions": {**versions(), "ray": version("ray")},
        "load": os.getloadavg()[0],
        "photographs": len(expected),
        "workers": cores(),
        "passes": passes,
        "ratio": rates["ray"] / rates["here"],
        "passes with other masks": differ,
    }
    given.write.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    given.write.with_suffix(".md").write_text(page(found), encoding="utf-8")
    print(page(found))
    return int(differ > 0 or found["ratio"] < GOAL)


def one_pass(network: Path, photographs: Path, engine: str, out: Path) -> dict[str, float]:
    """Seconds to the first mask and of the whole command, and masks per second from the first to the last."""
    words = ["predict", str(network), str(photographs), "--out", str(out), "--engine", engine]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    begun = time.time()
    command = [sys.executable, "-m", "deft", *words, "--threads", str(cores())]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    whole = time.time() - begun
    made = sorted(path.stat().st_mtime for path in (out / "masks").glob("*.png"))
    return {"start": made[0] - begun, "rate": (len(made) - 1) / (made[-1] - made[0]), "whole": whole}


def page(found: dict[str, Any]) -> str:
    """The table."""
    lines = [
        "# Predictions on a Ray cluster",
        "",
        (__doc__ or "").partition("--times 3\n\n")[2].strip(),
        "",
        f"{found['photographs']} photographs, {found['workers']} threads or workers, at commit {found['commit']}; "
        f"{found['machine']['processor']}, with a load of {found['load']:.0f} from this and other programs; "
        + ", ".join(f"{name} {number}" for name, number in found["versions"].items())
        + ".",
        "",
        "| | seconds to the first mask | masks a second, each pass | seconds of the command |",
        "|---|---|---|---|",
    ]
    for engine, title in (("here", "without Ray"), ("ray", "on Ray")):
        of = found["passes"][engine]
        median = {name: statistics.median(one[name] for one in of) for name in of[0]}
        rates = ", ".join(f"{one['rate']:.2f}" for one in of)
        lines.append(f"| {title} | {median['start']:.1f} | {rates} | {median['whole']:.0f} |")
    differ = found["passes with other masks"]
    lines += ["", f"On Ray: {found['ratio']:.2f} times the rate without it (medians).", ""]
    lines += [f"{differ} passes made other masks." if differ else "All passes made the same masks.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
