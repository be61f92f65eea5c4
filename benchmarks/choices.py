"""How DEFT's defaults were chosen: on photographs of MSRC's `test`, which no table reports.

    python benchmarks/choices.py --data PATH --weights PATH [--variants NAME ...] [--seeds 0 1 2]

Two roles. *held out*: trained on `train`, maps of `test`. *own*: trained on the 99 photographs of `test`, maps of the
same, as the seeds of a training split are. Maps are of the images' own tags, three scales and their mirrors, read in
bf16, at the best threshold. Results are kept in ``benchmarks/choices.json``; what is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from deft.artifacts import write_json
from deft.backbone import build_backbone
from deft.classify.classifier import Classifier, ClassifierNetwork
from deft.classify.deft import DeftHead, DeftModule
from deft.classify.linear import LinearHead
from deft.classify.readings import Eq7, Eq7Relu, ObjectMap, Reading
from deft.contracts import Dataset
from deft.data import open_data
from deft.data.examples import TaggedImages, typical_side
from deft.data.transforms import TrainCrop
from deft.engine.fit import fit
from deft.engine.head import Head
from deft.engine.plan import Plan
from deft.metrics import ThresholdSweep
from deft.seedmaps import upsample
from deft.seeds.cam import Cam
from studies import names_of, relisted

SMALL = DeftHead(maps=64)
VARIANTS: dict[str, Head] = {
    "plain CAM": LinearHead(),
    "DEFT": DeftHead(),
    "DEFT, no swap": DeftHead(swap_background_weight=0.0, swap_object_weight=0.0),
    "DEFT, attention rate 1": DeftHead(attention_rate=1.0),
    "M = 64": SMALL,
    "M = 64, no swap": replace(SMALL, swap_background_weight=0.0, swap_object_weight=0.0),
    "M = 64, attention rate 0.01": replace(SMALL, attention_rate=0.01),
    "M = 64, weights 1": replace(SMALL, object_as_background=1.0, background_as_object=1.0, background_weight=1.0),
    "M = 64, weights 0.1": replace(SMALL, object_as_background=0.1, background_as_object=0.1, background_weight=0.1),
    "M = 64, weights 1, 0.3, 1": replace(SMALL, object_as_background=1.0, background_weight=1.0),
    "M = 64, weights 1, 0.1, 0.3": replace(SMALL, object_as_background=1.0, background_as_object=0.1),
}
"""The weights are of f_bg(z_fg), f_fg(z_bg) and f_bg(z_bg)."""
READINGS: dict[str, Reading] = {"eq7": Eq7(), "eq7_relu": Eq7Relu(), "fg": ObjectMap()}
PLAN = Plan(epochs=10, min_steps=180, batch=16, workers=0)
MAPS = Cam(scales=(0.5, 1.0, 1.5))
Record = dict[str, list[float]]


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", type=Path, required=True)
    reader.add_argument("--weights", required=True)
    reader.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    reader.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    reader.add_argument("--roles", nargs="+", choices=["held out", "own"], default=["held out"])
    given = reader.parse_args()
    place = Path(__file__).with_suffix(".json")
    with tempfile.TemporaryDirectory() as folder:
        lists = {split: names_of(given.data, other) for split, other in (("train", "train"), ("val", "test"))}
        splits = open_data(f"voc:{relisted(given.data, Path(folder), **lists)}")
        assert splits.val is not None
        for role in given.roles:
            for seed in given.seeds:
                for name in given.variants:
                    known: dict[str, Record] = json.loads(place.read_text()) if place.exists() else {}
                    key = f"{name} | {role} | {seed}"
                    if key not in known:
                        train = splits.train if role == "held out" else splits.val
                        known[key] = score(learn(VARIANTS[name], train, given.weights, seed), splits.val)
                        write_json(place, known)
                    write(known, place.with_suffix(".md"))


def learn(head: Head, train: Dataset, weights: str, seed: int) -> ClassifierNetwork:
    """A classifier, trained on the protocol of ``benchmarks/studies.py`` for DEFT's 10 epochs, whatever the head."""
    settings = Classifier(head=head, plan=PLAN, crop=0.7)
    torch.manual_seed(seed)
    backbone = build_backbone("mobilenetv2_100", weights, 16)
    network = settings.build(backbone, len(train.classes))
    pixels, long_side = settings.pixels(typical_side(train))
    examples = TaggedImages(train, TrainCrop(pixels, long_side=long_side), backbone.fill)
    with tempfile.TemporaryDirectory() as folder:
        fit(network, examples, PLAN, folder=Path(folder), seed=seed)
    return network


def score(network: ClassifierNetwork, data: Dataset) -> Record:
    """Best mIoU and its threshold of each reading."""
    found: Record = {}
    head = network.head
    for name in READINGS if isinstance(head, DeftModule) else ("fg",):
        if isinstance(head, DeftModule):
            head.settings = replace(head.settings, map=READINGS[name])
        total = ThresholdSweep(len(data.classes))
        for index in range(len(data)):
            sample = data[index]
            seeds = MAPS(network, sample.image, sample.labels, "bf16-mixed")
            assert sample.mask is not None
            total.update(upsample(seeds).numpy(), seeds.classes, sample.mask)
        threshold, miou = total.best()
        found[name] = [round(miou, 4), threshold]
    return found


def write(known: dict[str, Record], path: Path) -> None:
    """The table of what is known."""
    lines = ["# How DEFT's defaults were chosen", "", (__doc__ or "").split("\n\n", 2)[2].strip(), ""]
    lines += ["mIoU in per cent, a figure a seed; the variants of one row differ in nothing else.", ""]
    lines += [
        "| variant | role | " + " | ".join(f"`{name}`" for name in READINGS) + " | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for role in ("held out", "own"):
        for name in VARIANTS:
            runs = {key.rsplit(" | ", 1)[1]: run for key, run in known.items() if key.startswith(f"{name} | {role} | ")}
            if not runs:
                continue
            cells = []
            for reading in READINGS:
                values = [100 * runs[seed][reading][0] for seed in sorted(runs) if reading in runs[seed]]
                each = ", ".join(f"{value:.1f}" for value in values)
                cells.append(f"{each} (mean {statistics.fmean(values):.1f})" if len(values) > 1 else each or "–")
            lines.append(f"| {name} | {role} | " + " | ".join(cells) + f" | {', '.join(sorted(runs))} |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
