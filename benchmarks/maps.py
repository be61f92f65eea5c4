"""Which of DEFT's maps to read: each reading of Eq. 7 on a split of MSRC that no table reports.

    python benchmarks/maps.py --data MSRC --runs runs/msrc

Reads the classifiers that ``benchmarks/msrc.py`` trained on ``train`` and scores their maps of the images of ``test``,
one scale and its mirror, for the images' own tags, at the best threshold. Writes ``benchmarks/maps.md``.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import torch

from deft.artifacts import read_json
from deft.classify.classifier import load_classifier
from deft.classify.deft import DeftHead
from deft.data.faults import Faults
from deft.data.images import read_image, read_mask
from deft.data.labels import read_label_csv
from deft.data.lists import read_classes, read_names
from deft.metrics import ThresholdSweep
from deft.refine.labels import upsample_seeds
from deft.seeds.cam import Cam
from deft.settings import restore


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", type=Path, required=True)
    reader.add_argument("--runs", type=Path, default=Path("runs/msrc"))
    given = reader.parse_args()
    found: dict[str, list[tuple[float, float]]] = {}
    for folder in sorted([*given.runs.glob("cam-*"), *given.runs.glob("irn_deft-*")]):
        if not (folder / "classifier" / "model.safetensors").exists():
            continue
        head = restore(read_json(folder / "run.json")["settings"]["classifier"]["head"])
        readings = [head]
        if isinstance(head, DeftHead):
            readings = [replace(head, map=name) for name in get_args(get_type_hints(DeftHead)["map"])]
        for reading in readings:
            name = f"DEFT, `{reading.map}`" if isinstance(reading, DeftHead) else "plain CAM"
            found.setdefault(name, []).append(score(folder, reading, given.data))
            print(folder.name, name, found[name][-1], flush=True)
    lines = [
        "# Which of DEFT's maps to read",
        "",
        "`python benchmarks/maps.py --data MSRC`: classifiers of [msrc.md](msrc.md), trained on `train`; maps of the",
        "99 images of `test`, one scale and its mirror. mIoU in per cent at the best threshold, mean ± deviation over",
        "seeds.",
        "",
        "| map | mIoU | best threshold | runs |",
        "|---|---|---|---|",
    ]
    for name, values in found.items():
        scores = [100 * value for _, value in values]
        spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
        threshold = statistics.fmean(threshold for threshold, _ in values)
        lines.append(f"| {name} | {statistics.fmean(scores):.1f} ± {spread:.1f} | {threshold:.2f} | {len(scores)} |")
    (Path(__file__).parent / "maps.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def score(folder: Path, head: object, data: Path) -> tuple[float, float]:
    """Best threshold of one classifier's maps of the split, and the mIoU there."""
    faults = Faults()
    classes = read_classes(data / "classes.txt", faults)
    tags = {row.name: row.tags for row in read_label_csv(data / "image_labels.csv", classes, faults)}
    network = load_classifier(folder / "classifier" / "model.safetensors", head)  # type: ignore[arg-type]
    total, cam = ThresholdSweep(len(classes)), Cam(scales=(1.0,))
    for _, name in read_names(data / "ImageSets" / "Segmentation" / "test.txt", faults):
        labels = np.array([known in tags[name] for known in classes])
        with torch.no_grad():
            seeds = cam(network, read_image(data / "JPEGImages" / f"{name}.jpg"), labels)
        truth = read_mask(data / "SegmentationClass" / f"{name}.png")
        total.update(upsample_seeds(seeds).numpy(), seeds.classes, truth)
    return total.best()


if __name__ == "__main__":
    main()
