"""A run: its stages in order, its scores and its page. A stage whose result is stored and current is skipped."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from deft.artifacts import CONTENTS, RunFolder, read_json
from deft.artifacts.contents import Contents
from deft.artifacts.record import run_record
from deft.backbone import weights_digest
from deft.contracts import InputError, ReadsFiles, SampleAugmentation, Splits
from deft.data import check
from deft.data.faults import Fault, Faults, refuse
from deft.data.from_file import code_of, options_of
from deft.data.opening import places, read_data
from deft.data.overview import overview
from deft.data.working_size import working_size
from deft.engine import ranks, threads
from deft.engine.budget import begun_with
from deft.engine.infer import device
from deft.engine.method import NeedsHead, ZeroShot
from deft.engine.plan import Watch
from deft.engine.precision import AUTO, choose
from deft.engine.share import HERE, Engine
from deft.evaluate.page import write_report
from deft.evaluate.scores import evaluate
from deft.guards.opening import exists
from deft.guards.output import check_out
from deft.guards.words import shown
from deft.pipeline import Pipeline
from deft.runner.images import Images, told
from deft.runner.preset import fitted
from deft.settings import flat, places_of, plain
from deft.stages.context import FEATURES, Run
from deft.stages.corrections import take_over
from deft.stages.inherited import inherit
from deft.stages.make import make_all

SCORES, PAGE = "scores", "page"
"""What a run makes after its stages."""
_CHANNELS = 16
"""Channels of the small head that seed methods look at before work."""
_REMARKS = 10
"""Most remarks on the data that a run shows."""


def run(
    pipeline: Pipeline,
    data: str | Splits,
    out: Path | str,
    reuse: Sequence[Path] = (),
    name: str = "",
    engine: Engine = HERE,
    corrected: Path | None = None,
    begins: Callable[[str], None] = lambda name: None,
    earlier: Sequence[Path] = (),
    quiet: bool = False,
) -> Path:
    """Run all stages, or resume where an earlier run in ``out`` stopped.

    Args:
        pipeline: what to run.
        data: ``KIND:PATH`` as on the command line, or splits.
        out: the run folder.
        reuse: other run folders; their stages of equal settings and inputs are copied, not made again.
        name: of the recipe, for the record and the page.
        engine: makes the files of images, :class:`deft.runner.on_ray.OnRay` on a cluster.
        corrected: the run whose reviewed masks teach; None takes those of ``out`` itself.
        begins: called with the name of each stage that is made, when its work begins, then with ``scores`` and with
            ``page``.
        earlier: the runs, the last one last, whose reviews ``out`` goes on with (:mod:`deft.stages.inherited`).
        quiet: what is read, and what is odd about it, has been said already.

    Returns:
        The report, ``out/report.html``.

    Raises:
        InputError: the data or the folder cannot be used; nothing has been trained then.
    """
    with working(
        pipeline,
        data,
        out,
        reuse,
        name,
        engine=engine,
        corrected=corrected,
        begins=begins,
        earlier=earlier,
        quiet=quiet,
    ) as work:
        begins(PAGE)
        return write_report(work) if ranks.first() else work.out.path / "report.html"


@contextmanager
def working(
    pipeline: Pipeline,
    data: str | Splits,
    out: Path | str,
    reuse: Sequence[Path] = (),
    name: str = "",
    watch: Watch | None = None,
    engine: Engine = HERE,
    corrected: Path | None = None,
    begins: Callable[[str], None] = lambda name: None,
    earlier: Sequence[Path] = (),
    quiet: bool = False,
) -> Iterator[Run]:
    """A run with every stage made and scored; its folder is held until the block ends.

    Arguments as for :func:`run`; ``watch`` is called with the classifier while it trains, and not at all if it is
    trained already.
    """
    out = Path(out)
    splits, remarks = _opened(data, isinstance(pipeline.seeds, ZeroShot) and pipeline.seeds.zero_shot)
    check_out(out, reads(pipeline, data, splits))
    check_reuse(reuse)
    if corrected is not None:
        check_reuse([corrected], "--corrected")
    quiet = quiet or not ranks.first()
    if not quiet:
        _tell(splits, remarks)
    foreign = [other for other in reuse if _of_other_code(name, other)]
    reuse = [other for other in reuse if other not in foreign]
    for other in () if quiet else foreign:
        print(
            f"{shown(other)} was made by other code of the same file: none of its stages is taken over", file=sys.stderr
        )
    pipeline, changes = fitted(pipeline)
    for method in (pipeline.seeds, pipeline.refine):
        if isinstance(method, ReadsFiles):
            method.check(replace(splits, max_side=pipeline.max_side))
    if isinstance(pipeline.seeds, NeedsHead) and pipeline.classifier is not None:
        small = pipeline.classifier.small_head(_CHANNELS)
        if small is not None:
            pipeline.seeds.fits(small, _CHANNELS)
    # Weights come after all that refuses them, as they may be downloaded, and before anything is made.
    digest = weights_digest(pipeline.weights, pipeline.backbone, _recorded_weights(out))
    for change in () if quiet else changes:
        print(f"for {pipeline.backbone}: {change}", file=sys.stderr)
    pipeline = resolved(pipeline, out)
    begun = _recorded(out)
    choice = threads.choose(pipeline.threads, begun.get("threads"))
    pipeline = replace(pipeline, memory=begun_with(pipeline.memory, begun.get("memory")))
    folder, contents = _open(out, pipeline, data, splits, name, choice.number, digest, corrected, earlier)
    try:
        with threads.computing(choice):
            work = Run(pipeline, splits, folder, reuse, watch, contents=contents, engine=engine, begins=begins)
            make_all(work)
            begins(SCORES)
            if ranks.first():
                evaluate(work)
                work.contents.store()
            ranks.barrier()
            yield work
        if ranks.first():
            folder.seal()
    finally:
        folder.close()


def _opened(data: str | Splits, untagged: bool) -> tuple[Splits, list[Fault]]:
    """Open and briefly check the data; what is odd about it comes with it. Without tags only where ``untagged``."""
    faults = Faults()
    splits = read_data(data, faults) if isinstance(data, str) else data
    name = data if isinstance(data, str) else "data"
    refuse(faults.all, name)
    if splits is None:
        raise InputError(f"{name}: nothing to read; `deft check {name}` lists its faults")
    faults.all += check(splits, full=False, name=name, untagged=untagged)
    refuse(faults.all, name if isinstance(data, str) else "")
    return splits, faults.all


def _tell(splits: Splits, remarks: list[Fault]) -> None:
    """Say what was read before hours pass: the classes with examples, and what is odd."""
    print(overview(splits), file=sys.stderr)
    for fault in remarks[:_REMARKS]:
        print(fault, file=sys.stderr)
    if len(remarks) > _REMARKS:
        print(f"... and {len(remarks) - _REMARKS} more remarks: `deft check` lists them all", file=sys.stderr)


def reads(pipeline: Pipeline, data: str | Splits, splits: Splits) -> Iterator[Path]:
    """Files and folders that a run reads: its data, and the files of its seed method and its refiner."""
    yield from places(splits, data if isinstance(data, str) else "")
    for method in (pipeline.seeds, pipeline.refine):
        if isinstance(method, ReadsFiles):
            own: Any = method
            named = [reduce(getattr, name.split("."), own) for name in places_of(own)]
            folders = dict.fromkeys(str(folder) for folder in (*named, getattr(own, "folder", "")) if folder)
            yield from (Path(folder).expanduser() for folder in folders)


def check_reuse(reuse: Sequence[Path], option: str = "--reuse") -> None:
    """Raise InputError for a folder of an option that holds no run."""
    for other in reuse:
        if not os.path.isfile(other / "run.json"):
            raise InputError(
                f"{option} {shown(other)}: expected the folder of a run, found no run.json in it; correct the path"
            )
        run_record(other, "recipe", "settings", "data")  # else every stage would be trained in spite of it


def _of_other_code(name: str, other: Path) -> bool:
    """Whether a run is of an earlier content of the user's file that this one is of.

    Keys of stages are made of settings and not of code, so that its stages would be taken for those of this run.

    Args:
        name: of this run, ``NAME (DIGEST)`` if its recipe is a file.
        other: folder of a run.
    """
    file = name.rpartition(" (")[0]
    recorded = str(run_record(other, "recipe")["recipe"])
    return bool(file) and recorded != name and recorded.rpartition(" (")[0] == file


def resolved(pipeline: Pipeline, out: Path | None = None) -> Pipeline:
    """The pipeline as its backbone needs it, and with ``auto`` precision resolved.

    Precision is that of the run begun in ``out``, else the best of this machine.
    """
    pipeline, _ = fitted(pipeline)
    if pipeline.precision != AUTO:
        return pipeline
    before = _recorded(out).get("settings", {})
    settled = before.get("precision", AUTO) if isinstance(before, dict) else AUTO
    return replace(pipeline, precision=choose(device()) if settled == AUTO else settled)


def _recorded(out: Path | None) -> dict[str, Any]:
    """The record of the run that was begun in a folder; empty if there is none."""
    begun = None if out is None else out / "run.json"
    record = read_json(begun) if begun and exists(begun) else {}
    return record if isinstance(record, dict) else {}


def _recorded_weights(out: Path) -> str:
    """Digest of the weights that the run in a folder was begun from; empty if there is none."""
    settings = _recorded(out).get("settings")
    return str(settings.get("weights", "")) if isinstance(settings, dict) else ""


def _open(
    path: Path,
    pipeline: Pipeline,
    data: str | Splits,
    splits: Splits,
    name: str,
    number: int,
    weights: str,
    corrected: Path | None,
    earlier: Sequence[Path],
) -> tuple[RunFolder, Contents]:
    """The run folder, locked by rank 0, and the digests of the data's files; an error ends all processes.

    The first process reads the files, and the others find their digests in the run folder. ``number`` is that of the
    threads, ``weights`` the digest of the initial ones, ``corrected`` the run whose review teaches, and ``earlier`` are
    those whose reviews go on.
    """
    fault: InputError | None = None
    folder: RunFolder | None = None
    contents = Contents(path / CONTENTS)
    if ranks.first():
        try:
            images = Images.of(splits, contents)
            record = {
                **description(pipeline, data, splits, name, images, weights),
                "threads": number,
                "memory": pipeline.memory,
            }
            needed, differs = needed_bytes(splits, pipeline, path), told(path, record, pipeline, images)
            folder = RunFolder(path, record, needed, told=differs)
            try:
                _begin(path, pipeline, splits, images, contents, corrected, earlier)
            except BaseException:
                folder.close()
                folder = None
                raise
        except InputError as error:
            fault = error
    if ranks.agreed(fault is not None):
        raise fault or InputError(f"--out {path} cannot be used; the first process says why")
    return (RunFolder(path, {}, own=False), Contents(path / CONTENTS)) if folder is None else (folder, contents)


def _begin(
    path: Path,
    pipeline: Pipeline,
    splits: Splits,
    images: Images,
    contents: Contents,
    corrected: Path | None,
    earlier: Sequence[Path],
) -> None:
    """Write into a run folder what the run learns from."""
    if remark := images.held_out_remark(path):
        print(remark, file=sys.stderr)
    photographs = images.photographs
    # What was reviewed is compared with the photographs of before, so that their record is the last to change.
    inherit(path, earlier, splits.train.classes, images.names, photographs)
    take_over(path, splits, pipeline.corrections, corrected, photographs)
    images.store(path)
    contents.store()


def description(
    pipeline: Pipeline,
    data: str | Splits,
    splits: Splits,
    name: str,
    images: Images | None = None,
    weights: str = "",
) -> dict[str, Any]:
    """The record of a run: a second run in the same folder has to agree with it.

    Args:
        pipeline: of the run.
        data: as given.
        splits: what was read.
        name: of the recipe.
        images: what the splits teach; None reads them.
        weights: digest of the initial weights; without it they are read.
    """
    images = images or Images.of(splits)
    options = options_of(data) if isinstance(data, str) else []
    settings = plain(pipeline)
    for apart in ("threads", "memory"):  # recorded apart: they need not be the same in the end
        del settings[apart]
    settings["weights"] = weights or weights_digest(pipeline.weights, pipeline.backbone)
    packages = ("torch", "timm", "lightning-fabric", "segmentation_models_pytorch", "numpy")
    return {
        "recipe": name,
        "settings": settings,
        "given": {"weights": pipeline.weights},
        "data": {
            "given": data if isinstance(data, str) else "",
            **({"code": code} if (code := code_of(data) if isinstance(data, str) else "") else {}),
            **({"options": options} if options else {}),
            **size_of(splits),
            **_scaled_down(splits, pipeline.max_side),
            "fingerprint": images.train.fingerprint,
            "fingerprint of held out": "" if images.val is None else images.val.fingerprint,
        },
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in (*packages, *_foreign(settings))},
        },
    }


def size_of(splits: Splits) -> dict[str, Any]:
    """What a record holds of the data and any copy of it has in common."""
    return {
        "images": len(splits.train),
        "held out": len(splits.val) if splits.val is not None else 0,
        "classes": list(splits.train.classes),
    }


def _scaled_down(splits: Splits, max_side: int | None) -> dict[str, Any]:
    """The bound on the size of photographs, if any of them exceeds it: only then does another bound change a run."""
    parts = [part for part in (splits.train, splits.val) if part is not None]
    return {"max_side": max_side} if any(working_size(part, max_side) is not part for part in parts) else {}


def _foreign(settings: Any) -> list[str]:
    """Other installed packages whose classes are among the settings."""
    classes = [str(value) for name, value in flat(settings).items() if name.rpartition(".")[2] == "class"]
    modules = {name.partition(".")[0] for name in classes} - {"deft"}
    known = packages_distributions() if modules else {}
    return sorted({package for module in modules for package in known.get(module, ())})


def needed_bytes(splits: Splits, pipeline: Pipeline, path: Path) -> int:
    """Upper estimate of the bytes that a run will write, so that a full disk is reported before training.

    What is in its folder already is not written again. Features of a frozen backbone are not counted: their stage, the
    first, knows how large they are.
    """
    images = len(splits.train) + (len(splits.val) if splits.val is not None else 0)
    networks = 400e6 if pipeline.backbone.startswith("resnet") else 150e6
    augment = pipeline.classifier.augment if pipeline.classifier is not None else None
    rounds = augment.rounds if isinstance(augment, SampleAugmentation) else 0
    stages = [found for found in path.iterdir() if found.name != FEATURES] if exists(path / "run.json") else []
    there = sum(found.stat().st_size for stage in stages for found in stage.rglob("*") if found.is_file())
    return max(0, int((networks + images * 60e3) * (1 + rounds)) - there)
