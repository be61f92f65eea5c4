"""The studies on the MSRC photographs, in a protocol that is affordable on two CPU cores.

    python benchmarks/studies.py --data voc:PATH --weights PATH --out runs/studies localisation ablation

Runs are kept in OUT and shared between studies; tables, numbers and images are copied to ``benchmarks/msrc/``. The
script can be stopped and restarted at any time, and several processes can work in one OUT.

The protocol has a smaller backbone and crop than the recipes, half their minimum number of training steps and three of
their four scales. It is the same for every row; nothing was chosen on train or val, which are reported. Everything is
computed in float32; in the tables recorded when precision could be set for seeds alone (``seeds.precision=bf16``), maps
were computed in bf16.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from deft.studies import STUDIES, StudyRunner
from deft.studies.activation import activation
from deft.studies.probe import ProbeSettings

PROTOCOL = (
    "classifier.crop=0.7",
    "classifier.plan.min_steps=180",
    "seeds.scales=(0.5, 1.0, 1.5)",
)
REFINED = ("refine.crop=0.7", "refine.plan.min_steps=60")
NETWORK = ("segment.plan.min_steps=180",)
BEYOND = {"masks": REFINED, "context": REFINED, "bias": REFINED, "segmentation": REFINED + NETWORK}
"""Settings of the stages after the seeds, for the studies that run them."""
CHOSEN = ("irn:refine.labels.fg=0.75", "irn:refine.labels.bg=0.45", "irn:refine.background=0.63")
"""For the studies named ``_chosen``: the best of a few thresholds for `irn` on the photographs of `test`.

`irn_deft` had 0.22 for its seeds, also chosen there, and IRN's published thresholds after them. Recipes now choose
their own.
"""
PROBE = ProbeSettings(images=60, points=10)


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument(
        "studies", nargs="+", choices=[*sorted(STUDIES), "masks_chosen", "segmentation_chosen", "context_chosen"]
    )
    reader.add_argument("--data", required=True)
    reader.add_argument("--weights", required=True)
    reader.add_argument("--out", type=Path, default=Path("runs/studies"))
    reader.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    reader.add_argument("--systems", nargs="+", default=[])
    reader.add_argument("--set", action="append", default=[])
    given = reader.parse_args()
    for name in given.studies:
        study = name.removesuffix("_chosen")
        settings = (*PROTOCOL, *BEYOND.get(study, ()), *(CHOSEN if study != name else ()), *given.set)
        runner = StudyRunner(
            data=given.data,
            out=given.out,
            seeds=tuple(given.seeds),
            settings=(*settings, f"weights={given.weights}"),
            systems=tuple(given.systems),
            command=f"python benchmarks/studies.py {name} {' '.join(given.systems and ['--systems', *given.systems])}",
        )
        outcome = activation(runner, PROBE) if name == "activation" else STUDIES[study](runner)
        if study != name:
            outcome = replace(outcome, name=name, title=f"{outcome.title}, thresholds chosen on other photographs")
        runner.publish(outcome)
        keep(given.out, name)


def keep(out: Path, name: str) -> None:
    """Copy a study's files to ``benchmarks/msrc/``, except its example photographs, which belong to others."""
    place = Path(__file__).parent / "msrc"
    place.mkdir(exist_ok=True)
    for path in out.glob(f"{name}[.-]*"):
        if path.suffix == ".md":
            lines = [line for line in path.read_text().splitlines() if f"]({name}-examples" not in line]
            (place / path.name).write_text("\n".join(lines) + "\n")
        elif path.suffix in (".json", ".png") and not path.stem.endswith("-examples"):
            shutil.copyfile(path, place / path.name)


if __name__ == "__main__":
    main()
