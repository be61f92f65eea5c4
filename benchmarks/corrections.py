"""What corrected masks teach: those of suggested images beside as many drawn at random.

    python benchmarks/corrections.py --data voc:PATH --weights FOLDER --seeds 0 1 2 --numbers 10 20 40
    python benchmarks/corrections.py --quick

A first round makes pseudo-masks and a network. Then the masks of some training images are corrected, by their true
masks, and the second round learns from them in a copy of the folder: boundaries, refined maps, pseudo-masks and network
are made again, classifier and seeds are taken over. Images are chosen by ``deft suggest``, or drawn at random. Every
round trains for the same number of steps, so that rounds differ in what they are shown and in nothing else. Scores are
the network's mIoU on the held-out split, so that no corrected image has to be held out.

The script can be stopped and restarted at any time; a round that is finished is not repeated. ``--control`` adds second
rounds in which the pseudo-masks of the images drawn at random are accepted as they are: they are shown as often, and
teach nothing new. ``--repeats`` adds second rounds with other values of ``corrections.repeats``. Both are made with the
middle one of the numbers.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import RunFolder, file_stem, load_mask, load_seeds, read_json, write_json
from deft.artifacts.review import ACCEPTED, CORRECTED, Decision, Review
from deft.contracts import IGNORE
from deft.data import open_data
from deft.pipeline import Pipeline
from deft.recipes.finding import chosen
from deft.runner.recorded import read_record
from deft.runner.run import working
from deft.seedmaps import to_mask
from deft.stages.context import Run
from deft.studies.origin import commit, machine, versions
from deft.suggest import suggested
from deft.suggest.doubt import CLOSE, distance, doubt
from deft.suggest.network import network_masks, network_stage

SUGGESTED, RANDOM, CONTROL = "suggested", "random", "control"
PROTOCOL = (
    *("classifier.crop=0.7", "classifier.plan.min_steps=180", "seeds.scales=(0.5, 1.0, 1.5)"),
    *("refine.crop=0.7", "refine.plan.epochs=1", "refine.plan.min_steps=60"),
    *("segment.plan.epochs=1", "corrections.held_out=0.0"),
)
"""As of ``benchmarks/studies.py``; one epoch, so that the steps are the minimum whatever is repeated."""
QUICK = (
    *("backbone=test_resnet", "weights=none", "precision=32-true", "seeds.scales=(1.0,)"),
    *(f"{stage}.plan.{item}" for stage in ("classifier", "refine", "segment") for item in ("epochs=1", "batch=4")),
    *("classifier.plan.min_steps=20", "classifier.head.swap_epoch=1", "refine.plan.min_steps=4"),
    *("refine.labels.fg=0.02", "refine.labels.bg=0.01", "refine.labels.crf.iterations=0"),
    *("segment.plan.min_steps=8", "segment.channels=16", "inference.scales=(1.0,)", "corrections.held_out=0.0"),
)
QUICK_DATA, QUICK_NUMBERS, QUICK_SEEDS = "demo:train=24,val=12", (2, 4), (0, 1)


@dataclass(frozen=True)
class Arm:
    """A second round."""

    way: str
    number: int
    seed: int
    repeats: int = 0
    """Of ``corrections.repeats``; 0 for the default."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        shown = f"-shown-{self.repeats}" if self.repeats else ""
        return f"{self.way}-{self.number}-seed-{self.seed}{shown}"

    @classmethod
    def named(cls, name: str) -> Arm:
        """The second round of a folder's name."""
        way, number, _, seed, *shown = name.split("-")
        return cls(way, int(number), int(seed), int(shown[-1]) if shown else 0)


def main() -> None:
    given = arguments()
    arms = list(asked(given))
    for seed in given.seeds:
        first = given.out / f"first-seed-{seed}"
        round_of(given, first, seed)
        for arm in [each for each in arms if each.seed == seed]:
            second_round(given, arm, first)
            publish(given, arms)


def arguments() -> argparse.Namespace:
    """The arguments of the command."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", help="voc:PATH of MSRC, or other data with held-out masks")
    reader.add_argument("--weights", help="folder of the backbones' weights, or a file")
    reader.add_argument("--backbone", default="mobilenetv2_100")
    reader.add_argument("--recipe", default="irn_deft", help="one with a refiner that learns (default irn_deft)")
    reader.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    reader.add_argument("--numbers", type=int, nargs="+", default=[10, 20, 40])
    reader.add_argument("--steps", type=int, default=240, help="of the segmentation network (default 240)")
    reader.add_argument("--repeats", type=int, nargs="*", default=[], help="other values of corrections.repeats")
    reader.add_argument("--control", action="store_true", help="second rounds that are shown nothing new, too")
    reader.add_argument("--reuse", type=Path, nargs="*", default=[], help="runs whose equal stages are taken over")
    reader.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    reader.add_argument("--out", type=Path, help="folder of the runs (default runs/corrections)")
    reader.add_argument("--quick", action="store_true", help="tiny rounds on the embedded dataset")
    given = reader.parse_args()
    if given.quick:
        given.data, given.seeds, given.numbers = QUICK_DATA, list(QUICK_SEEDS), list(QUICK_NUMBERS)
    elif not given.data or not given.weights:
        reader.error("expected --data and --weights, or --quick")
    given.out = given.out or Path("runs/corrections-quick" if given.quick else "runs/corrections")
    return given


def asked(given: argparse.Namespace) -> Iterator[Arm]:
    """The second rounds that were asked for, those of the middle number first."""
    middle = sorted(given.numbers)[(len(given.numbers) - 1) // 2]
    for seed in given.seeds:
        for number in sorted(given.numbers, key=lambda each: (each != middle, each)):
            yield Arm(SUGGESTED, number, seed)
            yield Arm(RANDOM, number, seed)
        if given.control:
            yield Arm(CONTROL, middle, seed)
        for repeats in given.repeats:
            yield Arm(SUGGESTED, middle, seed, repeats)


def pipeline_of(given: argparse.Namespace, seed: int, repeats: int = 0) -> tuple[str, Pipeline]:
    """The recipe's name, and its pipeline in the protocol."""
    if given.quick:
        settings = list(QUICK)
    else:
        settings = [f"backbone={given.backbone}", f"weights={given.weights}", *PROTOCOL]
        settings.append(f"segment.plan.min_steps={given.steps}")
    settings += [*given.set, f"seed={seed}", *([f"corrections.repeats={repeats}"] if repeats else [])]
    return chosen(given.recipe, False, settings)


def round_of(given: argparse.Namespace, folder: Path, seed: int, repeats: int = 0) -> None:
    """Make a round in its folder, unless it is finished."""
    if (folder / "made.json").exists() and (folder / "round.json").exists():
        return
    name, pipeline = pipeline_of(given, seed, repeats)
    with working(pipeline, given.data, folder, given.reuse, name) as run:
        scores = read_json(folder / "scores.json")
        stages = {path.parent.name: read_json(path)["seconds"] for path in folder.glob("*/stage.json")}
        found = {"miou": scores["val"]["segmentation"]["miou"], "seconds": stages, "commit": commit()}
        write_json(run.out.path / "round.json", found)


def second_round(given: argparse.Namespace, arm: Arm, first: Path) -> None:
    """Correct some images in a copy of the first round and make the second, unless it is finished."""
    folder = given.out / arm.name
    if not folder.exists():
        begin(given, arm, first, folder)
    round_of(given, folder, arm.seed, arm.repeats)


def begin(given: argparse.Namespace, arm: Arm, first: Path, folder: Path) -> None:
    """A copy of the first round, of linked files, with its review."""
    splits = open_data(given.data)
    names = corrected(arm, first, splits.train.names, splits.train.scored)
    places = {name: index for index, name in enumerate(splits.train.names)}
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    left_out = shutil.ignore_patterns("lock*", "review", "round.json", "made.json")
    shutil.copytree(first, temporary, copy_function=os.link, ignore=left_out)
    decisions = []
    for name in names:
        if arm.way == CONTROL:
            own = load_mask(first / "masks" / f"{file_stem(name)}.png")
            decisions.append(Decision(name, ACCEPTED, own))
        else:
            decisions.append(Decision(name, CORRECTED, splits.train[places[name]].mask))
    Review(temporary, splits.train.classes).write_all(decisions)
    write_json(temporary / "chosen.json", {"names": list(names)})
    os.replace(temporary, folder)


def corrected(arm: Arm, first: Path, names: Sequence[str], scored: NDArray[np.bool_]) -> list[str]:
    """The images to be corrected; a larger number contains the smaller one."""
    if arm.way == SUGGESTED:
        known = {name for name, has_mask in zip(names, scored, strict=True) if has_mask}
        return [each.name for each in suggested(first) if each.name in known][: arm.number]
    order = np.random.default_rng([arm.seed, 13]).permutation(np.flatnonzero(scored))
    return [names[index] for index in order[: arm.number]]


@dataclass(frozen=True)
class Doubted:
    """How well the doubt about the pseudo-masks of a first round foretells their errors."""

    rank: float
    """Spearman's correlation between an image's expected and its true share of wrong cells."""
    chances: list[list[float]]
    """Share of wrong cells: where the network agrees and where not; far from and close to the threshold."""

    @classmethod
    def of(cls, folder: Path) -> Doubted:
        """Measured on the grid of the maps; pixels to be ignored are left out."""
        pipeline, splits, _ = read_record(folder)
        run = Run(pipeline, splits, RunFolder(folder, {}, own=False))
        stage = network_stage(run)
        assert stage is not None
        cut, networks, maps = run.mask_threshold, network_masks(run, stage), run.map_files()
        expected, true, counts = [], [], np.zeros((2, 2, 2))
        for index in map(int, np.flatnonzero(run.train.scored)):
            truth = run.train[index].mask
            assert truth is not None
            stored, network = load_seeds(maps[index]), load_mask(networks[index])
            planes = stored.maps.numpy()
            rows, columns = (
                np.linspace(0, side - 1, cells).round().astype(int)
                for side, cells in zip(truth.shape, planes.shape[1:], strict=True)
            )
            coarse = truth[np.ix_(rows, columns)]
            mask, known = to_mask(planes, stored.classes, cut), coarse != IGNORE
            wrong = (mask != coarse) & known
            close, other = distance(planes, cut) < CLOSE, network != mask
            np.add.at(counts, (other[known].astype(int), close[known].astype(int), wrong[known].astype(int)), 1)
            found = doubt(planes, stored.classes, cut, len(run.train.classes), network)
            expected.append(found.wrong.sum())
            true.append(wrong.sum() / max(1, known.sum()))
        shares = counts[..., 1] / np.maximum(1, counts.sum(axis=-1))
        return cls(float(np.corrcoef(ranks(expected), ranks(true))[0, 1]), shares.round(3).tolist())


@cache
def doubted_of(folder: Path) -> Doubted:
    """:meth:`Doubted.of`, measured once."""
    return Doubted.of(folder)


def ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Rank of each value, ties in their order."""
    return np.argsort(np.argsort(values)).astype(np.float64)


def publish(given: argparse.Namespace, arms: list[Arm]) -> None:
    """Write what is known so far, as a table and as JSON; print the table. Rounds published before are kept."""
    place = given.out / "corrections" if given.quick else Path(__file__).with_suffix("")
    kept = read_json(place.with_suffix(".json")) if place.with_suffix(".json").exists() else {}
    first: dict[int, dict[str, Any]] = {int(seed): value for seed, value in kept.get("first", {}).items()}
    rounds: dict[str, dict[str, Any]] = kept.get("rounds", {})
    doubted = {int(seed): Doubted(each["rank"], each["chances"]) for seed, each in kept.get("doubt", {}).items()}
    for seed in given.seeds:
        folder = given.out / f"first-seed-{seed}"
        if (folder / "round.json").exists():
            first[seed], doubted[seed] = read_json(folder / "round.json"), doubted_of(folder)
    for arm in arms:
        if (path := given.out / arm.name / "round.json").exists():
            rounds[arm.name] = read_json(path)
    first, doubted = dict(sorted(first.items())), dict(sorted(doubted.items()))
    lines = table(rounds, first) + about_doubt(doubted)
    commits = sorted({each["commit"] for each in [*first.values(), *rounds.values()]})
    facts = [
        "# What corrected masks teach",
        "",
        "\n\n".join((__doc__ or "").split("\n\n")[2:3]).replace("\n", " "),
        "",
        f"- recipe: `{given.recipe}`, {given.backbone}, network of {given.steps} steps",
        f"- commit: {', '.join(commits)}",
        f"- machine: {machine()}",
        f"- versions: {versions()}",
        "",
    ]
    text = "\n".join([*facts, *lines]) + "\n"
    print(text)
    place.with_suffix(".md").write_text(text, encoding="utf-8")
    content = {
        "rounds": dict(sorted(rounds.items())),
        "first": {str(seed): value for seed, value in first.items()},
        "doubt": {str(seed): {"rank": each.rank, "chances": each.chances} for seed, each in doubted.items()},
    }
    write_json(place.with_suffix(".json"), content)


def table(rounds: dict[str, dict[str, Any]], firsts: dict[int, dict[str, Any]]) -> list[str]:
    """Mean and deviation over the seeds of each kind of round, and its difference from others of the same seed."""
    first = {seed: 100 * found["miou"] for seed, found in firsts.items()}
    arms = [Arm.named(name) for name in rounds]

    def values(way: str, number: int, repeats: int = 0) -> dict[int, float]:
        made = {seed: rounds.get(Arm(way, number, seed, repeats).name) for seed in first}
        return {seed: 100 * found["miou"] for seed, found in made.items() if found is not None}

    most = max((arm.number for arm in arms), default=0)
    largest = values(RANDOM, most)
    kinds = sorted({(arm.number, arm.way, arm.repeats) for arm in arms})
    lines = [
        "Network's mIoU on the held-out split, in points: mean over the seeds ± standard deviation. Differences are",
        "paired, round by round of one seed.",
        "",
        f"| images | chosen | seeds | mIoU | less the first round | less as many at random | less {most} at random |",
        "|---:|---|---:|---:|---:|---:|---:|",
        f"| 0 | first round | {len(first)} | {spread(list(first.values()))} | | | |",
    ]
    for number, way, repeats in kinds:
        found = values(way, number, repeats)
        if not found:
            continue
        others = [first, values(RANDOM, number), largest]
        differences = [[found[seed] - other[seed] for seed in sorted(found.keys() & other)] for other in others]
        cells = [spread(each) if way != RANDOM or not place else "" for place, each in enumerate(differences)]
        shown = f"{way}, shown {repeats} times" if repeats else way
        lines.append(f"| {number} | {shown} | {len(found)} | {spread(list(found.values()))} | {' | '.join(cells)} |")
    later = [found["seconds"] for found in rounds.values()]
    if later:
        minutes = np.mean([sum(each.get(name, 0) for name in REMADE) for each in later]) / 60
        lines += ["", f"A second round makes again what takes {minutes:.1f} minutes: {', '.join(REMADE)}."]
    return [*lines, ""]


REMADE = ("refine", "refined", "masks", "segment", "predictions")


def about_doubt(doubted: dict[int, Doubted]) -> list[str]:
    """What ``deft.suggest.doubt`` expects, beside what is true."""
    if not doubted:
        return []
    chances = np.mean([each.chances for each in doubted.values()], axis=0)
    rows = [
        f"| {name} | {100 * far:.0f} % | {100 * close:.0f} % |"
        for name, (far, close) in zip(("agrees", "disagrees"), chances, strict=True)
    ]
    ranked = spread([each.rank for each in doubted.values()], 2)
    return [
        f"Spearman's correlation of an image's expected and true share of wrong cells: {ranked}. Wrong cells of the",
        "pseudo-masks, by what tells of them:",
        "",
        "| network | far from the threshold | close to it |",
        "|---|---:|---:|",
        *rows,
        "",
    ]


def spread(values: list[float], digits: int = 1) -> str:
    """Mean and standard deviation."""
    if not values:
        return ""
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


if __name__ == "__main__":
    main()
