"""AdvCAM on a sample of photographs, with and without DEFT: climbing takes half a minute an image and class on a CPU.

    python benchmarks/advcam_sample.py --data voc:PATH --weights FOLDER --backbone mobilenetv2_100 --out runs/studies

The classifiers of `advcam` and `advcam_deft` are trained on all 297 photographs, in the protocol of
``benchmarks/studies.py``. Plain CAM and AdvCAM then read the same classifiers on the same 60 photographs, every fifth
of `train` from the first on, whose names are in the result. Thresholds are chosen from the maps of the 60. Writes
``advcam.json`` to ``benchmarks/msrc/BACKBONE/``; a row that is there is not made again.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from deft.artifacts import read_json, write_json
from deft.contracts import Sample, SeedMaps
from deft.metrics import ThresholdSweep
from deft.metrics.paired import image_counts
from deft.seedmaps import to_mask, upsample
from deft.seeds.advcam import AdvCam
from deft.seeds.cam import Cam
from deft.settings import assign
from deft.studies import StudyRunner
from deft.studies.origin import commit, machine
from deft.studies.rows import recipe, up_to_seeds
from deft.thresholds import MapStatistics, choose, needed
from studies import PROTOCOL

EVERY, MOST = 5, 60
SYSTEMS = ("advcam", "advcam_deft")


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", required=True, help="voc:PATH of MSRC")
    reader.add_argument("--weights", required=True, help="folder of the backbones' weights")
    reader.add_argument("--backbone", default="mobilenetv2_100")
    reader.add_argument("--out", type=Path, default=Path("runs/studies"))
    reader.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = reader.parse_args()
    runner = StudyRunner(given.data, given.out / given.backbone, tuple(given.seeds))
    path = Path(__file__).parent / "msrc" / given.backbone / "advcam.json"
    path.parent.mkdir(exist_ok=True, parents=True)
    known: dict[str, Any] = read_json(path) if path.exists() else {"found": {}}
    train = runner.splits.train
    sample = list(range(0, len(train), EVERY))[:MOST]
    known["facts"] = {
        "command": f"`python benchmarks/advcam_sample.py --backbone {given.backbone}`",
        "commit": commit(),
        "machine": machine(),
        "of": len(train),
        "photographs": [train.names[index] for index in sample],
    }
    write_json(path, known)
    more = [f"backbone={given.backbone}", f"weights={given.weights}", *PROTOCOL]
    for seed in given.seeds:
        for system in SYSTEMS:
            climbing = assign(up_to_seeds(recipe(system)), more)
            assert isinstance(climbing.seeds, AdvCam)
            plain = replace(climbing, seeds=Cam(scales=climbing.seeds.scales))
            for name, method in ((system.replace("advcam", "cam"), plain.seeds), (system, climbing.seeds)):
                if str(seed) in known["found"].get(name, {}):
                    continue
                with runner.run(f"{system}_classifier", plain, seed) as run:
                    locate = method.prepare(run.context(run.stored("classifier")))
                    scored = score([train[index] for index in sample], locate, len(train.classes))
                known["found"].setdefault(name, {})[str(seed)] = scored
                write_json(path, known)
                print(
                    f"{name}, seed {seed}: auto {100 * scored['auto']:.1f}, swept {100 * scored['swept']:.1f}",
                    flush=True,
                )


def score(samples: list[Sample], locate: Any, classes: int) -> dict[str, Any]:
    """Scores of the maps of a sample at the chosen and at the best threshold, and the counts of each image."""
    sweep, statistics, maps = ThresholdSweep(classes), MapStatistics.empty(), []
    begun = time.monotonic()
    for sample in samples:
        found: SeedMaps = locate(sample)
        maps.append(found)
        statistics = statistics + MapStatistics.of(found, sample.image)
        if sample.mask is not None:
            sweep.update(upsample(found).numpy(), found.classes, sample.mask)
    seconds = time.monotonic() - begun
    cut = needed(choose(statistics), "the threshold").threshold
    best, swept = sweep.best()
    counts = {}
    for sample, found in zip(samples, maps, strict=True):
        if sample.mask is not None:
            one = image_counts(to_mask(upsample(found), found.classes, cut), sample.mask, classes)
            counts[sample.name] = {str(k): [int(a), int(b)] for k, (a, b) in enumerate(one) if b}
    return {
        "auto": sweep.at(cut).miou(),
        "threshold": cut,
        "swept": swept,
        "best threshold": best,
        "seconds an image": seconds / len(samples),
        "counted": counts,
    }


if __name__ == "__main__":
    main()
