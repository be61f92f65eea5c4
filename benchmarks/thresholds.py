"""What thresholds chosen without masks lose: the study `thresholds` on MSRC, and on `demo:`.

    python benchmarks/thresholds.py msrc --data voc:PATH --weights PATH [--backbone tf_efficientnet_lite0]
    python benchmarks/thresholds.py demo

MSRC has the protocol of ``benchmarks/studies.py``. On `demo:` the
classifiers are those of the recipes `demo_cam` and `demo`, and what stands behind them is that of each system. Runs are
kept in OUT and shared with other studies there; tables and numbers are copied to ``benchmarks/thresholds/``. It can be
stopped and started at will.

The criterion was chosen on other runs: MSRC's `test` photographs, learned from and scored alike (seeds 10 and 11), and
`demo:seed=10` (seed 10). ``--choice`` makes those, with ``--set`` for variants, and copies nothing; what came out is in
``benchmarks/thresholds/choice.md``, with how far the choice was blind.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from deft.augment import Cutout
from deft.recipes import amn, demo, demo_cam
from deft.refine.irn import Irn
from deft.refine.psa import Psa
from deft.studies import Row, StudyRunner
from deft.studies.rows import system_rows
from deft.studies.thresholds import SYSTEMS, thresholds
from studies import PIXELS, PROTOCOL, REFINED, test_as_train

MSRC = (*PROTOCOL, *REFINED)
LOCALISER = tuple(f"amn:{item}" for item in PIXELS)

DEMO = ("seeds.scales=(0.5, 1.0, 1.5, 2.0)",)
"""One scale more than the demo has."""


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("what", choices=["msrc", "demo"])
    reader.add_argument("--data", help="voc:PATH of MSRC")
    reader.add_argument("--weights")
    reader.add_argument("--backbone", default="mobilenetv2_100")
    reader.add_argument("--out", type=Path, default=Path("runs/thresholds"))
    reader.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    reader.add_argument("--choice", action="store_true", help="the data that the criterion was chosen on")
    reader.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    reader.add_argument("--systems", nargs="+", default=list(SYSTEMS))
    given = reader.parse_args()
    if given.what == "msrc" and not (given.data and given.weights):
        reader.error("msrc needs --data and --weights")
    localiser = LOCALISER if "amn" in given.systems else ()
    network = (f"backbone={given.backbone}", f"weights={given.weights}")
    if given.what == "msrc":
        data = f"voc:{test_as_train(Path(given.data.removeprefix('voc:')), given.out)}" if given.choice else given.data
    else:
        data = "demo:seed=10" if given.choice else "demo:"
    runner = StudyRunner(
        data=data,
        out=given.out,
        seeds=tuple(given.seeds),
        settings=(*((*network, *MSRC, *localiser) if given.what == "msrc" else DEMO), *given.set),
        systems=tuple(given.systems),
        command=f"python benchmarks/thresholds.py {given.what} --backbone {given.backbone}"
        if given.what == "msrc"
        else "python benchmarks/thresholds.py demo",
    )
    outcome = thresholds(runner, system_rows() if given.what == "msrc" else drawn())
    runner.publish(outcome)
    if given.choice:
        return
    place = Path(__file__).parent / "thresholds"
    place.mkdir(exist_ok=True)
    name = f"msrc-{given.backbone}" if given.what == "msrc" else "demo"
    for suffix in ("md", "json"):
        shutil.copyfile(given.out / f"thresholds.{suffix}", place / f"{name}.{suffix}")


def drawn() -> list[Row]:
    """The systems on the demo's own small classifiers."""
    plain = demo_cam()
    hidden = replace(plain, classifier=replace(plain.own_classifier, augment=Cutout()))
    systems = {
        "cam": plain,
        "irn": replace(plain, refine=Irn()),
        "irn_deft": demo(),
        "psa": replace(plain, refine=Psa()),
        "amn": replace(plain, seeds=amn().seeds, refine=amn().refine),
        "cutout": replace(hidden, refine=Irn()),
    }
    return [Row(name, name, pipeline) for name, pipeline in systems.items()]


if __name__ == "__main__":
    main()
