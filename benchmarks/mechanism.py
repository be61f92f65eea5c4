"""DEFT's mechanism: variants of its attention and its swaps, and what they change.

    python benchmarks/mechanism.py --data voc:PATH --weights FOLDER --backbone mobilenetv2_100 --split test

Every variant is a classifier in the protocol of ``benchmarks/studies.py`` that differs from `irn_deft` in its head
alone. With ``--split test``, on which variants may be chosen, it is trained on the photographs of MSRC's `test` and its
maps of the same are scored; ``--split train`` confirms on `train`. Beside mIoU, two things are measured with the masks
that no run sees: how well the object attention and the background attention order the cells of an image by whether they
show an object (the area under the ROC curve; 0.5 is chance), and how sharp they are (the perplexity of the attention
over the number of cells; 1 is average pooling).

Variants that :class:`deft.classify.deft.DeftHead` has no setting for are in ``mechanism_heads.py``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mechanism_heads import CoupledHead, CoupledModule, PartnersHead, SharpHead, StoppedHead
from numpy.typing import NDArray
from torch import Tensor

from deft.artifacts import read_json, write_json
from deft.classify.classifier import ClassifierNetwork
from deft.classify.deft import DeftHead, DeftModule
from deft.classify.linear import BackgroundHead, LinearHead
from deft.classify.swap_forms import MlpSwap, ObjectSwap
from deft.contracts import IGNORE, Dataset
from deft.engine.head import Head
from deft.settings import assign
from deft.stages.context import Run
from deft.studies import StudyRunner
from deft.studies.origin import commit, machine
from deft.studies.rows import Row, recipe, up_to_seeds
from studies import PROTOCOL, test_as_train


def variants() -> dict[str, Head]:
    """Every variant by name."""
    deft = DeftHead()
    no_swap = replace(deft, swap_background_weight=0.0, swap_object_weight=0.0)
    coupled = CoupledHead(maps=1, attention_rate=10.0)
    return {
        "plain CAM": LinearHead(),
        "plain CAM, read as DEFT": LinearHead(stretched=True),
        "f_bg alone, average pooling": BackgroundHead(),
        "DEFT": deft,
        "no swap": no_swap,
        "swaps without background": replace(deft, swap_head=ObjectSwap()),
        "swaps with an MLP": replace(deft, swap_head=MlpSwap()),
        "swaps within classes": PartnersHead(partners="within"),
        "swaps across classes": PartnersHead(partners="across"),
        "swaps from a queue": PartnersHead(partners="queue"),
        "average pooling": replace(deft, attention_rate=0.0, init_scale=0.0),
        "attention as initialised": replace(deft, attention_rate=0.0),
        "attention as initialised, no swap": replace(no_swap, attention_rate=0.0),
        "attention twice as sharp": replace(deft, init_scale=2.0),
        "attention three times as sharp": replace(deft, init_scale=3.0),
        "attention rate 1": replace(deft, attention_rate=1.0),
        "attention rate 10": replace(deft, attention_rate=10.0),
        "attention rate 10, entropy floor": SharpHead(attention_rate=10.0, maps=1),
        "stop-gradient of the background": StoppedHead(),
        "coupled attention": coupled,
        "coupled attention, no swap": replace(coupled, swap_background_weight=0.0, swap_object_weight=0.0),
        "coupled attention, composite": replace(coupled, composite=True),
    }


LONGER = {"DEFT, 540 steps": ("classifier.plan.min_steps=540",), "DEFT, batch 32": ("classifier.plan.batch=32",)}
"""Variants that differ in the plan; their rival is plain CAM with the same plan."""


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", required=True, help="voc:PATH of MSRC")
    reader.add_argument("--weights", required=True, help="folder of the backbones' weights")
    reader.add_argument("--backbone", default="mobilenetv2_100")
    reader.add_argument("--split", choices=["train", "test"], default="test")
    reader.add_argument("--out", type=Path, default=Path("runs/mechanism"))
    reader.add_argument("--seeds", type=int, nargs="+", default=[10])
    reader.add_argument("--variants", nargs="+", default=[], help="some of them; all by default")
    given = reader.parse_args()
    data = (
        given.data
        if given.split == "train"
        else f"voc:{test_as_train(Path(given.data.removeprefix('voc:')), given.out)}"
    )
    runner = StudyRunner(data, given.out / given.split / given.backbone, tuple(given.seeds))
    path = Path(__file__).parent / "mechanism" / f"{given.split}-{given.backbone}.json"
    path.parent.mkdir(exist_ok=True)
    known = read_json(path) if path.exists() else {"found": {}}
    known["facts"] = {"commit": commit(), "machine": machine(), "split": given.split, "backbone": given.backbone}
    more = [f"backbone={given.backbone}", f"weights={given.weights}", *PROTOCOL]
    for seed in given.seeds:
        for name, pipeline in pipelines(given.variants).items():
            if str(seed) in known["found"].get(name, {}):
                continue
            settings = [*more, *LONGER.get(name.replace("plain CAM", "DEFT"), ())]
            row = Row(name.replace(",", "").replace(" ", "_"), name, assign(up_to_seeds(pipeline), settings))
            with runner.run(row.name, row.pipeline, seed) as run:
                found = measured(run)
            known["found"].setdefault(name, {})[str(seed)] = found
            write_json(path, known)
            print(f"{name}, seed {seed}: swept {100 * found['swept']:.1f}, auto {100 * found['auto']:.1f}", flush=True)


def pipelines(names: list[str]) -> Mapping[str, Any]:
    """The pipeline of every variant: that of `irn_deft`, or of `irn` for the heads that are trained as plain CAM."""
    found = {}
    for name, head in variants().items():
        base = recipe("irn" if isinstance(head, LinearHead | BackgroundHead) else "irn_deft")
        found[name] = replace(base, classifier=replace(base.own_classifier, head=head))
    for name in LONGER:
        found[name] = recipe("irn_deft")
        found[name.replace("DEFT", "plain CAM")] = recipe("irn")
    if unknown := [name for name in names if name not in found]:
        raise SystemExit(f"no variant {unknown[0]!r}; choose from: {', '.join(found)}")
    return {name: one for name, one in found.items() if not names or name in names}


def measured(run: Run) -> dict[str, Any]:
    """Scores of the seeds, and how the attention of a DEFT head orders the cells."""
    scores = read_json(run.out.path / "scores.json")["train"]["seeds"]
    found = {"swept": scores["swept"]["miou"], "auto": scores["used"]["miou"], "threshold": scores["used"]["threshold"]}
    network = run.trained_classifier()
    return found | attention(network, run.train) if isinstance(network.head, DeftModule) else found


def attention(network: ClassifierNetwork, data: Dataset, every: int = 3) -> dict[str, dict[str, float]]:
    """Of both attentions of a DEFT classifier: how well they order cells, and how sharp they are."""
    head = network.head
    assert isinstance(head, DeftModule)
    orders: dict[str, list[float]] = {"object": [], "background": []}
    perplexity: dict[str, list[float]] = {"object": [], "background": []}
    for index in range(0, len(data), every):
        sample = data[index]
        if sample.mask is None:
            continue
        image = torch.from_numpy(sample.image.copy()).permute(2, 0, 1)[None]
        with torch.no_grad():
            features = network.backbone(image)[-1].float()
        height, width = features.shape[-2:]
        truth = F.interpolate(torch.from_numpy(sample.mask.copy())[None, None].float(), (height, width))[0, 0].flatten()
        for side, weights in attentions(head, features).items():
            kept = (truth != IGNORE).numpy()
            value = area_under_curve(weights.numpy()[kept], (truth.numpy()[kept] > 0))
            if value is not None:
                orders[side].append(value)
            entropy = float(-(weights * weights.clamp(min=1e-9).log()).sum())
            perplexity[side].append(float(np.exp(entropy)) / len(weights))
    return {
        "order": {side: statistics.fmean(values) for side, values in orders.items()},
        "perplexity": {side: statistics.fmean(values) for side, values in perplexity.items()},
    }


def attentions(head: DeftModule, features: Tensor) -> dict[str, Tensor]:
    """Both attentions of an image over its cells, each (h * w,), summing to 1."""
    with torch.no_grad():
        if isinstance(head, CoupledModule):
            mask = head.mask(features)[0]
            return {"object": mask / mask.sum(), "background": (1 - mask) / (1 - mask).sum()}
        return {"object": head.m_fg.attention(features)[0], "background": head.m_bg.attention(features)[0]}


def area_under_curve(values: NDArray[np.float32], positive: NDArray[np.bool_]) -> float | None:
    """Probability that a positive has a higher value than another (Mann and Whitney); None without one of the two."""
    if positive.all() or not positive.any():
        return None
    ranks = values.argsort().argsort()
    ones, zeros = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - ones * (ones - 1) / 2) / (ones * zeros))


if __name__ == "__main__":
    main()
