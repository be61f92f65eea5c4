"""How the maps of DEFT's classifiers are best read: every reading of Eq. 7 on the same classifiers.

    python benchmarks/readings.py --data voc:PATH --runs runs/mobilenetv2_100/runs/0/irn-* ... --out benchmarks/readings

Each run is one of ``benchmarks/studies.py`` (or of ``deft run``) with the head of DEFT, or with plain CAM. Maps of the
training images and of the held-out ones are read in every way; each is scored at the best threshold, at the one chosen
without masks (*auto*) and at Otsu's. A second table shows why the readings differ: what share of the cells of objects
and of background have a negative background score.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deft.artifacts import read_json
from deft.backbone import Backbone
from deft.classify.classifier import load_classifier
from deft.classify.deft import DeftModule
from deft.classify.linear import LinearModule
from deft.contracts import Dataset, SeedMaps
from deft.data import open_data
from deft.engine.head import HeadModule, normalise
from deft.metrics import ThresholdSweep
from deft.seedmaps import STRIDE, upsample
from deft.seeds.cam import Cam
from deft.settings import restore
from deft.studies.origin import commit, machine
from deft.thresholds import MapStatistics, best_of

Sums = dict[str, Tensor]
"""Sums over the views of an image, (K, h, w): ``fg`` and ``bg`` with their signs, their positive parts ``fg+`` and
``bg+``, and the negative part of the background ``bg-``."""


class Recording(HeadModule):
    """A trained head whose maps are kept as sums of everything that any reading needs."""

    def __init__(self, head: DeftModule | LinearModule) -> None:
        super().__init__()
        self.head = head
        self.kept: Tensor | None = None

    def logits(self, features: Tensor) -> Tensor:
        """Those of the head."""
        return self.head.logits(features)

    def activation(self, features: Tensor) -> Tensor:
        """Both parts of both scores, or of the one of a plain head: (N, 4, K, h, w) or (N, 2, K, h, w)."""
        if isinstance(self.head, LinearModule):
            scores = [self.head.classifier(features)]
        else:
            scores = [F.conv2d(features, one.weight[:, :, None, None]) for one in (self.head.f_fg, self.head.f_bg)]
        return torch.stack([part for one in scores for part in (one.relu(), (-one).relu())], dim=1)

    def combine(self, activation: Tensor) -> Tensor:
        """The object map; the summed activation is kept."""
        self.kept = activation
        return normalise(activation[0])


@dataclass
class Recorded:
    """A trained classifier with such a head, for :class:`deft.seeds.cam.Cam`."""

    backbone: Backbone
    head: HeadModule


def stretched(maps: Tensor) -> Tensor:
    """Min-max normalised."""
    return normalise(maps - maps.amin(dim=(1, 2), keepdim=True))


def rectified_background(sums: Sums) -> Tensor:
    return 1 - normalise(sums["bg+"])


READINGS: dict[str, Callable[[Sums], Tensor]] = {
    "f_fg, positive part in each view (`ObjectMap`)": lambda s: normalise(s["fg+"]),
    "f_fg, positive part of the sum": lambda s: normalise(s["fg"].relu()),
    "Eq. 7, rectified (`Eq7Relu`)": lambda s: torch.maximum(normalise(s["fg+"]), rectified_background(s)),
    "Eq. 7, rectified, power 6": lambda s: torch.maximum(normalise(s["fg+"]), rectified_background(s)) ** 6,
    "Eq. 7, stretched, power 1": lambda s: torch.maximum(normalise(s["fg+"]), stretched(-s["bg"])),
    "Eq. 7, stretched, power 2 (`Eq7`, the default)": lambda s: (
        torch.maximum(normalise(s["fg+"]), stretched(-s["bg"])) ** 2
    ),
    "Eq. 7, stretched, power 3": lambda s: torch.maximum(normalise(s["fg+"]), stretched(-s["bg"])) ** 3,
    "f_bg alone, stretched, power 2": lambda s: stretched(-s["bg"]) ** 2,
    "f_bg alone, negative part halved in each view, stretched, power 2": lambda s: (
        stretched(s["bg-"] / 2 - s["bg+"]) ** 2
    ),
    "mean of f_fg (sum, then positive part) and f_bg stretched": lambda s: (
        (normalise(s["fg"].relu()) + stretched(-s["bg"])) / 2
    ),
    "mean of f_bg stretched, and rectified at power 6": lambda s: (
        (stretched(-s["bg"]) + rectified_background(s) ** 6) / 2
    ),
}
PLAIN: dict[str, Callable[[Sums], Tensor]] = {
    "plain CAM, positive part in each view": lambda s: normalise(s["fg+"]),
    "plain CAM, positive part of the sum": lambda s: normalise(s["fg"].relu()),
    "plain CAM, stretched, power 2": lambda s: stretched(s["fg"]) ** 2,
    "plain CAM, stretched, power 3": lambda s: stretched(s["fg"]) ** 3,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--out", type=Path, required=True, help="PATH.json and PATH.md are written; known runs are kept"
    )
    parser.add_argument("--every", type=int, default=1, help="read every n-th image only")
    given = parser.parse_args()
    torch.set_num_threads(1)
    path = given.out.with_suffix(".json")
    known = json.loads(path.read_text()) if path.exists() else {"facts": {}, "found": {}}
    splits = open_data(given.data)
    known["facts"] = {"commit": commit(), "machine": machine(), "every n-th image": given.every}
    for folder in given.runs:
        for part, data in (("train", splits.train), ("held out", splits.val)):
            if data is None:
                continue
            name, found = measure(folder, part, data, given.every)
            known["found"][name] = found
            path.write_text(json.dumps(known, indent=1) + "\n")
            given.out.with_suffix(".md").write_text(page(known))
            print(f"read {name}", flush=True)


def measure(folder: Path, part: str, data: Dataset, every: int) -> tuple[str, dict[str, Any]]:
    """The scores of every reading of one run's classifier on one split, and the signs of its background scores."""
    pipeline = restore(read_json(folder / "run.json")["settings"])
    classifier, cam = pipeline.own_classifier, pipeline.seeds
    assert isinstance(cam, Cam)
    network = load_classifier(folder / "classifier" / "model.safetensors", classifier.head)
    assert isinstance(network.head, DeftModule | LinearModule)
    plain, recording = isinstance(network.head, LinearModule), Recording(network.head).eval()
    recorded = Recorded(network.backbone, recording)
    readings = PLAIN if plain else READINGS
    sweeps = {name: ThresholdSweep(len(data.classes)) for name in readings}
    measured = {name: MapStatistics.empty() for name in readings}
    signs: dict[str, list[float]] = {"object": [], "background": []}
    for index in range(0, len(data), every):
        sample = data[index]
        if sample.mask is None:
            continue
        drawn = cam(recorded, sample.image, sample.labels, pipeline.precision)
        assert recording.kept is not None
        sums = _sums(recording.kept[:, list(drawn.classes)])
        for name, read in readings.items():
            maps = SeedMaps(drawn.classes, read(sums).clamp(0, 1), drawn.size, drawn.scores)
            sweeps[name].update(upsample(maps).numpy(), maps.classes, sample.mask)
            measured[name] = measured[name] + MapStatistics.of(maps, sample.image)
        if not plain:
            truth = sample.mask[::STRIDE, ::STRIDE]
            for row, k in enumerate(drawn.classes):
                negative = (sums["bg"][row] < 0).numpy()
                for side, cells in (("object", truth == k + 1), ("background", truth == 0)):
                    if cells.any():
                        signs[side].append(float(negative[cells].mean()))
    scores: dict[str, dict[str, list[float]]] = {}
    for name in readings:
        best, miou = sweeps[name].best()
        scores[name] = {"best": [best, miou]}
        for criterion in ("both", "Otsu"):
            at = best_of(criterion, measured[name])
            scores[name][criterion] = [at, sweeps[name].at(at).miou()]
    shares = {side: statistics.fmean(values) for side, values in signs.items() if values}
    title = f"{pipeline.backbone}, seed {pipeline.seed}, {'plain CAM' if plain else 'DEFT'}, {part}"
    return title, {"readings": scores, "negative": shares}


def _sums(activation: Tensor) -> Sums:
    """The sums over views, from the summed activation (2, K, h, w) or (4, K, h, w) of :class:`Recording`."""
    fg, not_fg, *rest = activation.unbind()
    sums = {"fg+": fg, "fg": fg - not_fg}
    if rest:
        bg, not_bg = rest
        sums |= {"bg+": bg, "bg-": not_bg, "bg": bg - not_bg}
    return sums


def page(known: dict[str, Any]) -> str:
    """The tables in Markdown."""
    found = known["found"]
    lines = ["# Readings of Eq. 7", "", *(f"- {name}: {value}" for name, value in known["facts"].items()), ""]
    lines += [
        "mIoU in per cent at the best of 100 thresholds, in brackets at the one chosen without masks and at Otsu's. "
        "Every column is one trained classifier, whose maps are read in every way.",
    ]
    for kind in (READINGS, PLAIN):
        columns = [name for name, one in found.items() if kind.keys() == one["readings"].keys()]
        if not columns:
            continue
        lines += ["", "| reading | " + " | ".join(columns) + " | mean |", "|---" * (len(columns) + 2) + "|"]
        for name in kind:
            triples = [
                [100 * found[column]["readings"][name][at][1] for at in ("best", "both", "Otsu")] for column in columns
            ]
            triples.append([statistics.fmean(values) for values in zip(*triples, strict=True)])
            cells = [f"{best:.1f} ({auto:.1f}, {otsu:.1f})" for best, auto, otsu in triples]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    signed = {name: one["negative"] for name, one in found.items() if one["negative"]}
    lines += ["", "Share of the cells in which the sum of w_bg z over the views is negative:", ""]
    lines += ["| classifier and images | cells of the object | cells of the background |", "|---|---|---|"]
    for name, shares in signed.items():
        lines.append(f"| {name} | {100 * shares['object']:.0f} % | {100 * shares['background']:.0f} % |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
