"""What each class leans on, before and after DEFT: how much of a context its seeds take.

    python benchmarks/leaning.py --data PATH --backbone mobilenetv2_100 --out runs/studies

Reads the runs that ``benchmarks/studies.py`` has made of `irn` (plain CAM) and `irn_deft`, and the context masks of
MSRC (grass, water, sky, ...), which no run sees. For every class and context: on the training photographs of the class
that show the context, the share of the context's pixels that the seeds give to the class, at the threshold that the run
chose. A classifier that finds boats by their water has seeds on the water. Writes ``leaning.json`` to
``benchmarks/msrc/BACKBONE/``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from deft.artifacts import file_stem, load_seeds, read_json, write_json
from deft.contracts import Dataset
from deft.data import open_data
from deft.seedmaps import to_mask, upsample
from deft.studies.origin import commit, machine

SYSTEMS = {"irn": "plain CAM", "irn_deft": "DEFT"}
AT_LEAST = 5
"""Photographs of a pair, below which it is left out."""


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", type=Path, required=True, help="folder of MSRC, with SegmentationContext/")
    reader.add_argument("--backbone", default="mobilenetv2_100")
    reader.add_argument("--out", type=Path, default=Path("runs/studies"))
    given = reader.parse_args()
    train = open_data(f"voc:{given.data}").train
    contexts = (given.data / "context_classes.txt").read_text().split()
    found: dict[str, dict[str, list[float]]] = {}
    seeds: dict[str, list[str]] = {}
    for system in SYSTEMS:
        for run in _runs(given.out / given.backbone / "runs", system):
            seeds.setdefault(system, []).append(run.parent.name)
            for pair, share in shares(run, train, given.data / "SegmentationContext", contexts).items():
                found.setdefault(pair, {}).setdefault(system, []).append(share)
            print(f"measured {run.name}, seed {run.parent.name}", flush=True)
    place = Path(__file__).parent / "msrc" / given.backbone
    place.mkdir(exist_ok=True, parents=True)
    facts = {
        "command": f"`python benchmarks/leaning.py --backbone {given.backbone}`",
        "commit": commit(),
        "machine": machine(),
        "seeds": {SYSTEMS[system]: numbers for system, numbers in seeds.items()},
    }
    write_json(place / "leaning.json", {"facts": facts, "found": found})


def shares(run: Path, train: Dataset, masks: Path, contexts: list[str]) -> dict[str, float]:
    """Share of each context that the seeds of each class take, by ``class, context``, over all photographs of it."""
    threshold = read_json(run / "scores.json")["train"]["seeds"]["used"]["threshold"]
    taken: dict[str, list[tuple[int, int]]] = {}
    for name, tags in zip(train.names, train.labels, strict=True):
        maps = load_seeds(run / "seeds" / "train" / f"{file_stem(name)}.npz")
        mask = to_mask(upsample(maps), maps.classes, threshold)
        context = np.asarray(Image.open(masks / f"{name}.png"))
        for k in np.flatnonzero(tags):
            for j, title in enumerate(contexts, start=1):
                pixels = int((context == j).sum())
                if pixels:
                    pair = f"{train.classes[k]}, {title}"
                    taken.setdefault(pair, []).append((int((mask[context == j] == k + 1).sum()), pixels))
    return {
        pair: sum(part for part, _ in counts) / sum(whole for _, whole in counts)
        for pair, counts in taken.items()
        if len(counts) >= AT_LEAST
    }


def _runs(folder: Path, system: str) -> list[Path]:
    """One run folder of a system a seed: the newest of those that belong to a finished row."""
    found = []
    for seed in sorted(folder.iterdir()):
        runs = [
            path.parent for path in seed.glob("*/study.json") if read_json(path.parent / "run.json")["recipe"] == system
        ]
        if runs:
            found.append(max(runs, key=lambda run: (run / "study.json").stat().st_mtime))
    return found


if __name__ == "__main__":
    main()
