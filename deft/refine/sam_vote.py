"""Class-free masks vote on the classes of pixels: masks of SAM or of any other tool, or superpixels.

The rules are those of FMA-WSSS and SEPL (:mod:`deft.refine.votes`); where masks come from is a setting. Nothing is
trained. Votes are taken at the pixels of the image, and the result is stored on the grid of seed maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deft.artifacts.contents import whole
from deft.contracts import DigestFiles, InputError, Sample, SeedMaps, Splits
from deft.engine.class_free import (
    Partition,
    Segments,
    Stack,
    check_segments,
    files_digest,
    partition,
    read_segments,
    segments_digest,
)
from deft.engine.method import MethodContext, statistics_of
from deft.ranges import check_ranges
from deft.refine.sam import Sam
from deft.refine.superpixels import Felzenszwalb, Slic, segmentation
from deft.refine.votes import MeanVote, OverlapVote
from deft.seedmaps import STRIDE, upsample
from deft.settings import place
from deft.thresholds import AUTO, Threshold, check_threshold, choose, needed


@dataclass(frozen=True)
class MaskFolder:
    """Masks from files, see :mod:`deft.engine.class_free`."""

    folder: str = field(default="", metadata=place())
    """Folder of the masks; never written to."""

    @property
    def root(self) -> Path:
        """The folder.

        Raises:
            InputError: there is none.
        """
        root = Path(self.folder).expanduser()
        if not self.folder or not root.is_dir():
            raise InputError(
                f"refine.masks.folder: expected the folder of the masks, got {self.folder!r}; give --set "
                "refine.masks.folder=MASKS, or --set refine.masks=Slic for superpixels"
            )
        return root


@dataclass(frozen=True)
class SamVote:
    """Settings of the vote; a refiner, and a :class:`deft.contracts.ReadsFiles`."""

    masks: MaskFolder | Slic | Felzenszwalb | Sam = field(default_factory=MaskFolder)
    """Where masks come from: a folder, superpixels (extra ``superpixels``), or a model (extra ``sam``)."""
    rule: MeanVote | OverlapVote = field(default_factory=MeanVote)
    """How they vote."""
    background: Threshold = 0.5
    """Background threshold of the refined maps: 0.5 gives the masks of the rule. ``auto`` chooses it from the maps;
    these are nearly 0 and 1, so that thresholds far from 0.5 seem as good, and move outlines by a cell of the grid."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_threshold("refine.background", self.background)
        check_ranges(self)

    @property
    def learning(self) -> object:
        """The rule, if a threshold is chosen for it from the seeds; None otherwise."""
        return (self.rule,) if isinstance(self.rule, OverlapVote) and self.rule.threshold == AUTO else None

    def check(self, splits: Splits) -> None:
        """Check the files of a folder, or that a package is installed, before the run starts."""
        if isinstance(self.masks, MaskFolder):
            check_segments(self.masks.root, splits)
        elif isinstance(self.masks, Sam):
            self.masks.check()
        else:
            segmentation()

    def fingerprint(self) -> str:
        """Digest of all files of the folder; empty without one."""
        if not isinstance(self.masks, MaskFolder):
            return ""
        root = self.masks.root
        return files_digest(root, (path for path in root.rglob("*") if path.is_file()), whole)

    def fingerprint_of(self, names: Sequence[str], digests: DigestFiles) -> str:
        """Digest of the masks of some images; empty without a folder."""
        return segments_digest(self.masks.root, names, digests) if isinstance(self.masks, MaskFolder) else ""

    def prepare(self, context: MethodContext) -> Callable[[Sample, SeedMaps], SeedMaps]:
        """Choose the threshold of the rule, if it is ``auto``, and return the refinement of one image.

        Raises:
            InputError: a package is missing, or the seeds have one value everywhere.
        """
        rule = self.rule
        if isinstance(rule, OverlapVote) and rule.threshold == AUTO:
            found = statistics_of(context, context.seeds)
            choice = needed(choose(found), "refine.rule.threshold", found.images, context.remedy)
            rule = replace(rule, threshold=choice.threshold)
        masks_of, classes = self._masks(), context.data.classes

        def refine(sample: Sample, seeds: SeedMaps) -> SeedMaps:
            return vote(seeds, masks_of(sample), rule, classes) if seeds.classes else seeds

        return refine

    def _masks(self) -> Callable[[Sample], Segments]:
        """The function of one image that returns its masks, of its size."""
        source = self.masks
        if isinstance(source, MaskFolder):
            root = source.root
            return lambda sample: stored(root, sample)
        if isinstance(source, Sam):
            model = source.load()
            return lambda sample: model(sample.image)
        return lambda sample: partition(source(sample.image))


def stored(root: Path, sample: Sample) -> Segments:
    """The masks of an image from a folder; those of the photograph are brought to the size at which it is read.

    Raises:
        InputError: they are missing, cannot be read, or have another size.
    """
    size = (sample.image.shape[0], sample.image.shape[1])
    segments, own = read_segments(root, sample.name, list(dict.fromkeys([size, sample.full_size])))
    if own == size:
        return segments
    rows, columns = _nearest(own[0], size[0]), _nearest(own[1], size[1])
    if isinstance(segments, Partition):
        return replace(segments, labels=segments.labels[np.ix_(rows, columns)])
    return Stack(size, segments.classes, lambda index: segments.mask(index)[np.ix_(rows, columns)])


def vote(seeds: SeedMaps, segments: Segments, rule: MeanVote | OverlapVote, classes: Sequence[str]) -> SeedMaps:
    """Refined maps of one image.

    Args:
        seeds: maps of its P classes.
        segments: its masks, at the size of the image.
        rule: how they vote.
        classes: names of the K classes, for masks that were prompted for one.

    Raises:
        InputError: a mask was prompted for a class that does not exist.
    """
    places: dict[str, int | None] = {name: -1 for name in classes}
    places |= {classes[index]: place_ for place_, index in enumerate(seeds.classes)} | {"": None}
    if unknown := next((name for name in segments.classes if name not in places), ""):
        raise InputError(
            f"expected masks for classes of the data, {', '.join(classes)}, got one for {unknown!r}; correct its name"
        )
    maps = upsample(seeds).double().cpu().numpy()
    found = rule(maps, segments, [places[name] for name in segments.classes])
    on_grid = np.ascontiguousarray(found[:, ::STRIDE, ::STRIDE], dtype=np.float32)
    return replace(seeds, maps=torch.from_numpy(on_grid).clamp(0, 1))


def _nearest(source: int, wanted: int) -> NDArray[np.intp]:
    """The source pixel under the centre of each of ``wanted`` pixels."""
    return (2 * np.arange(wanted) + 1) * source // (2 * wanted)
