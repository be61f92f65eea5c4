"""Which contexts or other tags each class leans on, on the user's own images. No published code has this.

DEFT's classifier holds an object and a background vector of every image and a layer, f_swap, that scores any pair of
the two. So every object can be scored on every background of the data, and the background alone can be shown to
f_fg: no mask and no new photograph is needed. Beside it stands what any classifier tells: its score of a class with
and without the companion, on the photographs as they are. Where masks exist, IoU with and without the companion and
the activation on objects and ground join in.

What ranks a pair of class and companion is the *lift*: the mean logit of the class, over its objects, on backgrounds of
photographs that show the companion, less that on backgrounds of photographs that do not. f_swap is additive for
``swap_head`` ``linear`` (the paper's) and ``shared``, so there the lift in logits does not depend on the object at all;
in probability it does.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft.artifacts import atomic_write, load_mask, load_seeds, read_json, write_json
from deft.classify.deft import DeftModule
from deft.contracts import Dataset, InputError, Sample
from deft.engine.infer import device, for_each
from deft.metrics.bias import mean, observed, sigmoid, swap_effect, taken_for
from deft.metrics.cooccurrence import Cooccurrence, class_by_class, class_by_context
from deft.metrics.miou import Confusion
from deft.seedmaps import to_mask, upsample
from deft.stages.context import Run
from deft.studies.bias_page import RECORD, compose_bias
from deft.studies.outcome import Outcome, finite
from deft.studies.probe import Audience, Watching, batch_norms, spread
from deft.studies.study import Finding, Row, StudyRunner, system_rows
from deft.studies.vectors import deft_part, has_two_vectors, read_vectors

SYSTEMS = ("irn_deft", "cam")


@dataclass(frozen=True)
class Inquiry:
    """How much is looked at."""

    images: int = 400
    """Training images whose vectors are paired, at most; as many of each class as there can be."""
    together: int = 3
    """Photographs that must show a class and a companion together for the pair to be listed."""
    examples: int = 3
    """Photographs of each class that are kept as examples."""


@dataclass(frozen=True, eq=False)
class Companions:
    """What a class can be seen with: contexts where the data name them, and the other classes."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    """``context`` or ``tag`` of each."""
    shown: NDArray[np.bool_]
    """(N, J)."""
    tables: tuple[Cooccurrence, ...]
    """Classes with contexts, if there are any, and with classes; their columns follow each other in ``names``."""

    @classmethod
    def of(cls, data: Dataset) -> Companions:
        """Those of a data set."""
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
        """Photographs of each class and companion, (K, J)."""
        return np.concatenate([table.counts for table in self.tables], axis=1)

    @property
    def base(self) -> NDArray[np.float64]:
        """Share of all photographs that show the companion, (J,)."""
        return np.concatenate([table.base for table in self.tables])


def bias(runner: StudyRunner, inquiry: Inquiry | None = None) -> Outcome:
    """Train each system up to its pseudo-masks and ask what its classes lean on."""
    inquiry = inquiry or Inquiry()
    rows = runner.choose([row for row in system_rows() if row.pipeline.classifier], SYSTEMS)
    if not any(has_two_vectors(row.pipeline) for row in rows):
        raise InputError("this study swaps backgrounds, which only DEFT's head can do: add irn_deft to --systems")
    rows = [replace(row, pipeline=replace(row.pipeline, segment=None)) for row in rows]
    rows.sort(key=lambda row: not has_two_vectors(row.pipeline))
    data = runner.splits.train
    companions = Companions.of(data)

    def work(row: Row, seed: int) -> None:
        with runner.run(row.name, row.pipeline, seed) as run:
            write_json(run.out.path / RECORD, finite(diagnose(run, companions, inquiry)))

    def compose(findings: list[Finding]) -> Outcome:
        folders = [runner.folder(each.row.name, each.row.pipeline, each.seed) for each in findings]
        outcome, page = compose_bias(findings, folders, data)
        atomic_write(runner.out / "bias.html", page.encode())
        return outcome

    return runner.survey(rows, work, compose, RECORD)


def diagnose(run: Run, companions: Companions, inquiry: Inquiry) -> dict[str, Any]:
    """The record of one run: ``classes``, ``pairs``, and what holds for all.

    Raises:
        InputError: the seeds were made without a classifier's scores.
    """
    data = run.train
    probability = np.array([load_seeds(path).scores for path in run.files("seeds", data, ".npz", "train")])
    if probability.shape != data.labels.shape:
        raise InputError(
            "this system's seeds keep no classifier's scores of the images, so nothing can lean on anything"
        )
    swap = Swapped(run, companions, inquiry) if has_two_vectors(run.pipeline) else None
    overlap = Overlaps.of(run) if data.scored.any() else None
    inside = _activation(run)
    pairs, classes = [], []
    for k, name in enumerate(data.classes):
        tagged = data.labels[:, k]
        classes.append(
            {
                "class": name,
                "photographs": int(tagged.sum()),
                "afa": inside.get(k, (None, None))[0],
                "aba": inside.get(k, (None, None))[1],
                **(swap.of_class(k) if swap else {}),
            }
        )
        for j, companion in enumerate(companions.names):
            if companions.counts[k, j] < inquiry.together:
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
        "swap_head": swap.kind if swap else None,
        "norm_ratio": swap.ratio if swap else None,
        "contexts": "context" in companions.kinds,
        "masks": overlap is not None,
        "classes": classes,
        "pairs": pairs,
    }


class Swapped:
    """Every object of some images on every background of them."""

    def __init__(self, run: Run, companions: Companions, inquiry: Inquiry) -> None:
        data = run.train
        network = run.trained_classifier()
        head = deft_part(network)
        indices = choose_images(data, inquiry.images)
        vectors = read_vectors(network, data, indices)
        head.cpu()
        self.data, self.inquiry = data, inquiry
        self.kind = head.settings.swap_head
        self.ratio = head.background_reliance()
        self.ratios = norm_ratios(head, vectors.z_fg.shape[1])
        self.indices = np.array(indices)
        self.tagged, self.shown = data.labels[self.indices], companions.shown[self.indices]
        with torch.no_grad():
            self.logits = pair_logits(head, vectors.z_fg, vectors.z_bg)
            self.alone = sigmoid(head.f_fg(vectors.z_bg).numpy())

    def of_class(self, k: int) -> dict[str, Any]:
        """What the background alone says, and in which photographs it says most."""
        own = np.flatnonzero(self.tagged[:, k])
        loudest = own[np.argsort(-self.alone[own, k], kind="stable")][: self.inquiry.examples]
        return {
            "norm_ratio": self.ratios[k],
            "alone": taken_for(self.alone[:, k], self.tagged[:, k]),
            "alone_elsewhere": taken_for(self.alone[:, k], ~self.tagged[:, k]),
            "examples": [
                {"image": self.data.names[self.indices[place]], "alone": float(self.alone[place, k])}
                for place in loudest
            ],
        }

    def of_pair(self, k: int, j: int) -> dict[str, Any]:
        """What changing the background does, and what the background alone says with the companion and without."""
        own = np.flatnonzero(self.tagged[:, k])
        shown = self.shown[:, j]
        return {
            **asdict(swap_effect(self.logits[own, :, k], own, shown)),
            "alone_with": mean(self.alone[self.tagged[:, k] & shown, k]),
            "alone_tempted": mean(self.alone[~self.tagged[:, k] & shown, k]),
        }


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Pixels of each class that mask and truth share, and that either covers, image by image."""

    counts: dict[str, NDArray[np.int64]]
    """By what is scored: (N, 2, K)."""

    @classmethod
    def of(cls, run: Run) -> Overlaps:
        """Of the seeds at the threshold that is best on the whole split, and of the pseudo-masks."""
        data = run.train
        threshold = read_json(run.out.path / "scores.json")["train"]["seeds"]["swept"]["threshold"]
        seeds, masks = run.files("seeds", data, ".npz", "train"), run.files("masks", data, ".png")
        counts = {name: np.zeros((len(data), 2, len(data.classes)), dtype=np.int64) for name in ("seeds", "masks")}

        def work(index: int, sample: Sample) -> None:
            if sample.mask is None:
                return
            found = load_seeds(seeds[index])
            guess = to_mask(upsample(found), found.classes, threshold)
            for name, mask in (("seeds", guess), ("masks", load_mask(masks[index]))):
                one = Confusion(len(data.classes))
                one.update(mask, sample.mask)
                hits = np.diagonal(one.matrix)
                counts[name][index] = np.stack([hits, one.matrix.sum(axis=0) + one.matrix.sum(axis=1) - hits])[:, 1:]

        for_each(data, [int(index) for index in np.flatnonzero(data.scored)], work, title="overlap by class")
        return cls(counts)

    def of_pair(self, k: int, tagged: NDArray[np.bool_], shown: NDArray[np.bool_]) -> dict[str, float]:
        """IoU of the class on its photographs with the companion and without; nan where there are none."""
        found = {}
        for name, counts in self.counts.items():
            for where, members in (("with", tagged & shown), ("without", tagged & ~shown)):
                hits, either = counts[members, :, k].sum(axis=0)
                found[f"{name}_{where}"] = float(hits / either) if either else float("nan")
        return found


def choose_images(data: Dataset, count: int) -> list[int]:
    """Training images, as many of each class as there can be, and as many without a tag."""
    share = max(3, count // (len(data.classes) + 1))
    chosen = set(spread(np.flatnonzero(~data.labels.any(axis=1)), share))
    for k in range(len(data.classes)):
        chosen |= set(spread(np.flatnonzero(data.labels[:, k]), share))
    return sorted(chosen)


def pair_logits(head: DeftModule, z_fg: Tensor, z_bg: Tensor) -> NDArray[np.float64]:
    """f_swap of every object with every background: (n, n, K), objects first."""
    rows = [head.swap_logits(torch.cat([one.expand_as(z_bg), z_bg], dim=1)) for one in z_fg]
    return torch.stack(rows).numpy().astype(np.float64)


def norm_ratios(head: DeftModule, channels: int) -> list[float]:
    """Norm of f_swap's weights on the background over that on the object, a class each; nan where it is not linear."""
    if head.settings.swap_head == "mlp":
        return [float("nan")] * head.f_fg.out_features
    with torch.no_grad():
        weights = (head.swap_logits(torch.eye(2 * channels)) - head.swap_logits(torch.zeros(1, 2 * channels))).T
    on_object, on_background = weights.chunk(2, dim=1)
    ratios: list[float] = (on_background.norm(dim=1) / on_object.norm(dim=1)).tolist()
    return ratios


def _activation(run: Run) -> dict[int, tuple[float, float]]:
    """AFA and ABA, signed, of each class that is shown in images with masks; empty without masks or batch norms."""
    if not run.train.scored.any():
        return {}
    backbone = run.trained_classifier().backbone.to(device())
    if not batch_norms(backbone):
        return {}
    audience = Audience(run.train, Watching())
    measured = audience.measure(backbone)["signed"]
    return {
        group.target: (measured[place][0], measured[place][1])
        for place, group in enumerate(audience.groups)
        if group.target is not None and group.ground is None
    }
