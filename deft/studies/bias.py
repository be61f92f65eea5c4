"""Bias of each class towards contexts and co-occurring classes, on the user's own images. Not part of any paper.

DEFT's classifier computes an object and a background vector of each image, and has a layer, f_swap, that scores any
pair of the two. So every object can be scored on every background of the dataset, and f_fg can be given a background
alone: neither masks nor new photographs are needed. The study adds what any classifier provides, the score of a class
on its photographs with and without the companion; and, if there are masks, the IoU with and without the companion, and
the activation on objects and on their background.

Pairs of a class and a companion are ranked by their *lift*: the mean logit of the class, over its objects, on
backgrounds of photographs that show the companion, minus that on backgrounds of photographs that do not. f_swap is
additive in the paper's form and in the released one: then the lift in logits is the same for every object of a class,
although the lift in probability is not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import atomic_write, load_mask, load_seeds, write_json
from deft.contracts import Dataset, InputError, Sample
from deft.engine.infer import device, for_each
from deft.evaluate.stored import swept_threshold
from deft.metrics.bias import observed
from deft.metrics.cooccurrence import Cooccurrence, class_by_class, class_by_context
from deft.metrics.miou import Confusion
from deft.seedmaps import full_mask
from deft.stages.context import Run
from deft.stages.truth import usable_truth
from deft.studies.bias_page import compose_bias
from deft.studies.outcome import Outcome, finite
from deft.studies.probe import ActivationProbe, batch_norms
from deft.studies.rows import Finding, Row, system_rows
from deft.studies.runner import StudyRunner
from deft.studies.swapped_scores import SwappedScores
from deft.studies.vectors import has_two_vectors

SYSTEMS = ("irn_deft", "cam")
RECORD = "bias.json"


@dataclass(frozen=True)
class BiasSettings:
    """Numbers of images of the study `bias`."""

    images: int = 400
    """Maximum number of training images whose vectors are paired, balanced over the classes."""
    together: int = 3
    """Minimum number of photographs that show a class and a companion together, for the pair to be listed."""
    examples: int = 3
    """Number of example photographs of each class."""


@dataclass(frozen=True, eq=False)
class Companions:
    """What a class can occur together with: the contexts, if the dataset has labels of them, and the other classes."""

    names: tuple[str, ...]
    """Names of the J companions."""
    kinds: tuple[str, ...]
    """``context`` or ``tag`` (a class) for each."""
    shown: NDArray[np.bool_]
    """Which images show which companion, (N, J)."""
    tables: tuple[Cooccurrence, ...]
    """Co-occurrence of classes with contexts, if there are any, and with classes, in the order of ``names``."""

    @classmethod
    def of(cls, data: Dataset) -> Companions:
        """The companions in a dataset."""
        together = class_by_class(data.labels, data.classes)
        contexts = data.context_labels
        if contexts is None or not data.contexts:
            return cls(data.classes, ("tag",) * len(data.classes), data.labels, (together,))
        scenes = class_by_context(data.labels, contexts, data.classes, data.contexts)
        kinds = ("context",) * len(data.contexts) + ("tag",) * len(data.classes)
        shown = np.concatenate([contexts, data.labels], axis=1)
        return cls((*data.contexts, *data.classes), kinds, shown, (scenes, together))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of photographs that show both, for each class and companion, (K, J)."""
        return np.concatenate([table.counts for table in self.tables], axis=1)

    @property
    def base(self) -> NDArray[np.float64]:
        """Share of all photographs that show the companion, (J,)."""
        return np.concatenate([table.base for table in self.tables])


def bias(runner: StudyRunner, settings: BiasSettings | None = None) -> Outcome:
    """Train each system up to its pseudo-masks and measure what its class scores depend on.

    Raises:
        InputError: none of the chosen systems has DEFT's head.
    """
    settings = settings or BiasSettings()
    rows = runner.choose([row for row in system_rows(systems=runner.systems) if row.pipeline.classifier], SYSTEMS)
    if not any(has_two_vectors(row.pipeline) for row in rows):
        raise InputError(
            "this study swaps backgrounds: expected at least one system with DEFT's head, got "
            f"{', '.join(row.name for row in rows)}; add irn_deft to --systems"
        )
    rows = [replace(row, pipeline=replace(row.pipeline, segment=None)) for row in rows]
    rows.sort(key=lambda row: not has_two_vectors(row.pipeline))
    data = runner.splits.train
    companions = Companions.of(data)

    def work(row: Row, seed: int) -> None:
        with runner.run(row.name, row.pipeline, seed) as run:
            write_json(run.out.path / RECORD, finite(bias_record(run, companions, settings)))

    def compose(findings: list[Finding]) -> Outcome:
        folders = [runner.folder(each.row.name, each.row.pipeline, each.seed) for each in findings]
        outcome, page = compose_bias(findings, folders, data)
        atomic_write(runner.out / "bias.html", page.encode())
        return outcome

    return runner.survey(rows, work, compose, RECORD)


def bias_record(run: Run, companions: Companions, settings: BiasSettings) -> dict[str, Any]:
    """The record of one run: figures of all ``classes`` and ``pairs``, and of the run as a whole.

    Raises:
        InputError: the seeds have no classifier scores.
    """
    data = run.train
    probability = np.array([load_seeds(path).scores for path in run.files("seeds", data, ".npz", "train")])
    if probability.shape != data.labels.shape:
        raise InputError(
            f"expected seeds with classifier scores of {data.labels.shape[0]} images and {data.labels.shape[1]} "
            f"classes, got scores of shape {probability.shape}; leave out systems whose seeds come from other tools"
        )
    swap = SwappedScores(run, companions.shown, settings.images) if has_two_vectors(run.pipeline) else None
    overlap = ClassOverlaps.of(run) if data.scored.any() else None
    activations = _activations(run)
    pairs, classes = [], []
    for k, name in enumerate(data.classes):
        tagged = data.labels[:, k]
        classes.append(
            {
                "class": name,
                "photographs": int(tagged.sum()),
                "afa": activations.get(k, (None, None))[0],
                "aba": activations.get(k, (None, None))[1],
                **(swap.of_class(k, settings.examples) if swap else {}),
            }
        )
        for j, companion in enumerate(companions.names):
            if companions.counts[k, j] < settings.together:
                continue
            shown = companions.shown[:, j]
            pairs.append(
                {
                    "class": name,
                    "companion": companion,
                    "kind": companions.kinds[j],
                    "together": int(companions.counts[k, j]),
                    "photographs": int(tagged.sum()),
                    "usual": float(companions.base[j]),
                    **asdict(observed(probability[:, k], tagged, shown)),
                    **(swap.of_pair(k, j) if swap else {}),
                    **(overlap.of_pair(k, tagged, shown) if overlap else {}),
                }
            )
    return {
        "swap_head": swap.form if swap else None,
        "norm_ratio": swap.ratio if swap else None,
        "contexts": "context" in companions.kinds,
        "masks": overlap is not None,
        "classes": classes,
        "pairs": pairs,
    }


@dataclass(frozen=True, eq=False)
class ClassOverlaps:
    """Intersection and union of predicted and true pixels, for each image and class."""

    counts: dict[str, NDArray[np.int64]]
    """For ``seeds`` and ``masks``: numbers of pixels, (N, 2, K), intersection first."""

    @classmethod
    def of(cls, run: Run) -> ClassOverlaps:
        """Overlaps of the seeds, at the threshold that is best on the whole split, and of the pseudo-masks."""
        data = run.train
        threshold = swept_threshold(run.out.path)
        seeds, masks = run.files("seeds", data, ".npz", "train"), run.files("masks", data, ".png")
        counts = {name: np.zeros((len(data), 2, len(data.classes)), dtype=np.int64) for name in ("seeds", "masks")}

        def work(index: int, sample: Sample) -> None:
            if sample.mask is None:
                return
            found = load_seeds(seeds[index])
            guess = full_mask(found, threshold)
            for name, mask in (("seeds", guess), ("masks", load_mask(masks[index]))):
                one = Confusion(len(data.classes))
                one.update(mask, sample.mask)
                hits = np.diagonal(one.matrix)
                counts[name][index] = np.stack([hits, one.matrix.sum(axis=0) + one.matrix.sum(axis=1) - hits])[:, 1:]

        scored = [int(index) for index in np.flatnonzero(data.scored)]
        for_each(usable_truth(data), scored, work, title="overlap by class")
        return cls(counts)

    def of_pair(self, k: int, tagged: NDArray[np.bool_], shown: NDArray[np.bool_]) -> dict[str, float]:
        """IoU of class k on its photographs with the companion and without it; nan if there are none.

        Args:
            k: class index.
            tagged: images that show the class, (N,).
            shown: images that show the companion, (N,).
        """
        found = {}
        for name, counts in self.counts.items():
            for where, members in (("with", tagged & shown), ("without", tagged & ~shown)):
                intersection, union = counts[members, :, k].sum(axis=0)
                found[f"{name}_{where}"] = float(intersection / union) if union else float("nan")
        return found


def _activations(run: Run) -> dict[int, tuple[float, float]]:
    """Signed AFA and ABA of each class that images with masks show; empty without masks or batch norms."""
    if not run.train.scored.any():
        return {}
    backbone = run.trained_classifier().backbone.to(device())
    if not batch_norms(backbone):
        return {}
    probe = ActivationProbe(run.train)
    measured = probe.measure(backbone)["signed"]
    return {
        group.target: (afa, aba)
        for group, (afa, aba) in zip(probe.groups, measured, strict=True)
        if group.target is not None and group.context is None
    }
