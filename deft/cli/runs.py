"""Verbs that make runs or look at them: each takes the arguments and returns an exit code. Heavy imports are local."""

from __future__ import annotations

import argparse
import difflib
import sys
from typing import TYPE_CHECKING

from deft.cli.options import assignments, ray_of, with_threads
from deft.contracts import InputError
from deft.guards.words import printable
from deft.settings import fields_of

if TYPE_CHECKING:
    from deft.engine.share import Engine


def run(given: argparse.Namespace) -> int:
    """Run a recipe."""
    from deft.engine.share import HERE
    from deft.recipes.finding import chosen

    settings = assignments(given, "backbone", "weights", "precision", "max_side", "threads", "memory", "seed")
    paper = given.thresholds == "paper"
    name, pipeline = chosen(given.recipe, paper, settings)
    if given.show:
        print("\n".join(f"{field} = {value!r}" for field, value in fields_of(pipeline).items()))
        return 0
    from deft.engine import ranks
    from deft.runner.run import run

    with ray_of(given) as ray:
        engine: Engine = HERE
        if ray is not None:
            from deft.engine.ray_engine import Call
            from deft.runner.on_ray import OnRay

            engine = OnRay(ray, Call.of(chosen, recipe=given.recipe, paper=paper, settings=settings), given.data, name)
        page = run(pipeline, given.data, given.out, given.reuse, name, engine, given.corrected)
    if ranks.first():
        print(f"report: {page}")
    return 0


def quick(given: argparse.Namespace) -> int:
    """Masks while you wait."""
    from deft.recipes.finding import chosen
    from deft.runner.quick import quick

    settings = assignments(given, "backbone", "weights", "precision", "max_side", "threads")
    name, pipeline = chosen("frozen_deft" if given.deft else "frozen", False, settings)
    print(f"report: {quick(pipeline, given.data, given.out, name)}")
    return 0


def study(given: argparse.Namespace) -> int:
    """Make a table or figure."""
    from deft.studies import STUDIES, StudyRunner
    from deft.studies.outcome import refuse_foreign

    if given.study not in STUDIES:
        near = difflib.get_close_matches(given.study, STUDIES, n=1, cutoff=0.0)
        raise InputError(f"no study {given.study!r}; did you mean {near[0]!r}? There are: {', '.join(STUDIES)}")
    if given.seeds < 1 or given.first_seed < 0:
        raise InputError(
            f"expected --seeds of at least 1 and --first-seed of at least 0, got {given.seeds}, {given.first_seed}"
        )
    runner = StudyRunner(
        data=given.data,
        out=given.out,
        seeds=tuple(range(given.first_seed, given.first_seed + given.seeds)),
        settings=tuple(assignments(given, "backbone", "weights", "precision", "max_side", "threads", "memory")),
        systems=tuple(given.systems),
        command=given.command,
        published=given.thresholds == "paper",
    )
    refuse_foreign(given.out, given.study)
    outcome = STUDIES[given.study](runner)
    print(f"study: {runner.publish(outcome)}")
    for failure in outcome.failures:
        print(f"deft: failed: {failure}", file=sys.stderr)
    return 2 if outcome.failures else 0


def recipes(given: argparse.Namespace) -> int:
    """List recipes, or describe one of them."""
    from deft.recipes import irn
    from deft.recipes.describing import describe, describe_all, differences
    from deft.recipes.finding import find_recipe, recipe_function

    if given.recipe is None:
        known = describe_all()
        width = max(len(one.name) for one in known)
        for one in known:
            print(f"{one.name:<{width}}  {one.line}" + (f" ({one.paper})" if one.paper else ""))
        return 0
    name, pipeline = find_recipe(given.recipe)
    one = describe(name, recipe_function(given.recipe))
    print("\n".join(filter(None, (one.line, f"Paper: {one.paper}" if one.paper else ""))))
    found = list(differences(pipeline, irn()))
    print(f"Fields that differ from those of irn{':' if found else ': none'}")
    for field, value, other in found:
        print(f"  {field} = {value}" + (f"  (irn: {other})" if other else ""))
    return 0


def report(given: argparse.Namespace) -> int:
    """Rewrite the page of a run."""
    from deft.runner.rewrite import rewrite_report

    with with_threads(given):
        page = rewrite_report(given.run, given.beside, given.data)
    print(f"report: {page}")
    return 0


def verify(given: argparse.Namespace) -> int:
    """Check a finished run folder."""
    from deft.data.faults import counted
    from deft.runner.verify import verify

    found = verify(given.run)
    for damage in found.wrong:
        print(damage)
    if found.unknown:
        print(f"without hashes, as in earlier versions: {', '.join(found.unknown)}")
    wrong = counted(len(found.wrong), "fault") if found.wrong else "no faults"
    print(f"{found.files} files compared, {wrong}")
    return 2 if found.wrong else 0


def tune(given: argparse.Namespace) -> int:
    """Choose thresholds on drawn masks."""
    from deft.runner.tune import tune

    with with_threads(given):
        found, page = tune(given.run, given.masks, given.most, given.data, given.reviewed)
    for stage, threshold in found.thresholds.items():
        print(
            f"{stage}: threshold {threshold:.2f}, chosen on {len(found.images)} masks; such a choice loses "
            f"{100 * found.off[stage]:.1f} mIoU on average over resampled masks"
        )
    print(f"report: {page}, scored on the other images")
    return 0


def suggest(given: argparse.Namespace) -> int:
    """List the images to correct next."""
    import dataclasses
    import json

    from deft.suggest.suggested import advised

    with with_threads(given):
        found, photographs = advised(given.run, given.number, given.data)
    if given.json:
        rows = [dataclasses.asdict(each) for each in found]
        print(json.dumps({"images": rows, "photograph": photographs}, indent=2))
        return 0
    width = max((len(printable(each.name)) for each in found), default=0)
    for rank, each in enumerate(found, 1):
        print(f"{rank:4}  {printable(each.name):<{width}}  {each.score:.2f}  {printable(each.reason)}")
    if not found:
        print("every training image has been reviewed")
    for line in photographs:
        print(f"to photograph: {printable(line)}")
    return 0


def doctor(given: argparse.Namespace) -> int:
    """Tell what the machine offers."""
    from deft.doctor import examine, told

    found = examine(given.out, given.weights)
    print("\n".join(told(found)))
    for trouble in found.troubles:
        print(f"deft: {trouble}", file=sys.stderr)
    return 2 if found.troubles else 0


def demo(given: argparse.Namespace) -> int:
    """Run the demonstration on the embedded dataset."""
    from deft.recipes.finding import find_recipe
    from deft.runner.rewrite import rewrite_report
    from deft.runner.run import run

    for name in ("demo_cam", "demo"):
        run(find_recipe(name)[1], "demo:", given.out / name, name=name)
    page = rewrite_report(given.out / "demo", [given.out / "demo_cam"])
    print(f"report: {page}")
    return 0
