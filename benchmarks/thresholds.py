"""Which thresholds behind the seeds suit `irn` and `irn_deft`: tried on MSRC's `test`, which no table reports.

    python benchmarks/thresholds.py --data PATH --weights PATH --out runs/thresholds

The 99 photographs are learned from and scored, one seed, on the protocol of ``benchmarks/studies.py``. Writes
``benchmarks/thresholds.md``; runs that are there are not made again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from studies import PROTOCOL, REFINED

from deft.artifacts import read_json
from deft.studies import STUDIES, Laboratory

TRIED = (("irn", 0.6, 0.3), ("irn", 0.75, 0.45), ("irn_deft", 0.3, 0.05), ("irn_deft", 0.5, 0.15))
"""System, and its confident labels' thresholds for objects and for background."""


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", type=Path, required=True)
    reader.add_argument("--weights", required=True)
    reader.add_argument("--out", type=Path, default=Path("runs/thresholds"))
    given = reader.parse_args()
    lines = ["# Thresholds behind the seeds", "", (__doc__ or "").split("\n\n")[2], ""]
    lines += ["| system | labels, object | labels, background | masks, best background | mIoU | its seeds, best |"]
    lines += ["|---|---|---|---|---|---|"]
    data = selection(given.data, given.out / "photographs")
    for system, fg, bg in TRIED:
        labels = (f"refine.labels.fg={fg}", f"refine.labels.bg={bg}", f"weights={given.weights}")
        STUDIES["masks"](Laboratory(f"voc:{data}", given.out, (0,), (*PROTOCOL, *REFINED, *labels), (system,)))
        found = read_json(given.out / "masks.json")["found"][system]["seeds"]["0"]
        masks, seeds = found["masks train, swept"], found["their seeds train, swept"]
        best = found["best threshold"]
        lines.append(f"| {system} | {fg:.2f} | {bg:.2f} | {best:.2f} | {100 * masks:.1f} | {100 * seeds:.1f} |")
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def selection(data: Path, folder: Path) -> Path:
    """The same photographs with `test` in the place of `train`, and none held out."""
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True, exist_ok=True)
    for item in data.iterdir():
        if item.name != "ImageSets" and not (folder / item.name).exists():
            (folder / item.name).symlink_to(item.resolve())
    (lists / "train.txt").write_text((data / "ImageSets" / "Segmentation" / "test.txt").read_text())
    return folder


if __name__ == "__main__":
    main()
