"""Plain CAM, IRN and IRN with DEFT on the MSRC photographs: scores and seconds over several seeds.

    python benchmarks/msrc.py --data voc:PATH --weights PATH --out runs/msrc

Writes ``benchmarks/msrc.md`` and ``msrc.json``. Runs that are finished are not made again, so it can be stopped and
started at will, and several processes can take a system or a seed each. The systems of one seed share what is equal:
``irn`` takes over the classifier and seeds of ``cam``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from deft.pipeline import run
from deft.recipes import RECIPES
from deft.settings import assign

SYSTEMS = ("cam", "irn", "irn_deft")
BACKBONE = "mobilenetv2_100"
CROPS = ("classifier.crop=0.7", "refine.crop=0.7")
"""224 pixels of images of 320: what two cores train in minutes. All else is the recipes' defaults."""
SETTINGS = {"cam": CROPS[:1], "irn": CROPS, "irn_deft": CROPS}

COLUMNS: dict[str, tuple[str, ...]] = {
    "seeds train, fixed": ("train", "seeds", "fixed", "miou"),
    "seeds train, swept": ("train", "seeds", "swept", "miou"),
    "best threshold": ("train", "seeds", "swept", "threshold"),
    "seeds val, train's threshold": ("val", "seeds", "chosen on train", "miou"),
    "seeds val, swept": ("val", "seeds", "swept", "miou"),
    "masks train, fixed": ("train", "masks", "fixed", "miou"),
    "masks train, swept": ("train", "masks", "swept", "miou"),
    "network val": ("val", "segmentation", "miou"),
    "tags val, mAP": ("val", "tags", "map"),
}
STAGES = ("classifier", "seeds", "refine", "refined", "masks", "segment", "predictions")


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", required=True)
    reader.add_argument("--weights", required=True)
    reader.add_argument("--out", type=Path, default=Path("runs/msrc"))
    reader.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    reader.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    reader.add_argument("--reuse", type=Path, nargs="*", default=[], help="runs to take equal stages over from")
    given = reader.parse_args()
    for seed in given.seeds:
        for name in given.systems:
            pipeline = assign(
                replace(RECIPES[name](), backbone=BACKBONE, weights=given.weights, seed=seed), SETTINGS[name]
            )
            reuse = [*given.reuse, *([given.out / f"cam-{seed}"] if name != "cam" else [])]
            run(pipeline, given.data, given.out / f"{name}-{seed}", reuse, name)
            write(given.out, Path(__file__).parent)


def write(out: Path, place: Path) -> None:
    """Write the tables of the runs there are."""
    found = {name: sorted(out.glob(f"{name}-[0-9]*/scores.json")) for name in SYSTEMS}
    scores = {name: [json.loads(path.read_text()) for path in paths] for name, paths in found.items() if paths}
    seconds = {
        name: [{stage: _seconds(path.parent, stage) for stage in STAGES} for path in found[name]] for name in scores
    }
    classes = next(iter(scores.values()))[0]["classes"]
    lines = [
        "# MSRC: tags to masks on real photographs",
        "",
        f"`python benchmarks/msrc.py --data voc:MSRC --weights WEIGHTS` at commit `{_commit()}`, "
        f"{BACKBONE} with ImageNet weights, {' '.join('--set ' + item for item in CROPS)}, "
        f"{os.cpu_count()} cores of {_processor()}, Python {platform.python_version()}.",
        "",
        "mIoU over 17 classes (background included), per cent, one confusion matrix a split, mean ± standard deviation "
        "over seeds. *Fixed* is the recipe's threshold; *swept* is the best of 100 chosen on the truth that is scored; "
        "*train's threshold* is the swept one of train, used on val. Seeds are of the image's own tags.",
        "",
        "| system | runs | " + " | ".join(COLUMNS) + " |",
        "|---|---|" + "---|" * len(COLUMNS),
    ]
    for name, runs in scores.items():
        cells = [_cell([_at(run, keys) for run in runs], title) for title, keys in COLUMNS.items()]
        lines.append(f"| `{name}` | {len(runs)} | " + " | ".join(cells) + " |")
    lines += ["", "## Seconds of each stage", "", "Median over the runs, each on one thread beside other work.", ""]
    lines += ["| system | " + " | ".join(STAGES) + " | sum |", "|---|" + "---|" * (len(STAGES) + 1)]
    for name, rows in seconds.items():
        cells = [f"{statistics.median(row[stage] for row in rows):.0f}" for stage in STAGES]
        total = sum(statistics.median(row[stage] for row in rows) for stage in STAGES)
        lines.append(f"| `{name}` | " + " | ".join(cells) + f" | {total:.0f} |")
    lines += ["", "## IoU of each class: seeds of train, swept", ""]
    lines += ["| class | " + " | ".join(f"`{name}`" for name in scores) + " |", "|---|" + "---|" * len(scores)]
    for value, title in enumerate(["background", *classes]):
        cells = [_cell([run["train"]["seeds"]["swept"]["iou"][value] for run in runs]) for runs in scores.values()]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    (place / "msrc.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    flat = {
        name: [{title: _at(run, keys) for title, keys in COLUMNS.items()} | {"seconds": spent} for run, spent in pairs]
        for name, pairs in ((name, list(zip(scores[name], seconds[name], strict=True))) for name in scores)
    }
    (place / "msrc.json").write_text(json.dumps(flat, indent=1) + "\n", encoding="utf-8")


def _cell(values: list[float | None], title: str = "") -> str:
    known = [value for value in values if value is not None and not math.isnan(value)]
    if not known:
        return "–"
    scale, digits = (1.0, 2) if title == "best threshold" else (100.0, 1)
    spread = statistics.stdev(known) if len(known) > 1 else 0.0
    return f"{scale * statistics.fmean(known):.{digits}f} ± {scale * spread:.{digits}f}"


def _at(value: Any, keys: tuple[str, ...]) -> float | None:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return None if value is None else float(value)


def _seconds(folder: Path, stage: str) -> float:
    record = folder / stage / "stage.json"
    return float(json.loads(record.read_text())["seconds"]) if record.exists() else 0.0


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
