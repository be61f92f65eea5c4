"""What some settings do, on photographs of MSRC's `test`, which no table reports: how their defaults were chosen.

    python benchmarks/variants.py --data PATH --weights FOLDER [--questions ood] [--backbones mobilenetv2_100]

In the protocol of ``benchmarks/studies.py``. Answers are kept in ``benchmarks/variants.json``, and only those that are
asked for are made again, from the runs that OUT has.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, run
from typing import Any

from deft.artifacts import read_json, write_json
from deft.recipes import RECIPES
from deft.settings import fields_of
from deft.studies.origin import commit, machine, versions
from studies import NETWORK, OUTSIDE, PROTOCOL, REFINED, names_of, relisted, without_objects


@dataclass(frozen=True)
class Question:
    """Variants of a recipe."""

    title: str
    text: str
    recipe: str
    settings: tuple[str, ...]
    """Of every variant, beside the protocol's."""
    variants: dict[str, tuple[str, ...]]
    """Settings by name; what the others share with the first one is taken over from it."""
    held_out: int = 0
    """Every how many-th photograph is held out and scored; 0 scores the seeds of those that are learned from."""


QUESTIONS = {
    "networks": Question(
        "What a balanced loss and a CRF do for a trained network",
        "`irn_deft`, two of three photographs to learn from: mIoU of the network on the others, in per cent. The "
        "variants have the same masks; those with a CRF have the same network.",
        "irn_deft",
        (*REFINED, *NETWORK),
        {
            "as the recipe": (),
            "balanced loss": ("segment.balanced=true",),
            "CRF of the recipe `irn`'s labels": ("inference.crf=DenseCrf",),
            "CRF of `deft quick`": (
                *("inference.crf=DenseCrf", "inference.crf.iterations=3"),
                *("inference.crf.gaussian_sxy=2", "inference.crf.bilateral_sxy=25"),
            ),
        },
        held_out=3,
    ),
    "ood": Question(
        "What W-OoD's terms do",
        "`ood`, with the photographs without objects as negatives and plain class maps: mIoU of the seeds of all "
        "photographs, which are also learned from, at the threshold that the run chose, in per cent.",
        "ood",
        ("refine=none", "segment=none", *OUTSIDE),
        {
            "trained on, without both terms": ("seeds.negative_weight=0", "seeds.distance_weight=0"),
            "negatives alone": ("seeds.distance_weight=0",),
            "negatives and the published distance": ("seeds.normalised=false",),
            "negatives and the distance of directions, the default": (),
        },
    ),
}


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", type=Path, required=True, help="PATH of MSRC")
    reader.add_argument("--weights", required=True, help="folder of the backbones' weights")
    reader.add_argument("--questions", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    reader.add_argument("--backbones", nargs="+", default=["mobilenetv2_100", "tf_efficientnet_lite0"])
    reader.add_argument("--seeds", type=int, nargs="+", default=[0])
    reader.add_argument("--out", type=Path, default=Path("runs/variants"))
    given = reader.parse_args()
    place = Path(__file__).with_suffix(".json")
    for question in given.questions:
        for backbone in given.backbones:
            found = answer(given, question, backbone)
            known = read_json(place) if place.exists() else {}
            known.setdefault(question, {})[backbone] = {
                "command": f"python benchmarks/variants.py --data PATH --weights FOLDER --questions {question} "
                f"--backbones {backbone} --seeds {' '.join(map(str, given.seeds))}",
                **{"commit": commit(), "machine": machine(), "versions": versions(), "found": found},
            }
            write_json(place, known)
            place.with_suffix(".md").write_text(page(known), encoding="utf-8")
    print(place.with_suffix(".md").read_text())


def answer(given: argparse.Namespace, name: str, backbone: str) -> dict[str, list[float]]:
    """Scores of each variant, one for each seed; runs that are not there are made."""
    question = QUESTIONS[name]
    names = names_of(given.data, "test")
    every = question.held_out
    lists = {"train": [each for place, each in enumerate(names) if not every or place % every]}
    if every:
        lists["val"] = names[::every]
    data = relisted(given.data, given.out / name / "photographs", **lists)
    fields = fields_of(RECIPES[question.recipe]())
    shared = [setting for setting in PROTOCOL if setting.partition("=")[0] in fields]
    shared += [*question.settings, "threads=1"]
    if question.recipe.startswith("ood"):
        shared.append(f"seeds.folder={without_objects(argparse.Namespace(data=str(given.data), out=given.out))}")
    found: dict[str, list[float]] = {variant: [] for variant in question.variants}
    for seed in given.seeds:
        folder = given.out / name / f"{backbone}-{seed}"
        for number, (variant, own) in enumerate(question.variants.items()):
            words = ["--data", f"voc:{data}", "--backbone", backbone, "--weights", given.weights]
            words += ["--reuse", os.fspath(folder / "0")] if number else []
            make(question.recipe, folder / str(number), words, [*shared, f"seed={seed}", *own])
            scores = read_json(folder / str(number) / "scores.json")
            found[variant].append(
                scores["val"]["segmentation"]["miou"] if every else scores["train"]["seeds"]["used"]["miou"]
            )
    return found


def make(recipe: str, out: Path, words: Sequence[str], settings: Sequence[str]) -> None:
    """Make a run, or go on with it."""
    chosen = [word for setting in settings for word in ("--set", setting)]
    run(
        [sys.executable, "-m", "deft", "run", recipe, "--out", os.fspath(out), *words, *chosen],
        check=True,
        stdout=DEVNULL,
    )


def page(known: dict[str, Any]) -> str:
    """A table for each question: mean and standard deviation over the seeds."""
    lines = ["# What some settings do", "", *(__doc__ or "").split("\n\n")[2].strip().splitlines()]
    for name, question in QUESTIONS.items():
        answers = known.get(name, {})
        if not answers:
            continue
        lines += ["", f"## {question.title}", "", question.text, ""]
        for record in answers.values():
            facts = ("command", "commit", "machine", "versions")
            lines.append("- " + "; ".join(str(record[fact]) for fact in facts))
        lines += ["", f"| | {' | '.join(answers)} |", "|---|" + "---|" * len(answers)]
        for variant in question.variants:
            cells = []
            for record in answers.values():
                values = [100 * value for value in record["found"][variant]]
                spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
                cells.append(f"{statistics.fmean(values):.1f}{spread}")
            lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
