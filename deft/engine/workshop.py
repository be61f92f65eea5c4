"""What a run gives to a seed method or a refiner that learns, and the labels that both kinds learn from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deft.artifacts import file_stem, load_mask, load_tensors, save_mask, save_tensors
from deft.contracts import BACKGROUND, IGNORE, Dataset, InputError, Sample, SeedMaps
from deft.engine import ranks
from deft.engine.fit import Plan, finish, fit
from deft.engine.infer import for_each
from deft.engine.reading import Examples
from deft.engine.worklist import WorkList
from deft.thresholds import MapStatistics, kept_statistics

Labels = Callable[[NDArray[np.uint8], SeedMaps], NDArray[np.uint8]]
"""Image (H, W, 3) and its seeds to a mask (H, W), 255 where it is not sure."""


class Workshop(Protocol):
    """The attributes of :class:`deft.stages.Workshop`; seed methods and refiners know a run by these alone."""

    @property
    def data(self) -> Dataset:
        """Training images."""

    @property
    def seeds(self) -> Callable[[int], SeedMaps]:
        """Stored seeds of training image ``i``; a seed method has none yet."""

    @property
    def classifier(self) -> Any:
        """The trained classifier, an ``nn.Module`` with ``backbone`` and ``head``; an error where there is none."""

    @property
    def backbone(self) -> Any:
        """A :class:`deft.backbone.Backbone`: the classifier's, or what it would begin from."""

    @property
    def folder(self) -> Path:
        """Where what is learned is kept."""

    @property
    def made_by(self) -> str:
        """Key that goes into every file."""

    @property
    def seed(self) -> int:
        """Of initial weights, batches and crops."""

    @property
    def side(self) -> int:
        """Typical long side of the images, in pixels."""

    @property
    def precision(self) -> str:
        """Lightning's word, of training and of what is read off networks."""

    def crops(
        self,
        masks: list[Path],
        indices: tuple[int, ...],
        *,
        crop: float,
        scale: tuple[float, float],
        flip: bool,
        jitter: float = 0.0,
        centred: bool = False,
    ) -> Examples:
        """Random crops of the images ``indices`` and of their masks, a path for every image, with the images' tags.

        They are squares of 32 k pixels, or of 32 k + 1 where they are to be ``centred``: see
        :meth:`deft.stages.Workshop.crops`.
        """


def learn(
    workshop: Workshop,
    network: nn.Module,
    examples: Callable[[], Examples],
    plan: Plan,
    title: str,
    after: Callable[[], None] | None = None,
) -> None:
    """Train the network of a stage and keep it in the stage's folder, or load what is there.

    Args:
        workshop: whose folder, seed and precision.
        network: a :class:`deft.engine.fit.Trainee`; filled in place.
        examples: makes what it learns from; called only where it has to learn.
        plan: how long and how.
        title: beside the progress bar.
        after: measures or changes the trained network before it is kept.
    """
    path = workshop.folder / "model.safetensors"
    if ranks.agreed(path.exists()):
        network.load_state_dict(load_tensors(path)[0])
        finish(workshop.folder)  # a kill may have come between the two
        return
    given = examples()
    fit(
        network,
        given,
        plan,
        folder=workshop.folder,
        seed=workshop.seed,
        precision=workshop.precision,
        title=title,
    )
    if after is not None:
        after()
    if ranks.first():
        save_tensors(path, network.state_dict(), {"made_by": workshop.made_by})
        finish(workshop.folder)
    ranks.barrier()


@runtime_checkable
class OpenLabels(Protocol):
    """Labels whose thresholds may be chosen from statistics of the seeds."""

    @property
    def open(self) -> bool:
        """Whether a threshold is still to be chosen."""

    def settled(self, statistics: MapStatistics) -> Labels:
        """The same with every threshold chosen."""


def settled(workshop: Workshop, labels: Labels, seeds: Callable[[int], SeedMaps]) -> Labels:
    """Labels with every threshold a number; arguments as for :func:`make_labels`."""
    if isinstance(labels, OpenLabels) and labels.open:
        return labels.settled(statistics_of(workshop, seeds))
    return labels


def statistics_of(workshop: Workshop, seeds: Callable[[int], SeedMaps]) -> MapStatistics:
    """Statistics of the training images' seeds, kept in ``statistics.json`` of the folder.

    Args:
        workshop: whose images and folder.
        seeds: of training image ``i``.
    """
    return kept_statistics(workshop.folder / "statistics.json", workshop.made_by, workshop.data, seeds)


def make_labels(
    workshop: Workshop,
    labels: Labels,
    seeds: Callable[[int], SeedMaps],
) -> list[Path]:
    """Labels of every training image, palette PNGs in ``labels/`` of the folder; those there are kept.

    Args:
        workshop: whose images and folder.
        labels: image (H, W, 3) and its seeds to a mask (H, W), 255 where it is not sure.
        seeds: of training image ``i``.
    """
    labels = settled(workshop, labels, seeds)
    paths = [workshop.folder / "labels" / (file_stem(name) + ".png") for name in workshop.data.names]

    def work(index: int, sample: Sample) -> None:
        save_mask(paths[index], labels(sample.image, seeds(index)), workshop.made_by)

    todo = WorkList(workshop.folder / "claims-labels", paths, workshop.made_by)
    for_each(workshop.data, todo, work, title="confident labels", on_device=False)
    ranks.barrier()
    if ranks.first():
        todo.clear()
    return paths


def sure_of_something(paths: list[Path], remedy: str) -> tuple[int, ...]:
    """Places of the masks with at least one sure pixel.

    Args:
        paths: of masks.
        remedy: which setting to change, for the error.

    Raises:
        InputError: no mask holds an object.
    """
    useful, objects = [], False
    for index, path in enumerate(paths):
        values = set(np.unique(load_mask(path)).tolist()) - {IGNORE}
        if values:
            useful.append(index)
        objects = objects or bool(values - {BACKGROUND})
    if not objects:
        raise InputError(
            "expected confident labels of some object in some image, found none in any; "
            f"look at the seeds, train the classifier for longer, or {remedy}"
        )
    return tuple(useful)
