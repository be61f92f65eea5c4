"""What a training step of the classifier needs with each of several backbones: ``python benchmarks/backbones.py``.

    python benchmarks/backbones.py --names resnet50 convnext_tiny --out build/backbones

Weights are random: they change neither memory nor time, and nothing is said of accuracy. Strides, optimiser and frozen
layers are those that ``irn_deft`` gets for the network (:mod:`deft.runner.preset`), as if its weights were pretrained.
Memory is counted for the recipe's batch on photographs of 500 pixels by a pass that computes nothing
(:mod:`deft.doctor.need`). Time is the median of several steps on crops of ``--crop`` pixels: seconds on a GPU, and on a
CPU the processor time of one thread, which other work on the machine changes little. Writes ``backbones-cpu.md`` or
``backbones-cuda.md`` and the ``.json`` beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from machine import commit, machine, versions

from deft.backbone import build_backbone
from deft.backbone.kind import kind_of
from deft.doctor.need import need
from deft.engine.optimise import AdamW, built
from deft.recipes import irn_deft
from deft.runner.preset import fitted

HERE = Path(__file__).parent
NAMES = (
    *("resnet50", "mobilenetv2_100", "tf_efficientnet_lite0", "efficientnetv2_rw_s"),
    *("convnext_tiny", "swin_tiny_patch4_window7_224", "vit_base_patch16_dinov3"),
)
CLASSES = 20


def main() -> None:
    """Measure each network and write the table."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--names", nargs="+", default=NAMES, metavar="NAME")
    reader.add_argument("--crop", type=int, default=256, help="side of the timed crops, in pixels")
    reader.add_argument("--batch", type=int, default=2, help="images of a timed step")
    reader.add_argument("--steps", type=int, default=3)
    reader.add_argument("--out", type=Path, default=HERE)
    given = reader.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = [measured(name, device, given.crop, given.batch, given.steps) for name in given.names]
    about = {"machine": machine(device), "commit": commit(), "versions": versions()}
    about |= {"crop": given.crop, "batch": given.batch, "steps": given.steps}
    given.out.mkdir(parents=True, exist_ok=True)
    target = given.out / f"backbones-{device.type}.json"
    target.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    target.with_suffix(".md").write_text(page(about, rows, device.type), encoding="utf-8")
    print(target.with_suffix(".md").read_text(encoding="utf-8"))


def measured(name: str, device: torch.device, crop: int, batch: int, steps: int) -> dict[str, Any]:
    """What one network needs."""
    pipeline, _ = fitted(replace(irn_deft(), backbone=name))
    settings, threads = pipeline.own_classifier, torch.get_num_threads()
    whole = need(pipeline, name)
    torch.manual_seed(0)
    backbone = build_backbone(name, "none", pipeline.stride)
    backbone.pretrained = True  # as far as what is frozen goes
    network = settings.build(backbone, CLASSES).to(device).train()
    optimiser = built(settings.plan.optimiser, network.groups())
    images = torch.randint(0, 256, (batch, 3, crop, crop), dtype=torch.uint8, device=device)
    labels = torch.eye(CLASSES, device=device)[:batch]
    rng = torch.Generator().manual_seed(0)
    taken = []
    torch.set_num_threads(1)
    try:
        for _ in range(steps + 1):
            start = _now(device)
            optimiser.zero_grad()
            terms = network.terms({"image": images, "labels": labels}, settings.plan.epochs, rng)
            torch.autograd.backward(sum(terms.values(), torch.zeros((), device=device)))
            optimiser.step()
            taken.append(_now(device) - start)
    finally:
        torch.set_num_threads(threads)
    parameters = sum(each.numel() for each in backbone.parameters())
    second = 4 * parameters if isinstance(settings.plan.optimiser, AdamW) else 0  # AdamW remembers squares, too
    return {
        "name": name,
        "parameters": parameters,
        "strides": list(kind_of(name).strides),
        "stride": pipeline.stride,
        "optimiser": type(settings.plan.optimiser).__name__,
        "frozen": settings.freeze,
        "step_bytes": whole.whole + second,
        "image_bytes": whole.image,
        "batch": whole.batch,
        "crop": whole.crop,
        "seconds": statistics.median(taken[1:]) / batch,
    }


def page(about: dict[str, Any], rows: Sequence[dict[str, Any]], kind: str) -> str:
    """The table in Markdown."""
    unit = "s an image" if kind == "cuda" else "processor s an image"
    lines = [
        "# Backbones",
        "",
        "Written by `python benchmarks/backbones.py`: random weights, so nothing is said of accuracy.",
        "",
        *(f"- {key}: {value}" for key, value in {**about["machine"], "commit": about["commit"]}.items()),
        f"- steps of {about['batch']} crops of {about['crop']} pixels; memory for the recipe's batch of "
        f"{rows[0]['batch']} crops of {rows[0]['crop']}",
        "",
        f"| backbone | parameters, M | stride | optimiser | frozen layers | memory of a step, GB | {unit} |",
        "|---|---:|---:|---|---|---:|---:|",
    ]
    for row in rows:
        frozen = "up to stride 8" if row["frozen"] else "none"
        lines.append(
            f"| `{row['name']}` | {row['parameters'] / 1e6:.1f} | {row['stride']} | {row['optimiser']} | {frozen} "
            f"| {row['step_bytes'] / 1e9:.1f} | {row['seconds']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


if __name__ == "__main__":
    main()
