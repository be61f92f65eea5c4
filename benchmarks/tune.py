"""How much mIoU thresholds lose that are chosen on 0, 3, 5, 10, 20 and 50 drawn masks: alone, and blended with `auto`.

    python benchmarks/tune.py RUN [RUN ...] [--out benchmarks/tune.md]

RUN is a finished run whose training images have masks. As often as ``--samples`` says, masks are drawn at random for
the choice, and what is lost is counted on all other images: the mIoU at their best threshold less the mIoU at the
chosen one. Fewer than five masks are refused by ``deft tune``; three are here to show why.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.runner.recorded import reopen
from deft.runner.tune import PRIOR, Drawn, blend, count
from deft.studies.origin import commit, machine, versions
from deft.thresholds import needed

MASKS = (0, 3, 5, 10, 20, 50)
WAYS = ("auto alone", "masks alone", f"both, auto as {PRIOR} masks")


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("runs", nargs="+", type=Path)
    reader.add_argument("--samples", type=int, default=100)
    reader.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    given = reader.parse_args()
    lines = ["# Thresholds tuned on a few drawn masks", "", (__doc__ or "").split("\n\n")[2].replace("\n", " "), ""]
    lines += [
        f"- command: `python benchmarks/tune.py RUN ...` with {len(given.runs)} runs, {given.samples} samples each"
    ]
    lines += [f"- commit: {commit()}", f"- machine: {machine()}", f"- versions: {versions()}", ""]
    everything: dict[str, list[NDArray[np.float64]]] = {}
    for folder in given.runs:
        for maps, drawn, auto in opened(folder):
            losses = lost(drawn, auto, given.samples)
            everything.setdefault(maps, []).append(losses)
            lines += table(f"{described(folder)}, {maps}", losses)
    for maps, several in everything.items():
        if len(several) > 1:
            lines += table(f"Mean of all {len(several)}, {maps}", np.mean(several, axis=0))
    given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def described(folder: Path) -> str:
    """Recipe and backbone of a run."""
    run = reopen(folder)
    try:
        return f"`{folder.name.split('-')[0]}`, {run.pipeline.backbone}, seed {run.pipeline.seed}"
    finally:
        run.out.close()


def opened(folder: Path) -> list[tuple[str, Drawn, float]]:
    """Seeds and, where there is a refiner, refined maps of a run: name, counts by image, threshold without masks."""
    run = reopen(folder)
    try:
        indices = [int(index) for index in np.flatnonzero(run.train.scored)]
        own = dict.fromkeys(indices)
        stages = ["seeds"] if run.pipeline.refine is None else ["seeds", "refined"]
        paths: dict[str, Sequence[Path]] = {"seeds": run.files("seeds", run.train, ".npz", "train")}
        paths["refined"] = run.map_files()
        return [
            (
                stage,
                count(run.train, paths[stage], indices, own),
                needed(run.cuts(stage).choice, stage).threshold,
            )
            for stage in stages
        ]
    finally:
        run.out.close()


def lost(drawn: Drawn, auto: float, samples: int) -> NDArray[np.float64]:
    """Points lost on the other images: (numbers of masks, ways, samples)."""
    rng = np.random.default_rng(0)
    images = len(drawn.counts)
    found = np.full((len(MASKS), len(WAYS), samples), np.nan)
    for row, masks in enumerate(MASKS):
        for sample in range(samples):
            order = rng.permutation(images)
            seen, others = order[:masks], order[masks:]
            truth = 100 * drawn.curve(others)
            chosen = [auto]
            if masks:
                curve = drawn.curve(seen)
                chosen += [float(np.nanargmax(curve)) / 100, blend(curve, auto, masks)]
            steps = [min(99, max(0, round(100 * at))) for at in chosen]
            found[row, : len(steps), sample] = np.nanmax(truth) - truth[steps]
    return found


def table(title: str, losses: NDArray[np.float64]) -> list[str]:
    """Mean ± deviation over samples."""
    lines = [f"## {title}", "", "| masks | " + " | ".join(WAYS) + " |", "|---|" + "---|" * len(WAYS)]
    for masks, ways in zip(MASKS, losses, strict=True):
        cells = ["–" if np.isnan(way).all() else f"{way.mean():.1f} ± {way.std(ddof=1):.1f}" for way in ways]
        lines.append(f"| {masks} | " + " | ".join(cells) + " |")
    return [*lines, ""]


if __name__ == "__main__":
    main()
