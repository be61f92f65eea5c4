"""A training step of each system whose classifier learns in its own way, beside float32 and contiguous weights.

What a system adds to a plain classifier, such as tiles, smaller views, prototypes or mixtures made by the classifier's
own gradients, is the same in both ways: the rows show what the precision and the layout of a run are worth to it.
"""

from __future__ import annotations

from collections.abc import Iterator

import networks
import torch
from measure import Row, compare, show
from torch import Tensor
from training import stepper

from deft.classify.classifier import ClassifierNetwork
from deft.engine.layout import channels_last
from deft.engine.precision import EXACT, choose
from deft.recipes import RECIPES
from deft.seeds.recam import ReCam, ReCamModule, ReCamNetwork

SYSTEMS = (
    *("seam", "puzzle_cam", "recam", "drs", "sipe", "bcam"),
    *("puzzle_mix", "co_mixup", "super_mix", "noisy_feature_mixup"),
)


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """Batches of 16 crops of 224 of MobileNetV2; on a GPU of 512, and of ResNet-50."""
    sizes = {"mobilenetv2_100": (224, 16)}
    if device.type == "cuda":
        sizes = dict.fromkeys(("mobilenetv2_100", "resnet50"), (512, 16))
    if quick:
        sizes = {"test_resnet": (64, 2)}
    for name, (side, images) in sizes.items():
        for system in SYSTEMS:
            yield _row(name, system, networks.batch(images, side, 0, device), 1 if quick else 5)


def _row(name: str, system: str, batch: dict[str, Tensor], runs: int) -> Row:
    device = batch["image"].device
    epoch, precision = RECIPES[system]().own_classifier.plan.epochs, choose(device)  # the last: all has begun
    # The rate is small, so that the step that is compared is still that of equal weights.
    theirs = stepper(_trainee(name, system, device), EXACT, device, lr=1e-6)
    ours = stepper(channels_last(_trainee(name, system, device)), precision, device, lr=1e-6)
    first = float(theirs(batch, epoch)), float(ours(batch, epoch))
    slow, fast = compare(lambda: theirs(batch, epoch), lambda: ours(batch, epoch), device, runs)
    count, _, side, _ = batch["image"].shape
    return Row(
        what=f"training step of {system}, {name}, crop {side}, batch {count}",
        beside="float32, contiguous",
        theirs=slow,
        ours=fast,
        difference=f"{abs(first[1] / first[0] - 1):.1e} of the first loss",
        goal="3 times faster on a CPU, half the memory, within 1e-3",
        theirs_mb=networks.peak(lambda: theirs(batch, epoch), device),
        ours_mb=networks.peak(lambda: ours(batch, epoch), device),
        note=f"{precision}, channels last",
        runs=runs,
    )


def _trainee(name: str, system: str, device: torch.device) -> ClassifierNetwork | ReCamNetwork:
    """What the system trains; for ReCAM, which trains a finished classifier on, the second training."""
    pipeline, own = RECIPES[system](), networks.backbone(name)
    own.pretrained = True  # else nothing would be frozen
    torch.manual_seed(1)
    network = pipeline.own_classifier.build(own, networks.CLASSES)
    if isinstance(pipeline.seeds, ReCam):
        module = ReCamModule(network.head, own.channels[-1], pipeline.seeds.weight)
        return ReCamNetwork(own, module, pipeline.seeds).to(device).train()
    return network.to(device).train()


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
