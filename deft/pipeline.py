"""A pipeline and its run: the stages in order; a stage whose result is stored and current is skipped."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from deft.artifacts import RunFolder, read_json, read_run
from deft.classify.classifier import Classifier
from deft.contracts import InputError, ReadsFiles, Sample, SampleAugmentation, SeedMaps, Splits
from deft.data import check, open_data
from deft.data.faults import refuse
from deft.engine import ranks
from deft.engine.fit import Watch
from deft.engine.infer import device
from deft.engine.memory import keep_freed
from deft.engine.precision import AUTO, WORDS, choose
from deft.seeds.cam import Cam
from deft.segment.deeplab import DeepLab
from deft.segment.inference import Inference
from deft.settings import plain, restore
from deft.stages import Run, Workshop, weights_digest
from deft.thresholds import AUTO as THRESHOLD_AUTO
from deft.thresholds import Threshold, check_threshold


class SeedMethod(Protocol):
    """Finds where in an image its tags are."""

    @property
    def learning(self) -> object:
        """The settings that ``prepare`` trains by, beyond the classifier; None where it trains nothing."""

    def prepare(self, workshop: Workshop) -> Callable[[Sample], SeedMaps | None]:
        """Train what has to be trained, or load it, and return the function of one image and its tags.

        None for a held-out image whose seeds nobody can make: they are then not scored.
        """


class Refiner(Protocol):
    """Turns seeds into better maps."""

    @property
    def background(self) -> Threshold:
        """Threshold below which a refined map is background; ``auto`` chooses it from the refined maps."""

    @property
    def learning(self) -> object:
        """The settings that ``prepare`` trains by: where they are equal, what it trained is taken over."""

    def prepare(self, workshop: Workshop) -> Callable[[Sample, SeedMaps], SeedMaps]:
        """Train what has to be trained, or load it, and return the function of one image."""


@dataclass(frozen=True)
class Pipeline:
    """One method from tags to masks: every field is a setting, and ``--set`` reaches each."""

    classifier: Classifier | None
    """None where the seeds come from elsewhere: refiner and segmentation network then begin from ``weights``."""
    seeds: SeedMethod = field(default_factory=Cam)
    seed_threshold: Threshold = THRESHOLD_AUTO
    """Background threshold at which seeds are scored and, without a refiner, become masks (IRN: 0.15); ``auto`` chooses
    it from the seeds and the photographs, without masks (:mod:`deft.thresholds`)."""
    refine: Refiner | None = None
    segment: DeepLab | None = field(default_factory=DeepLab)
    """The network trained on the pseudo-masks; None stops at the masks."""
    inference: Inference = field(default_factory=Inference)
    backbone: str = "resnet50"
    """Any timm model with feature maps."""
    weights: str = "hub"
    """``hub``, ``none``, ``package`` (:mod:`deft.package_weights`), or a .safetensors or .pth file."""
    stride: int = 16
    """Output stride of the classifier's backbone."""
    precision: str = AUTO
    """``32-true``, ``bf16-mixed`` or ``16-mixed``, of training and of all that is read off networks; ``auto`` takes
    what the machine that begins a run is fastest in (:mod:`deft.engine.precision`)."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse thresholds that a sweep does not know; it would be told only after hours of training."""
        check_threshold("seed_threshold", self.seed_threshold)
        if self.refine is not None:
            check_threshold("refine.background", self.refine.background)
        if self.classifier is None and self.segment is not None and self.segment.from_classifier:
            raise InputError("segment.from_classifier is set and there is no classifier; set it to False")
        if self.precision not in WORDS:
            raise InputError(f"expected a precision of {', '.join(WORDS)}, got {self.precision!r}")
        if self.seed < 0:
            raise InputError(f"expected a seed of at least 0, got {self.seed}")

    @property
    def own_classifier(self) -> Classifier:
        """The classifier's settings, for a recipe that changes them.

        Raises:
            InputError: there is none.
        """
        if self.classifier is None:
            raise InputError("this recipe trains no classifier, so that nothing of one can be changed")
        return self.classifier


def run(pipeline: Pipeline, data: str | Splits, out: Path | str, reuse: Sequence[Path] = (), name: str = "") -> Path:
    """Run all stages, or go on where an earlier run in ``out`` stopped.

    Args:
        pipeline: what to run.
        data: ``KIND:PATH`` as on the command line, or splits.
        out: the run folder.
        reuse: other run folders; their stages of equal settings and inputs are copied, not made again.
        name: of the recipe, for the record and the page.

    Returns:
        The report, ``out/report.html``.

    Raises:
        InputError: the data or the folder cannot be used; nothing has been trained then.
    """
    from deft.present import write_report

    with working(pipeline, data, out, reuse, name) as work:
        return write_report(work) if ranks.first() else work.out.path / "report.html"


@contextmanager
def working(
    pipeline: Pipeline,
    data: str | Splits,
    out: Path | str,
    reuse: Sequence[Path] = (),
    name: str = "",
    watch: Watch | None = None,
) -> Iterator[Run]:
    """A run with every stage made and scored; its folder is held until the block ends.

    Arguments as for :func:`run`; ``watch`` looks at the classifier while it learns, and is not called where it is there
    already.
    """
    from deft.evaluate import evaluate

    keep_freed()
    splits = open_data(data) if isinstance(data, str) else data
    faults = check(splits, full=False)
    refuse(faults, data if isinstance(data, str) else "")
    for fault in faults[:5]:
        print(fault, file=sys.stderr)
    weights_digest(pipeline.weights, pipeline.backbone)  # a missing file is told before anything is made
    if isinstance(pipeline.seeds, ReadsFiles):
        pipeline.seeds.check(splits)
    pipeline = resolved(pipeline, Path(out))
    folder = _open(Path(out), description(pipeline, data, splits, name), needed_bytes(splits, pipeline))
    try:
        work = Run(pipeline, splits, folder, reuse, watch)
        classifier = work.classifier()
        maps = work.refine(work.seeds(classifier))
        work.predictions(work.segment(work.masks(maps)))
        if ranks.first():
            evaluate(work)
        ranks.barrier()
        yield work
    finally:
        folder.close()


def resolved(pipeline: Pipeline, out: Path | None = None) -> Pipeline:
    """The pipeline with its precision settled: that of the run that was begun in ``out``, else this machine's."""
    if pipeline.precision != AUTO:
        return pipeline
    begun = None if out is None else out / "run.json"
    record = read_json(begun) if begun and begun.exists() else {}
    settled = record.get("settings", {}).get("precision", AUTO)
    return replace(pipeline, precision=choose(device()) if settled == AUTO else settled)


def _open(path: Path, what: dict[str, Any], needed: int) -> RunFolder:
    """The run folder, held by the first of several processes; what that one finds wrong ends all."""
    fault: InputError | None = None
    folder: RunFolder | None = None
    if ranks.first():
        try:
            folder = RunFolder(path, what, needed)
        except InputError as error:
            fault = error
    if ranks.agreed(fault is not None):
        raise fault or InputError(f"--out {path} cannot be used; the first process says why")
    return folder or RunFolder(path, what, own=False)


def reopen(folder: Path) -> Run:
    """A finished run, to be read again.

    Raises:
        InputError: the folder holds no run, or one whose settings come from a file of yours.
    """
    record = read_run(folder)
    if not record["data"]["given"]:
        raise InputError(f"{folder}: its data was given in Python and has no name; write its page with deft.run again")
    pipeline = restore(record["settings"])
    if not isinstance(pipeline, Pipeline):
        raise InputError(f"{folder}: expected a pipeline in its run.json; it was written by another program")
    pipeline = replace(pipeline, weights=record.get("given", {}).get("weights", pipeline.weights))
    return Run(pipeline, open_data(record["data"]["given"]), RunFolder(folder, record))


def description(pipeline: Pipeline, data: str | Splits, splits: Splits, name: str) -> dict[str, Any]:
    """What a second run in the same folder has to agree with."""
    settings = plain(pipeline)
    settings["weights"] = weights_digest(pipeline.weights, pipeline.backbone)
    packages = ("torch", "timm", "lightning", "segmentation_models_pytorch", "numpy")
    return {
        "recipe": name,
        "settings": settings,
        "given": {"weights": pipeline.weights},
        "data": {
            "given": data if isinstance(data, str) else "",
            "images": len(splits.train),
            "held out": len(splits.val) if splits.val is not None else 0,
            "classes": list(splits.train.classes),
            "fingerprint": splits.train.fingerprint(),
            "fingerprint of held out": splits.val.fingerprint() if splits.val is not None else "",
        },
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
    }


def needed_bytes(splits: Splits, pipeline: Pipeline) -> int:
    """A generous guess of what a run writes, so that a full disk is told before the training."""
    images = len(splits.train) + (len(splits.val) if splits.val is not None else 0)
    networks = 400e6 if pipeline.backbone.startswith("resnet") else 150e6
    augment = pipeline.classifier.augment if pipeline.classifier is not None else None
    rounds = augment.rounds if isinstance(augment, SampleAugmentation) else 0
    return int((networks + images * 60e3) * (1 + rounds))
