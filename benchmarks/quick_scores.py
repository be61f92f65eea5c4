"""``deft quick`` on photographs with masks, by recipe, backbone and random seed: how good its answers are.

    python benchmarks/quick_scores.py --data voc:PATH --weights FOLDER

:mod:`quick` measures how long they take. Features are looked for once for each backbone; they do not depend on the
seed. Answers that are in OUT are not made again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL, run
from typing import Any

from quick import SCORES, known

from deft.artifacts import write_json
from deft.runner.quick import answers
from deft.studies.origin import commit, machine, versions

RECIPES = {"frozen": "--no-deft", "frozen_deft": "--deft"}


def main() -> None:
    given = arguments()
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for backbone in given.backbones:
        for recipe in RECIPES:
            rows = found.setdefault(f"{recipe}, {backbone}", {})
            for seed in given.seeds:
                rows[str(seed)] = answer(given, backbone, recipe, seed)["scores"]
    record = {
        "command": f"python benchmarks/quick_scores.py --data {given.data.partition(':')[0]}:PATH",
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "found": found,
    }
    write_json(given.publish.with_suffix(".json"), record)
    given.publish.with_suffix(".md").write_text(page(record), encoding="utf-8")
    print(page(record))


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of the command."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", required=True, help="voc:PATH of MSRC, or other data with masks")
    reader.add_argument("--weights", required=True, help="folder of the backbones' weights")
    reader.add_argument("--backbones", nargs="+", default=["tf_efficientnet_lite0", "mobilenetv2_100"])
    reader.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    reader.add_argument("--out", type=Path, default=Path("runs/quick-scores"))
    reader.add_argument("--publish", type=Path, default=Path(__file__), help="where .md and .json are written")
    return reader.parse_args(words)


def answer(given: argparse.Namespace, backbone: str, recipe: str, seed: int) -> dict[str, Any]:
    """The scores of one answer, which is made if it is not there."""
    out = given.out / backbone
    words = [sys.executable, "-m", "deft", "quick", given.data, "--out", os.fspath(out), "--backbone", backbone]
    words += ["--weights", given.weights, RECIPES[recipe], "--set", f"seed={seed}"]
    run(words, check=True, stdout=DEVNULL)
    return known(answers(out)[-1])


def page(record: dict[str, Any]) -> str:
    """The table: mean and standard deviation over the seeds."""
    lines = ["# How good quick answers are", ""]
    lines += [f"- {key}: {record[key]}" for key in ("command", "commit", "machine", "versions")]
    lines += [
        "",
        "mIoU in per cent, with background, mean ± standard deviation over random seeds: of seeds and masks on the",
        "training images, at the thresholds that the run chose and at the best one; of the network on the held-out",
        "images.",
        "",
        f"| recipe, backbone | seeds | {' | '.join(SCORES)} |",
        "|---|---|" + "---|" * len(SCORES),
    ]
    for name, rows in record["found"].items():
        cells = []
        for score in SCORES:
            values = [100 * row[score] for row in rows.values() if row[score] is not None]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.1f}{spread}" if values else "–")
        lines.append(f"| {name} | {len(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
