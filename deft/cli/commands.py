"""One function per verb of the command: takes the arguments, returns an exit code. Heavy imports are local."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deft.contracts import InputError, Progress
from deft.guards.words import printable
from deft.ranges import SIDES
from deft.settings import fields_of

if TYPE_CHECKING:
    from deft.engine.ray_engine import Ray
    from deft.engine.share import Engine

PRECISIONS = {"auto": "auto", "32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
"""Lightning's name of each precision that the command line takes."""


def run(given: argparse.Namespace) -> int:
    """Run a recipe."""
    from deft.engine.share import HERE
    from deft.recipes.finding import chosen

    settings = _assignments(given, "backbone", "weights", "precision", "max_side", "threads", "memory", "seed")
    paper = given.thresholds == "paper"
    name, pipeline = chosen(given.recipe, paper, settings)
    if given.show:
        print("\n".join(f"{field} = {value!r}" for field, value in fields_of(pipeline).items()))
        return 0
    from deft.engine import ranks
    from deft.runner.run import run

    with _ray(given) as ray:
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

    settings = _assignments(given, "backbone", "weights", "precision", "max_side", "threads")
    name, pipeline = chosen("frozen_deft" if given.deft else "frozen", False, settings)
    print(f"report: {quick(pipeline, given.data, given.out, name)}")
    return 0


@contextmanager
def _ray(given: argparse.Namespace) -> Iterator[Ray | None]:
    """The Ray cluster that was asked for; None for work in this process."""
    if given.engine != "ray":
        if given.ray_address:
            raise InputError(f"--ray-address {given.ray_address}: expected --engine ray with it; add that")
        yield None
        return
    from deft.engine.ray_engine import Ray

    with Ray(given.ray_address) as ray:
        yield ray


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
        settings=tuple(_assignments(given, "backbone", "weights", "precision", "max_side", "threads", "memory")),
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


def _assignments(given: argparse.Namespace, *flags: str) -> list[str]:
    """Assignments from ``--set`` and from the flags that are shorthands for it."""
    said = [flag for flag in flags if getattr(given, flag) is not None]
    return [*given.set, *(f"{flag}={_flag(flag, getattr(given, flag))}" for flag in said)]


def _flag(flag: str, value: Any) -> str:
    if flag == "max_side":
        return str(_max_side(value))
    return PRECISIONS[value] if flag == "precision" else str(value)


def _max_side(text: str) -> int | None:
    """The value of ``--max-side``: a number of pixels, or None for ``none``."""
    if text.casefold() == "none":
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 6 or int(text) not in SIDES:
        raise InputError(f"--max-side {text[:40]}: expected a whole number {SIDES} (pixels), or none")
    return int(text)


def _reading_side(given: argparse.Namespace) -> int | None:
    """The side at which new photographs are read; 0 takes that of the run."""
    return 0 if given.max_side is None else _max_side(given.max_side)


def doctor(given: argparse.Namespace) -> int:
    """Tell what the machine offers."""
    from deft.doctor import examine, told

    found = examine(given.out, given.weights)
    print("\n".join(told(found)))
    for trouble in found.troubles:
        print(f"deft: {trouble}", file=sys.stderr)
    return 2 if found.troubles else 0


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


def check(given: argparse.Namespace) -> int:
    """List the classes and every fault of a dataset."""
    from deft.data.check import look_at
    from deft.data.faults import counted
    from deft.data.overview import overview

    with _bar("reading") as progress:
        splits, faults = look_at(given.data, full=True, progress=progress)
    if splits is not None:
        print(overview(splits))
    for fault in faults:
        print(fault)
    fatal = sum(not fault.warning for fault in faults)
    print(f"{counted(fatal, 'fault')}, {counted(len(faults) - fatal, 'warning')}" if faults else "no faults")
    return 2 if fatal else 0


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    """A progress bar over files."""
    from tqdm import tqdm

    with tqdm(desc=title, unit="file", mininterval=0.5) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def import_labels(given: argparse.Namespace) -> int:
    """Convert cls_labels.npy to a table."""
    from deft.data.importers.cls_labels import import_cls_labels

    count = import_cls_labels(given.source, given.table, _classes(given.classes))
    print(f"{count} images in {given.table}")
    return 0


def export_masks(given: argparse.Namespace) -> int:
    """Masks of a run for another tool."""
    from deft.data.faults import counted
    from deft.export.formats import format_named
    from deft.export.picture import Style
    from deft.export.source import Choice, Source
    from deft.export.write import export

    form = format_named(given.format)
    if not 0 <= given.tolerance <= 100:
        raise InputError(f"--tolerance {given.tolerance:g}: expected a number of pixels from 0 to 100; correct it")
    classes, states = _separated(given.classes), _separated(given.state)
    choice = Choice(given.masks, _image_names(given.only), classes, states)
    source = Source.of(given.run, given.data)
    style = Style(source.classes, given.shapes or "", given.tolerance)
    with _bar("export") as progress:
        count = export(
            source, form.writer, given.out, style, choice, photographs=not given.no_images, progress=progress
        )
    print(f"{counted(count, 'mask')} in {given.out}")
    return 0


def import_masks(given: argparse.Namespace) -> int:
    """Masks from another tool."""
    from deft.data.faults import counted
    from deft.export.formats import reader_of
    from deft.export.source import Source
    from deft.export.take_in import Taking, take_in

    read = reader_of(given.format)
    taking = Taking(given.as_stored, given.other_classes, _image_names(given.only))
    source = Source.of(given.run, given.data)
    with _bar("import") as progress:
        done = take_in(source, read, given.files, taking, progress)
    for remark in done.remarks:
        print(f"deft: {remark}", file=sys.stderr)
    count = counted(done.accepted + done.corrected, "mask")
    print(f"{count} in {source.review.folder}: {done.accepted} accepted, {done.corrected} corrected")
    return 0


def review(given: argparse.Namespace) -> int:
    """Serve the page on which masks are looked through."""
    from deft.review.serve import review, show

    def begun(address: str) -> None:
        print(f"review: {address}\nCtrl-C ends it; every step is in {given.run / 'review'} already", flush=True)
        if not given.no_browser:
            show(address)

    review(given.run, given.port, given.data, begun)
    return 0


def _separated(texts: Sequence[str]) -> tuple[str, ...]:
    """Words of an option that may be given several times, each separated by commas."""
    return tuple(word for text in texts for part in text.split(",") if (word := part.strip()))


def _image_names(texts: Sequence[str]) -> tuple[str, ...]:
    """Names of images: separated by commas, or listed in a file after ``@``."""
    from deft.data.faults import Faults, refuse
    from deft.data.layouts.name_lists import read_names

    faults = Faults()
    found: list[str] = []
    for text in texts:
        if text.startswith("@"):
            found += [name for _, name in read_names(Path(text[1:]).expanduser(), faults)]
        else:
            found += _separated([text])
    refuse(faults.all, "--only")
    return tuple(found)


def import_contexts(given: argparse.Namespace) -> int:
    """Convert PASCAL-Context's masks to context masks."""
    from deft.data.importers.pascal_context import import_contexts
    from deft.guards.opening import exists

    own = given.out / "classes.txt"
    classes = _classes(given.classes or (own if exists(own) else None))
    with _bar("importing") as progress:
        done = import_contexts(given.masks, given.names, given.out, classes, progress)
    print(f"{len(done.contexts)} contexts of {done.images} images in {given.out}")
    print(f"objects, not contexts: {', '.join(done.objects) or 'none of the names'}")
    if done.left_out:
        print(f"left out: {done.left_out} masks of images that are not in {given.out / 'JPEGImages'}")
    return 0


def _classes(path: Path | None) -> Sequence[str]:
    """Class names in a file, or VOC's 20."""
    from deft.data.faults import Faults, refuse
    from deft.data.layouts.name_lists import read_classes
    from deft.data.layouts.voc import VOC_CLASSES

    faults = Faults()
    classes = read_classes(path, faults) if path else VOC_CLASSES
    refuse(faults.all, str(path))
    return classes


def predict(given: argparse.Namespace) -> int:
    """Masks of new photographs, of a video, or of large photographs in tiles."""
    from deft.predict.masks import predict_folder, predict_shards

    precision, side = PRECISIONS[given.precision], _reading_side(given)
    shards = _in_shards(given)
    if given.tiles is not None:
        return _predict_tiles(given, precision)
    if given.rate is not None or _names_video(given):
        return _predict_video(given, precision, side)
    _refuse_alone(given, "a video, or --rate with a folder of frames,", "steady")
    _refuse_alone(given, "--tiles", "scale", "context", "bands", "values")
    with _ray(given) as ray, _threads(given):
        if shards:
            done = predict_shards(
                given.run, given.images, given.out, given.tags, given.tags_from, given.overlays, precision, side, ray
            )
            print(f"masks of {done.all_shards} shards in {given.out}; made by this command: {done.images} masks")
            return 0
        count = predict_folder(given.run, Path(given.images), given.out, given.tags, precision, side, ray)
    print(f"{count} masks in {given.out / 'masks'}, pictures in {given.out / 'overlays'}")
    return 0


def _predict_tiles(given: argparse.Namespace, precision: str) -> int:
    """Masks of large photographs."""
    from deft.predict.tiled import predict_tiles
    from deft.predict.tiled_options import channels_of, tiles_of

    tiles = tiles_of(given.tiles, given.scale, given.context)
    channels = channels_of(given.bands, given.values)
    _refuse_beside(given, "--tiles", "max_side", "ray_address", "steady", "rate")
    if given.engine != "here" or _in_shards(given):
        raise InputError("--tiles: expected photographs on this machine; leave out --engine, and name files, no shards")
    with _threads(given):
        count = predict_tiles(given.run, Path(given.images), given.out, given.tags, precision, tiles, channels)
    print(f"{count} masks in {given.out / 'masks'}, pictures in {given.out / 'overlays'}")
    _tell_memory()
    return 0


def _names_video(given: argparse.Namespace) -> bool:
    from deft.data.video import is_video

    return is_video(Path(given.images)) and not Path(given.images).is_dir() and not _in_shards(given)


def _predict_video(given: argparse.Namespace, precision: str, side: int | None) -> int:
    """Masks of a video, or of a folder of frames."""
    from deft.predict.video import Moving, predict_video
    from deft.ranges import RangeError

    fields = {name: getattr(given, name) for name in ("steady", "rate") if getattr(given, name) is not None}
    try:
        moving = Moving(**fields)
    except RangeError as error:
        raise InputError(f"{str(error).replace('Moving.', '--', 1)}; correct it") from None
    source = Path(given.images)
    if given.rate is not None and not source.is_dir():
        raise InputError("--rate: expected a folder of frames with it; a video has its own times, leave --rate out")
    _refuse_beside(given, "a video", "tags", "tags_from", "ray_address", "scale", "context", "bands", "values")
    if given.engine != "here":
        raise InputError("--engine: expected photographs, got a video, whose frames are done in order; leave it out")
    with _threads(given):
        count = predict_video(given.run, source, given.out, precision, side, moving)
    print(f"{count} masks in {given.out / 'masks'}, a video in {given.out / 'overlays'}")
    _tell_memory()
    return 0


def _tell_memory() -> None:
    from deft.engine.memory import peak_memory

    peak = peak_memory()
    if peak is not None:
        print(f"peak memory: {peak / 1e9:.2f} GB")


def _refuse_alone(given: argparse.Namespace, needed: str, *flags: str) -> None:
    """Refuse options that mean nothing without another one."""
    for flag in flags:
        if getattr(given, flag) is not None:
            raise InputError(f"--{flag}: expected {needed} with it; add that, or leave it out")


def _refuse_beside(given: argparse.Namespace, other: str, *flags: str) -> None:
    """Refuse options that another one replaces."""
    for flag in flags:
        if getattr(given, flag) not in (None, ""):
            raise InputError(f"--{flag.replace('_', '-')}: it has no meaning with {other}; leave one of them out")


def seeds(given: argparse.Namespace) -> int:
    """Class maps of new photographs."""
    from deft.predict.seeds import locate_folder, locate_shards

    precision, side = PRECISIONS[given.precision], _reading_side(given)
    shards = _in_shards(given)
    with _ray(given) as ray, _threads(given):
        if shards:
            done = locate_shards(given.run, given.images, given.out, given.tags, given.tags_from, precision, side, ray)
            print(f"seeds of {done.all_shards} shards in {given.out}; made by this command: {done.images} images")
            return 0
        count = locate_folder(given.run, Path(given.images), given.out, given.tags, precision, side, ray)
    print(f"{count} seeds in {given.out}")
    return 0


def export_model(given: argparse.Namespace) -> int:
    """Write a run's networks for other programs."""
    from deft.deploy.folder import export_model

    with _threads(given):
        done = export_model(given.run, given.out, given.format, given.data, given.push)
    for remark in done.remarks:
        print(remark)
    for name, difference in done.files.items():
        print(f"{name}: largest difference from torch {difference:.1e}")
    print(f"exported to {given.out}" + (f", uploaded to {done.address}" if done.address else ""))
    return 0


@contextmanager
def _threads(given: argparse.Namespace) -> Iterator[None]:
    """Within, as many threads as were asked for, told if they were not; none of these results depends on the number."""
    from deft.engine import threads

    choice = threads.choose(getattr(given, "threads", threads.AUTO))
    with threads.computing(choice, tell=choice.measured):
        yield


def _in_shards(given: argparse.Namespace) -> bool:
    shards = str(given.images).startswith("shards:")
    if given.tags_from and not shards:
        raise InputError("--tags-from: expected shards:PATTERN, got a folder or a photograph; give a table with --tags")
    return shards


def report(given: argparse.Namespace) -> int:
    """Rewrite the page of a run."""
    from deft.runner.rewrite import rewrite_report

    with _threads(given):
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

    with _threads(given):
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

    with _threads(given):
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


def voc_submit(given: argparse.Namespace) -> int:
    """Write or check an archive of VOC's test server."""
    from deft.predict.voc_server import check_archive, listed_images, submit

    if (given.run is None or given.out is None) if given.check is None else (given.run or given.out):
        raise InputError("expected a run and --out ARCHIVE, or --check ARCHIVE; give one of the two")
    data = given.data or ("" if given.run is None else _data_of(given.run))
    images = listed_images(data, given.images, given.ids)
    if given.check is not None:
        check_archive(given.check, images, given.comp)
        print(f"{given.check}: {len(images)} masks, nothing the server would refuse")
        return 0
    with _threads(given):
        count = submit(given.run, given.out, given.comp or 6, images)
    print(f"{count} masks in {given.out}")
    return 0


def _data_of(run: Path) -> str:
    """The ``--data`` of a run."""
    from deft.artifacts.record import run_record

    return str(run_record(run, "data.given")["data"]["given"])


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
