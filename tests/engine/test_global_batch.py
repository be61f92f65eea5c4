"""Two processes with half of each batch train to the weights of one process with the whole batch.

Run as a program this file is one of the two: ``test_global_batch.py FOLDER RANK``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from deft.artifacts import load_tensors, save_tensors
from deft.augment import CoMixup, CutMix, HideAndSeek, ManifoldMixup, Mixup, NoisyFeatureMixup, PuzzleMix, SuperMix
from deft.classify.bcam import BcamHead
from deft.classify.classifier import ClassifierNetwork
from deft.classify.deft import DeftHead
from deft.classify.drs import DrsHead
from deft.classify.frozen_deft import FrozenDeftHead
from deft.classify.linear import LinearHead
from deft.classify.puzzle_cam import PuzzleHead
from deft.classify.seam import SeamHead
from deft.classify.sipe import SipeHead
from deft.classify.sma import SmaHead
from deft.contracts import Augmentation, Gradients, SalientAugmentation
from deft.engine.head import AllMapsHead, Head
from deft.engine.optimise import ParamGroup
from deft.engine.ranks import own, rank, world
from deft.refine.irn_network import IrnNetwork
from deft.refine.psa_network import AffinityNetwork
from deft.seeds.amn_network import AmnNetwork
from deft.seeds.ood import Ood, OodNetwork
from deft.seeds.recam import ReCam, ReCamModule, ReCamNetwork
from deft.segment.deeplab import SegmentationNetwork
from processes import together

RANKS, STEPS, BATCH, SIDE, CLASSES = 2, 21, 8, 16, 3
"""So many steps meet every kind of :func:`global_batch`."""


class Small(nn.Module):
    """What the networks ask of a backbone, without batch norms."""

    channels, reductions, stride, pretrained = (4, 6, 8), (2, 4, 4), 4, False
    std = torch.ones(3, 1, 1)

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(wide, channels, 3, step, 1)
            for wide, channels, step in zip((3, 4, 6), self.channels, (2, 2, 1), strict=True)
        )

    def normalise(self, images: Tensor) -> Tensor:
        return images.float() / 255 - 0.5

    def features(self, x: Tensor, change: tuple[int, Callable[[Tensor], Tensor]] | None = None) -> list[Tensor]:
        maps = []
        for place, conv in enumerate(self.convs):
            x = F.silu(conv(x))
            x = change[1](x) if change is not None and change[0] == place else x
            maps.append(x)
        return maps

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.features(self.normalise(images))

    def stage_of_stride(self, stride: int) -> int:
        return 0

    def freeze(self, until: int, batch_norm: bool) -> None:
        pass

    def depths(self) -> tuple[int, ...]:
        return (0,) * len(list(self.parameters()))

    def undecayed(self) -> tuple[bool, ...]:
        return (False,) * len(list(self.parameters()))


@dataclass(frozen=True)
class ThreeLit:
    """Adds the gradient of the loss to three of the images."""

    salient = True

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator, gradients: Gradients) -> tuple[Tensor, Tensor]:
        scores, gradient = gradients(x[1:4], labels[1:4])
        assert len(scores) == 3
        return torch.cat([x[:1], x[1:4] + 5 * gradient, x[4:]]), labels


class SmallSegmentation(SegmentationNetwork):
    """Our loss on another decoder: the real one has batch norms."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.backbone = cast(Any, Small())
        self.head = nn.Conv2d(8, CLASSES + 1, 1)
        self.background = 0.25

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(self.head(self.backbone(images)[-1]), size=(SIDE, SIDE), mode="bilinear")

    def groups(self) -> list[ParamGroup]:
        return [ParamGroup(list(self.parameters()))]


def classifier(head: Head, augment: Augmentation | SalientAugmentation | None) -> ClassifierNetwork:
    on = head.build_on(Small.channels, CLASSES) if isinstance(head, AllMapsHead) else head.build(8, CLASSES)
    return ClassifierNetwork(cast(Any, Small()), on, augment)


def with_negatives() -> OodNetwork:
    """The network of W-OoD, with some means of classes and clusters of negatives."""
    network = OodNetwork(cast(Any, Small()), LinearHead().build(8, CLASSES), Ood(distance_weight=0.5))
    generator = torch.Generator().manual_seed(2)
    network.inside, network.outside = (torch.randn(count, 8, generator=generator) for count in (CLASSES, 5))
    return network


def with_second_classifier() -> ReCamNetwork:
    """ReCAM's network behind a DEFT head that swaps."""
    return ReCamNetwork(cast(Any, Small()), ReCamModule(SWAPPING.build(8, CLASSES), 8, 1.0), ReCam(slower=1.0))


SWAPPING = DeftHead(maps=4, swap_epoch=1, two_permutations=True)
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "deft, cutmix": lambda: classifier(SWAPPING, CutMix()),
    "deft, manifold mixup": lambda: classifier(SWAPPING, ManifoldMixup(layers=(0, 1, 2))),
    "deft, views": lambda: classifier(SWAPPING, None),
    "deft, warm start, in parts": lambda: classifier(DeftHead(maps=4, swap_epoch=9), None),
    "frozen deft": lambda: classifier(FrozenDeftHead(swap_epoch=1), None),
    "sma, mixup": lambda: classifier(SmaHead(SWAPPING), Mixup(alpha=1.0)),
    "sipe, cutmix": lambda: classifier(SipeHead(base=SWAPPING, widths=(4, 4)), CutMix()),
    "seam, mixup, in parts": lambda: classifier(SeamHead(base=LinearHead(), widths=(4, 4), width=6), Mixup()),
    "puzzle": lambda: classifier(PuzzleHead(base=SWAPPING), None),
    "drs": lambda: classifier(DrsHead(width=6), None),
    "recam, in parts": with_second_classifier,
    "bcam": lambda: classifier(BcamHead(maps=4), None),
    "ood, in parts": with_negatives,
    "deft, puzzle mix, in parts": lambda: classifier(SWAPPING, PuzzleMix(cells=(2, 4))),
    "plain, co-mixup": lambda: classifier(LinearHead(), CoMixup(rounds=2)),
    "plain, super mix": lambda: classifier(LinearHead(), SuperMix(cells=4, steps=2)),
    "plain, gradients of three": lambda: classifier(LinearHead(), ThreeLit()),
    "plain, noisy feature mixup": lambda: classifier(LinearHead(), NoisyFeatureMixup(layers=(0, 1, 2))),
    "plain, hide and seek": lambda: classifier(LinearHead(), HideAndSeek()),
    "segmentation, in parts": SmallSegmentation,
    "psa": lambda: AffinityNetwork(cast(Any, Small()), radius=2),
    "amn": lambda: AmnNetwork(cast(Any, Small()), CLASSES, dropout=0.0),
    "irn": lambda: IrnNetwork(Small(), radius=2),
}


class Step(nn.Module):
    """The loss as a forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, trainee: nn.Module) -> None:
        super().__init__()
        self.trainee = trainee

    def forward(self, batch: dict[str, Tensor], rng: torch.Generator) -> Tensor:
        terms = cast(Any, self.trainee).terms(batch, 1, rng)
        return torch.stack(list(terms.values())).sum()


def global_batch(step: int, views: bool) -> dict[str, Tensor]:
    """Images with ever fewer sure pixels; in some steps all objects are of one process, or there are none."""
    rng = torch.Generator().manual_seed(1000 + step)
    image = torch.randint(0, 256, (BATCH, 3, SIDE, SIDE), dtype=torch.uint8, generator=rng)
    labels = (torch.rand(BATCH, CLASSES, generator=rng) > 0.5).float()
    if views:
        return {"image": image.unflatten(0, (-1, 2)), "labels": labels.unflatten(0, (-1, 2))}
    mask = torch.randint(0, CLASSES + 1, (BATCH, SIDE // 8, SIDE // 8), generator=rng)
    mask = mask.repeat_interleave(8, 1).repeat_interleave(8, 2)
    for index in range(BATCH):
        mask[index, 2 * index :] = 255
    if step % 3 == 1:
        mask[::2][mask[::2] != 255] = 0
    if step % 7 == 1:
        mask[mask != 255] = 0
    return {"image": image, "labels": labels, "mask": mask, "negative": image.flip(0, 2)}


def steps_of(name: str) -> int:
    """One for SEAM: maps of few cells are nearly flat, and stretched they magnify what is rounded a thousandfold."""
    return 1 if name.startswith("seam") else STEPS


def train(name: str) -> dict[str, Tensor]:
    """Weights after :func:`steps_of` steps, by however many processes there are."""
    torch.manual_seed(0)
    trainee = NETWORKS[name]()
    if "parts" in name and world() > 1:
        cast(Any, trainee).parts = 2
    whole: nn.Module = Step(trainee)
    if world() > 1:
        whole = nn.parallel.DistributedDataParallel(whole, find_unused_parameters=True)
    # The pairs of PSA and IRN hang on absolute differences, whose kinks magnify what is rounded away, in proportion to
    # the rate.
    lr = 0.001 if name in ("psa", "irn") else 0.01
    groups = [{"params": group.params, "lr": lr * min(group.lr, 5)} for group in cast(Any, trainee).groups()]
    optimiser = torch.optim.SGD(groups, momentum=0.9)
    for step in range(steps_of(name)):
        batch = {key: own(values) for key, values in global_batch(step, "views" in name).items()}
        optimiser.zero_grad()
        whole(batch, torch.Generator().manual_seed(step)).backward()
        nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
        optimiser.step()
    return trainee.state_dict()


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("two")
    together(Path(__file__), folder, processes=RANKS)
    return {name: load_tensors(folder / f"{name}.safetensors")[0] for name in NETWORKS}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_two_processes_train_to_the_weights_of_one(name: str, of_two: dict[str, dict[str, Tensor]]) -> None:
    torch.manual_seed(0)
    start = NETWORKS[name]().state_dict()
    alone = train(name)
    changed = max(float((alone[key] - start[key]).abs().max()) for key in alone)
    assert changed > (0.003 if steps_of(name) == STEPS else 1e-4)  # it does train
    for key, value in alone.items():
        assert float((of_two[name][key] - value).abs().max()) <= 1e-5, key


if __name__ == "__main__":
    torch.set_num_threads(1)
    meeting = f"file://{sys.argv[1]}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=int(sys.argv[2]), world_size=RANKS)
    for wanted in NETWORKS:
        trained = train(wanted)
        if rank() == 0:
            save_tensors(Path(sys.argv[1]) / f"{wanted}.safetensors", trained, {})
    dist.destroy_process_group()
