"""How many wrong tags are found: tags of MSRC are flipped, and the most doubtful ones are looked at.

    python benchmarks/doubtful.py --data voc:PATH --weights FOLDER --backbone mobilenetv2_100 tf_efficientnet_lite0

A share of the number of tags is flipped: half of the flips remove a tag, half add one. With n flips, *found* is the
share of them among the first n doubts, which is the precision of these too; *found in twice as many* is the share
among the first 2 n. Means over random draws of the flips. Features are those of the pretrained network, as in a run.

For comparison, ``--trained`` trains a classifier on the flipped tags in the protocol of ``studies.py``, for each of
``--seeds``, and ranks the tags by its own probabilities and by the features that it has learned.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import load_seeds, read_json, write_json
from deft.backbone import build_backbone
from deft.contracts import Splits
from deft.data import open_data
from deft.evaluate.doubtful import pooled_features
from deft.metrics.left_out import doubts, left_out_predictions
from deft.runner.run import working
from deft.settings import assign
from deft.studies.origin import commit, machine
from deft.studies.rows import recipe
from studies import PROTOCOL

HERE = Path(__file__).parent
DRAWS = 20
Flags = NDArray[np.bool_]


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", required=True, help="voc:PATH of MSRC")
    reader.add_argument("--weights", required=True, help="folder of the backbones' weights")
    reader.add_argument("--backbone", nargs="+", default=["mobilenetv2_100", "tf_efficientnet_lite0"])
    reader.add_argument("--share", type=float, nargs="+", default=[0.02, 0.05, 0.1])
    reader.add_argument("--trained", action="store_true")
    reader.add_argument("--seeds", type=int, nargs="+", default=[0])
    reader.add_argument("--out", type=Path, default=Path("runs/doubtful"), help="where classifiers are trained")
    given = reader.parse_args()
    splits = open_data(given.data)
    path = HERE / "doubtful.json"
    known: dict[str, Any] = read_json(path) if path.exists() else {"found": {}}
    labels = splits.train.labels
    known["facts"] = {
        "command": "`python benchmarks/doubtful.py`, and with `--backbone mobilenetv2_100 --share 0.05 --trained`",
        "commit": commit(),
        "machine": machine(),
        "images, tags": [len(labels), int(labels.sum())],
        "draws": DRAWS,
    }
    for name in given.backbone:
        backbone = build_backbone(name, given.weights).eval()
        features = pooled_features(splits.train, backbone, range(len(splits.train)))
        for share in given.share:
            scored = []
            for draw in range(DRAWS):
                flipped, wrong = flip(labels, share, draw)
                scored.append(found(doubts(left_out_predictions(features, flipped), flipped), flipped, wrong))
            keep(known, path, f"{name}, {share:.0%} flipped, pretrained features", scored)
        clean = doubts(left_out_predictions(features, labels), labels)
        known["found"][f"{name}, none flipped"] = {"doubted": int((clean > 0).sum())}
        if given.trained:
            for kind, one in trained(splits, given, name).items():
                keep(known, path, f"{name}, 5% flipped, {kind}", one)
    write_json(path, known)
    path.with_suffix(".md").write_text(page(known))


def flip(labels: Flags, share: float, draw: int) -> tuple[Flags, Flags]:
    """Labels (N, K) of which some are wrong, and which."""
    rng = np.random.default_rng(draw)
    count = round(share * int(labels.sum()))
    present, absent = np.argwhere(labels), np.argwhere(~labels)
    removed = present[rng.choice(len(present), count // 2, replace=False)]
    added = absent[rng.choice(len(absent), count - count // 2, replace=False)]
    wrong = np.zeros_like(labels)
    wrong[tuple(np.concatenate([removed, added]).T)] = True
    return labels ^ wrong, wrong


def found(doubt: NDArray[np.float64], labels: Flags, wrong: Flags) -> dict[str, float]:
    """What a look at the first doubts finds."""
    count = int(wrong.sum())
    order = np.argsort(-doubt, axis=None, kind="stable")
    hits, given = wrong.ravel()[order], labels.ravel()[order]
    twice = slice(0, 2 * count)
    return {
        "found": float(hits[:count].mean()),
        "found in twice as many": float(hits[twice].sum()) / count,
        "of the missing, in twice as many": float(hits[twice][~given[twice]].sum()) / int((wrong & ~labels).sum()),
        "of the wrong, in twice as many": float(hits[twice][given[twice]].sum()) / int((wrong & labels).sum()),
    }


def trained(splits: Splits, given: argparse.Namespace, backbone: str) -> dict[str, list[dict[str, float]]]:
    """The same with a classifier that was trained on the flipped tags, for each seed."""
    scored: dict[str, list[dict[str, float]]] = {"the classifier's probabilities": [], "trained features": []}
    for seed in given.seeds:
        flipped, wrong = flip(splits.train.labels, 0.05, seed)
        settings = [
            f"backbone={backbone}",
            f"weights={given.weights}",
            *PROTOCOL,
            "seeds.scales=(1.0,)",
            f"seed={seed}",
        ]
        pipeline = assign(replace(recipe("cam"), segment=None), settings)
        data = Splits(replace(splits.train, labels=flipped), None)  # type: ignore[type-var]
        with working(pipeline, data, given.out / f"{backbone}-{seed}") as run:
            maps = run.files("seeds", run.train, ".npz", "train")
            probability = np.array([load_seeds(file).scores for file in maps])
            own = np.where(flipped, 1 - probability, probability)
            features = pooled_features(run.train, run.trained_classifier().backbone, range(len(run.train)))
        scored["the classifier's probabilities"].append(found(own, flipped, wrong))
        doubt = doubts(left_out_predictions(features, flipped), flipped)
        scored["trained features"].append(found(doubt, flipped, wrong))
    return scored


def keep(known: dict[str, Any], path: Path, name: str, scored: list[dict[str, float]]) -> None:
    """Store the means and deviations over draws."""
    known["found"][name] = {
        what: [statistics.fmean(one[what] for one in scored), statistics.pstdev(one[what] for one in scored)]
        for what in scored[0]
    } | {"runs": len(scored)}
    write_json(path, known)
    print(
        name, {what: round(value[0], 2) for what, value in known["found"][name].items() if what != "runs"}, flush=True
    )


def page(known: dict[str, Any]) -> str:
    """The table in Markdown."""
    rows = {name: one for name, one in known["found"].items() if "runs" in one}
    whats = [what for what in next(iter(rows.values())) if what != "runs"]
    lines = ["# Wrong tags that are found", "", *(f"- {name}: {value}" for name, value in known["facts"].items()), ""]
    lines += [f"| network, flips, ranked by | runs | {' | '.join(whats)} |", "|---" * (len(whats) + 2) + "|"]
    for name, one in rows.items():
        spread = "" if one["runs"] == 1 else " ± {:.0f}"
        cells = [f"{100 * one[what][0]:.0f}{spread.format(100 * one[what][1])} %" for what in whats]
        lines.append(f"| {name} | {one['runs']} | {' | '.join(cells)} |")
    lines.append("")
    for name, one in known["found"].items():
        if "doubted" in one:
            lines.append(f"{name}: {one['doubted']} tags are doubted.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
