"""The studies on the MSRC photographs, in a protocol that is affordable on two CPU cores.

    python benchmarks/studies.py --data voc:PATH --weights FOLDER --backbone mobilenetv2_100 localisation ablation

Runs are kept in OUT and shared between studies; tables, numbers and images are copied to ``benchmarks/msrc/BACKBONE/``,
from which ``benchmarks/results.py`` draws ``docs/results.md``. The script can be stopped and restarted at any time, and
several processes can work in one OUT.

The protocol has a smaller backbone and crop than the recipes, half their minimum number of training steps and three of
their four scales. It is the same for every row. Thresholds are chosen by the runs themselves, without masks, and the
precision is the one that recipes take on the machine. Nothing was chosen on train or val, which are reported.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

from deft.artifacts import read_json, write_json
from deft.studies import STUDIES, StudyRunner
from deft.studies.activation import activation
from deft.studies.outcome import Outcome
from deft.studies.probe import ProbeSettings

PROTOCOL = (
    "classifier.crop=0.7",
    "classifier.plan.min_steps=180",
    "seeds.scales=(0.5, 1.0, 1.5)",
)
REFINED = ("refine.crop=0.7", "refine.plan.min_steps=60")
NETWORK = ("segment.plan.min_steps=180",)
PIXELS = ("seeds.crop=0.7", "seeds.plan.min_steps=180")
"""For AMN, whose seed method trains a network of its own."""
BEYOND = {"masks": REFINED, "context": REFINED, "bias": REFINED, "segmentation": REFINED + NETWORK}
"""Settings of the stages after the seeds, for the studies that run them."""
ROUNDS = ("cda", "cda_deft")
"""Systems that refine masks even for their seeds."""
OUTSIDE = (
    *("seeds.base=Cam", "seeds.base.scales=(0.5, 1.0, 1.5)"),
    *("seeds.crop=0.7", "seeds.plan.min_steps=180"),
)
"""For W-OoD, which trains the classifier on. Plain class maps are read from it, in the place of AdvCAM's: what its rows
differ in from their base is then the training alone."""
PROBE = ProbeSettings(images=60, points=10)


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("studies", nargs="+", choices=sorted(STUDIES))
    reader.add_argument("--data", required=True, help="voc:PATH of MSRC")
    reader.add_argument("--weights", required=True, help="folder of the backbones' weights")
    reader.add_argument("--backbone", default="mobilenetv2_100")
    reader.add_argument(
        "--out", type=Path, default=Path("runs/studies"), help="a folder for each backbone is made in it"
    )
    reader.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    reader.add_argument("--systems", nargs="+", default=[])
    reader.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    reader.add_argument("--known", action="store_true", help="make no run: show what there is")
    reader.add_argument("--unpublished", action="store_true", help="leave benchmarks/msrc/ as it is")
    reader.add_argument("--kept-as", default="", metavar="NAME", help="name of the files, for rows of another table")
    given = reader.parse_args()
    for name in given.studies:
        shown = [name, *(["--systems", *given.systems] if given.systems else [])]
        negatives = [f"{row}:seeds.folder={without_objects(given)}" for row in given.systems if row.startswith("ood")]
        runner = StudyRunner(
            data=given.data,
            out=given.out / given.backbone,
            seeds=tuple(given.seeds),
            settings=settings(name, given.backbone, given.weights, given.systems, given.set + negatives),
            systems=tuple(given.systems),
            known_only=given.known,
            command=f"python benchmarks/studies.py --backbone {given.backbone} {' '.join(shown)}",
        )
        outcome = activation(runner, PROBE) if name == "activation" else STUDIES[name](runner)
        if not given.unpublished:
            keep(runner, outcome, given.backbone, given.kept_as or outcome.name)


def settings(study: str, backbone: str, weights: str, systems: list[str], more: list[str]) -> tuple[str, ...]:
    """The protocol's settings of the rows of a study."""
    refined = REFINED if study not in BEYOND else ()
    of_rows = [f"{name}:{item}" for name in systems if name.startswith("amn") for item in PIXELS]
    of_rows += [f"{name}:{item}" for name in systems if name in ROUNDS for item in refined]
    of_rows += [f"{name}:{item}" for name in systems if name.startswith("ood") for item in OUTSIDE]
    return (f"backbone={backbone}", f"weights={weights}", *PROTOCOL, *BEYOND.get(study, ()), *of_rows, *more)


def keep(runner: StudyRunner, outcome: Outcome, backbone: str, name: str) -> None:
    """Copy a study's files to ``benchmarks/msrc/``, except its example photographs, which belong to others.

    Args:
        runner: that has made the study.
        outcome: of the study.
        backbone: the folder to copy to.
        name: what the copies' names begin with.
    """
    place = Path(__file__).parent / "msrc" / backbone
    place.mkdir(exist_ok=True, parents=True)
    weights = next(item for item in runner.settings if item.startswith("weights="))
    for path in runner.out.glob(f"{outcome.name}[.-]*"):
        if path.suffix in (".md", ".json"):
            lines = [line for line in path.read_text().splitlines() if f"]({outcome.name}-examples" not in line]
            text = "\n".join(lines).replace(runner.data, "voc:MSRC").replace(weights, "weights=FOLDER")
            text = text.replace(str(runner.out.parent / "without-objects"), "FOLDER")
            text = text.replace(f"]({outcome.name}-", f"]({name}-")  # the charts
            (place / path.name.replace(outcome.name, name, 1)).write_text(text + "\n")
        elif path.suffix == ".png" and not path.stem.endswith("-examples"):
            shutil.copyfile(path, place / path.name.replace(outcome.name, name, 1))
    seconds(runner, place / "seconds.json")


def without_objects(given: argparse.Namespace) -> Path:
    """A folder of links to the photographs that show no object, which are in no split: the negatives of W-OoD."""
    data, folder = Path(given.data.removeprefix("voc:")), Path(given.out) / "without-objects"
    folder.mkdir(parents=True, exist_ok=True)
    with (data / "image_labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            link = folder / f"{row['image']}.jpg"
            if not row["labels"] and not link.exists():
                link.symlink_to((data / "JPEGImages" / link.name).resolve())
    return folder


def test_as_train(data: Path, out: Path) -> Path:
    """The same photographs with `test` in the place of `train`, and none held out; settings are chosen on these."""
    return relisted(data, out / "photographs", train=names_of(data, "test"))


def relisted(data: Path, folder: Path, **lists: list[str]) -> Path:
    """The same photographs in other splits, by the names that each of them lists."""
    places = folder / "ImageSets" / "Segmentation"
    places.mkdir(parents=True, exist_ok=True)
    for item in data.iterdir():
        if item.name != "ImageSets" and not (folder / item.name).exists():
            (folder / item.name).symlink_to(item.resolve())
    for split, names in lists.items():
        (places / f"{split}.txt").write_text("\n".join(names) + "\n")
    return folder


def names_of(data: Path, split: str) -> list[str]:
    """The names of a split's photographs."""
    return (data / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()


def seconds(runner: StudyRunner, path: Path) -> None:
    """Add the seconds of each stage of the runs that are made, by system and seed, to those known."""
    known = read_json(path) if path.exists() else {}
    for record in sorted((runner.out / "runs").glob("*/*/run.json")):
        run = read_json(record)
        stages = {}
        for stage in sorted(record.parent.glob("*/stage.json")):
            made = read_json(stage)
            if made.get("state") == "done" and made["seconds"]:  # 0 or null where the time is not known
                stages[stage.parent.name] = made["seconds"]
        known.setdefault(run["recipe"], {}).setdefault(str(run["settings"]["seed"]), {}).update(stages)
    write_json(path, known)


if __name__ == "__main__":
    main()
