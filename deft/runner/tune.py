"""``deft tune``: choose a run's thresholds on a few hand-drawn masks.

Few masks say little: the best threshold of five images is off by a point or two on the others. So what they say is
blended with what was chosen without any (:mod:`deft.thresholds.criterion`), as if that choice came from ten masks of
its own: with five drawn masks it has two thirds of the say, with fifty a sixth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import load_seeds, or_newest_run
from deft.artifacts.record import run_record
from deft.artifacts.review import REJECTED, Review
from deft.backbone import weights_digest, weights_key
from deft.contracts import Dataset, InputError, Sample
from deft.data.images import read_mask
from deft.engine.corrections import is_held_out
from deft.engine.infer import for_each
from deft.evaluate.page import write_report
from deft.evaluate.scores import evaluate
from deft.guards.opening import is_folder
from deft.guards.output import check_out
from deft.metrics import ThresholdSweep
from deft.runner.recorded import reopen
from deft.seedmaps import enlarged
from deft.stages.context import Run
from deft.stages.make import Maps, make_from_maps
from deft.thresholds import Choice, Tuned, needed, write_tuned

FEWEST = 5
"""Minimum number of masks for tuning."""
PRIOR = 10
"""Number of masks that the choice without masks counts as."""
SAMPLES = 200
"""Bootstrap samples for estimating how far a choice can be off."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Counts of drawn masks, from which the curve of any sample of them follows."""

    counts: NDArray[np.int64]
    """(n, K + 1, K, 101), as of :class:`deft.metrics.ThresholdSweep`."""
    totals: NDArray[np.int64]
    """(n, K + 1)."""

    def curve(self, rows: NDArray[np.intp] | slice = slice(None)) -> NDArray[np.float64]:
        """Mean IoU of a sample of the masks at each threshold, (100,)."""
        counts, totals = self.counts[rows].sum(axis=0), self.totals[rows].sum(axis=0)
        return ThresholdSweep(counts.shape[1], counts, totals).curve()


def tune(
    folder: Path,
    masks: Path | None = None,
    most: int | None = None,
    data: str | None = None,
    reviewed: bool = False,
) -> tuple[Tuned, Path]:
    """Choose thresholds on drawn masks, make again what depends on them, and score on the other images.

    Args:
        folder: a finished run.
        masks: folder of drawn masks, named after the training images; None takes the dataset's own.
        most: use so many of the masks, chosen by their images' names, and leave the others to be scored on.
        data: as for :func:`deft.runner.recorded.reopen`.
        reviewed: take the masks of the run's review that are not held out, instead of ``masks``.

    Returns:
        What was chosen, and the page.

    Raises:
        InputError: no finished run, fewer than five masks, masks of other images, or the run's weights are gone.
    """
    if not (folder / "scores.json").exists():
        remedy = or_newest_run(folder, "finish it with the command it was begun with")
        raise InputError(f"{folder}: expected a finished run, found none; {remedy}")
    if masks is not None and reviewed:
        raise InputError(f"--masks {masks}: expected no folder of masks beside --reviewed; give one of the two")
    if masks is not None:
        check_out(folder, [masks], "run")  # its own folder of masks is made again
    run = reopen(folder, data)
    try:
        _need_weights(run)
        if reviewed:
            drawn = _of_review(run)
        else:
            drawn = _from_folder(run.train, masks) if masks is not None else _of_data(run.train)
        chosen = _few(run.train, sorted(drawn), most)
        if len(chosen) < FEWEST:
            raise InputError(
                f"expected at least {FEWEST} drawn masks to tune on, got {len(chosen)}; draw some more (the thresholds "
                "chosen without masks stay in use meanwhile)"
            )
        thresholds, off = {}, {}
        for stage in ("seeds",) if run.pipeline.refine is None else ("seeds", "refined"):
            paths = run.map_files() if stage == "refined" else run.files("seeds", run.train, ".npz", "train")
            counted = count(run.train, paths, chosen, drawn)
            thresholds[stage], off[stage] = tuned_threshold(counted, run.cuts(stage).choice, stage)
        found = Tuned(thresholds, tuple(run.train.names[index] for index in chosen), off)
        write_tuned(folder, found)
        run = Run(run.pipeline, run.splits, run.out)  # one that reads what was just written
        make_from_maps(run, Maps(run.stored("seeds" if run.pipeline.refine is None else "refined")))
        evaluate(run)
        page = write_report(run)
        run.out.seal()
        return found, page
    finally:
        run.out.close()


def tuned_threshold(drawn: Drawn, choice: Choice | None, what: str = "a threshold") -> tuple[float, float]:
    """A threshold from drawn masks and from the choice without masks, and how far it can be off.

    Args:
        drawn: counts of the masks.
        choice: what was chosen without masks.
        what: is chosen, for the error.

    Returns:
        The threshold, and the mIoU in [0, 1] that thresholds chosen in the same way on samples of the masks, drawn with
        replacement, lose on all of them in the mean.
    """
    auto = needed(choice, what).threshold
    count = len(drawn.counts)
    whole = drawn.curve()
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(SAMPLES):
        sample = drawn.curve(rng.integers(0, count, count))
        losses.append(np.nanmax(whole) - whole[_step(blend(sample, auto, count))])
    return _step(blend(whole, auto, count)) / 100, float(np.mean(losses))


def blend(curve: NDArray[np.float64], auto: float, count: int) -> float:
    """Weighted mean of a curve's best threshold, from ``count`` masks, and the ``auto`` one, which counts as ten."""
    return (count * float(np.nanargmax(curve)) / 100 + PRIOR * auto) / (count + PRIOR)


def count(data: Dataset, maps: Sequence[Path], indices: Sequence[int], drawn: dict[int, Path | None]) -> Drawn:
    """Count stored maps of some images against their drawn masks, at every threshold.

    Args:
        data: the images.
        maps: one file an image of the data.
        indices: the images to count.
        drawn: the file of each image's mask; None takes the dataset's own.
    """
    sweeps = {index: ThresholdSweep(len(data.classes)) for index in indices}

    def work(index: int, sample: Sample) -> None:
        path = drawn[index]
        truth = sample.mask if path is None else read_mask(path)
        if truth is None:
            raise InputError(f"image {sample.name!r} has no mask any more; give the masks with --masks")
        if truth.shape != sample.full_size:
            raise InputError(
                f"{path}: expected a mask of the size of its image, {sample.full_size[0]} x {sample.full_size[1]}, "
                f"got {truth.shape[0]} x {truth.shape[1]}"
            )
        seeds = load_seeds(maps[index])
        try:
            for rows, band in enlarged(seeds):
                sweeps[index].update(band.numpy(), seeds.classes, truth[rows])
        except ValueError as error:
            raise InputError(f"{path or sample.name}: {error}") from error

    for_each(data, list(indices), work, title="drawn masks", on_device=False)
    ordered = [sweeps[index] for index in indices]
    return Drawn(np.stack([one.counts for one in ordered]), np.stack([one.totals for one in ordered]))


def _of_data(data: Dataset) -> dict[int, Path | None]:
    """The images of a dataset that have a mask of its own."""
    return {int(index): None for index in np.flatnonzero(data.scored)}


def _of_review(run: Run) -> dict[int, Path | None]:
    """The reviewed masks of training images that are not held out, by the index of their image."""
    review = Review(run.out.path, run.train.classes)
    share = run.pipeline.corrections.held_out
    places = {name: index for index, name in enumerate(run.train.names) if not is_held_out(name, share)}
    found: dict[int, Path | None] = {}
    for name, each in review.read().items():
        if name in places and each.state != REJECTED:
            review.load(name, each)
            found[places[name]] = review.mask_file(name, each.mask)
    return found


def _from_folder(data: Dataset, folder: Path) -> dict[int, Path | None]:
    """The masks in a folder, by the index of their image."""
    if not is_folder(folder):
        raise InputError(f"--masks {folder}: expected a folder of PNGs named after the training images, found none")
    places = {name: index for index, name in enumerate(data.names)}
    files = sorted(path for path in folder.rglob("*.png") if not path.is_dir())
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in files]
    strangers = [path for path, name in zip(files, names, strict=True) if name not in places]
    if strangers:
        raise InputError(
            f"--masks {folder}: expected masks named after training images, got {len(strangers)} that are not, "
            f"{strangers[0].name!r} for one; name a mask like its image: {data.names[0]}.png"
        )
    return {places[name]: path for path, name in zip(files, names, strict=True)}


def _few(data: Dataset, indices: list[int], most: int | None) -> list[int]:
    """At most so many of the images, by a hash of their names, so that a larger sample contains every smaller one."""
    if most is None or most >= len(indices):
        return indices
    if most < 1:
        raise InputError(f"expected a number of masks of at least {FEWEST}, got {most}")
    order = sorted(indices, key=lambda index: hashlib.sha256(data.names[index].encode()).hexdigest())
    return sorted(order[:most])


def _need_weights(run: Run) -> None:
    """Raise InputError if the initial weights are gone, without which the network cannot be trained again."""
    pipeline = run.pipeline
    if pipeline.segment is None or pipeline.segment.from_classifier:
        return
    settled = run_record(run.out.path, "settings")["settings"].get("weights")
    now = weights_digest(pipeline.weights, pipeline.backbone, str(settled))
    if settled != "hub" and weights_key(now) != weights_key(str(settled)):  # earlier versions recorded no more
        raise InputError(
            f"the run began from the weights {settled!r}, and {pipeline.weights!r} are others; put the file back"
        )


def _step(threshold: float) -> int:
    return min(99, max(0, round(threshold * 100)))
