"""What the loss and the CRF of `deft quick`'s network would do for a trained one: balanced loss, CRF at inference.

    python benchmarks/trained_networks.py --data PATH --weights FOLDER

`irn_deft` in the protocol of ``benchmarks/studies.py``, on photographs of MSRC's `test`, which no table reports: two of
three to learn from, every third held out. The variants of one seed have the same masks; those with a CRF have the same
network. Runs that are in OUT are not made again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path
from subprocess import DEVNULL, run
from typing import Any

from deft.artifacts import read_json, write_json
from deft.studies.origin import commit, machine, versions
from studies import NETWORK, PROTOCOL, REFINED, names_of, relisted

BASE = "as the recipe"
VARIANTS = {
    BASE: (),
    "balanced loss": ("segment.balanced=true",),
    "CRF of the recipe `irn`'s labels": ("inference.crf=DenseCrf",),
    "CRF of `deft quick`": (
        *("inference.crf=DenseCrf", "inference.crf.iterations=3"),
        *("inference.crf.gaussian_sxy=2", "inference.crf.bilateral_sxy=25"),
    ),
}


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", type=Path, required=True, help="PATH of MSRC")
    reader.add_argument("--weights", required=True, help="folder of the backbones' weights")
    reader.add_argument("--backbones", nargs="+", default=["mobilenetv2_100", "tf_efficientnet_lite0"])
    reader.add_argument("--seeds", type=int, nargs="+", default=[0])
    reader.add_argument("--out", type=Path, default=Path("runs/networks"))
    given = reader.parse_args()
    names = names_of(given.data, "test")
    learned = [name for place, name in enumerate(names) if place % 3]
    data = relisted(given.data, given.out / "photographs", train=learned, val=names[::3])
    found = {
        backbone: {
            name: [score(given, data, backbone, seed, number) for seed in given.seeds]
            for number, name in enumerate(VARIANTS)
        }
        for backbone in given.backbones
    }
    seeds = " ".join(map(str, given.seeds))
    command = f"python benchmarks/trained_networks.py --data PATH --weights FOLDER --seeds {seeds}"
    record = {"command": command, "commit": commit(), "machine": machine(), "versions": versions(), "found": found}
    place = Path(__file__)
    write_json(place.with_suffix(".json"), record)
    place.with_suffix(".md").write_text(page(record), encoding="utf-8")
    print(page(record))


def score(given: argparse.Namespace, data: Path, backbone: str, seed: int, number: int) -> float:
    """Score of a variant's network on the held-out photographs; its run is made if it is not there."""
    out = given.out / f"{backbone}-{seed}"
    folder = out / str(number)
    words = [sys.executable, "-m", "deft", "run", "irn_deft", "--data", f"voc:{data}", "--out", os.fspath(folder)]
    words += ["--backbone", backbone, "--weights", given.weights]
    if number:
        words += ["--reuse", os.fspath(out / "0")]
    for setting in (*PROTOCOL, *REFINED, *NETWORK, "threads=1", f"seed={seed}", *list(VARIANTS.values())[number]):
        words += ["--set", setting]
    run(words, check=True, stdout=DEVNULL)
    return float(read_json(folder / "scores.json")["val"]["segmentation"]["miou"])


def page(record: dict[str, Any]) -> str:
    """The table: mean and standard deviation over the seeds, and each seed's difference from the recipe."""
    lines = ["# What a balanced loss and a CRF do for a trained network", ""]
    lines += [f"- {key}: {record[key]}" for key in ("command", "commit", "machine", "versions")]
    lines += [
        "",
        "`irn_deft` on MSRC's `test`, 66 photographs to learn from and 33 held out: mIoU of the network on those held",
        "out, in per cent, mean ± standard deviation over random seeds; in brackets, the difference from the recipe,",
        "seed by seed.",
        "",
        f"| | {' | '.join(record['found'])} |",
        "|---|" + "---|" * len(record["found"]),
    ]
    for name in VARIANTS:
        cells = []
        for rows in record["found"].values():
            values = [100 * value for value in rows[name]]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            each = ", ".join(f"{100 * (a - b):+.1f}" for a, b in zip(rows[name], rows[BASE], strict=True))
            cells.append(f"{statistics.fmean(values):.1f}{spread}" + (f" ({each})" if name != BASE else ""))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
