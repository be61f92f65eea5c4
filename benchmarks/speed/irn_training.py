"""IRN's training step beside the published way: a backbone run with gradients, and every pair of cells held at once.

The published network cuts the gradient behind each stage but runs them as if they were trained, and its loss gathers
all cells on the paths of all pairs. It leaves out pairs near the border, which here count on both sides, so that both
ways have the same losses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import cast

import networks
import torch
from measure import Row, compare, show
from torch import Tensor

from deft.backbone import Backbone
from deft.contracts import BACKGROUND, IGNORE
from deft.engine.layout import channels_last
from deft.engine.optimise import Sgd
from deft.engine.precision import autocast, choose
from deft.refine.irn_loss import irn_losses
from deft.refine.irn_network import IrnNetwork
from deft.refine.neighborhood import directions, path
from deft.seedmaps import STRIDE

RADIUS, EPSILON = 10, 1e-5
Loss = Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]]


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """The whole step, then the losses alone, forwards and back."""
    name, side, images = ("test_resnet", 64, 2) if quick else ("resnet50", 256, 4)
    if device.type == "cuda" and not quick:
        side, images = 512, 16
    runs = 1 if quick else 9 if device.type == "cuda" else 3
    precision, batch = choose(device), _batch(images, side, device)
    dense = DensePairs(side // STRIDE, side // STRIDE, RADIUS, device)
    published, ours = (_network(name, device, trained) for trained in (True, False))
    channels_last(ours)
    steps = (_stepper(published, dense, "32-true", device), _stepper(ours, _sparse, precision, device))
    first = [step(batch) for step in steps]
    theirs, own = compare(lambda: steps[0](batch), lambda: steps[1](batch), device, runs)
    yield Row(
        what=f"IRN training step, {name}, crop {side}, batch {images}",
        beside="backbone with gradients, float32, contiguous, dense pair tensors",
        theirs=theirs,
        ours=own,
        difference=f"{abs(first[0] - first[1]) / first[0]:.1e} of the first loss, in {precision}",
        goal="3 times faster, a quarter of the memory",
        theirs_mb=networks.peak(lambda: steps[0](batch), device),
        ours_mb=networks.peak(lambda: steps[1](batch), device),
        note=f"{precision}, channels last",
        runs=runs,
    )
    with torch.no_grad():
        logits, moved = ours(batch["image"])
    labels = batch["mask"][:, ::STRIDE, ::STRIDE]

    def both_ways(loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        edge, displacement = logits.sigmoid().requires_grad_(), moved.clone().requires_grad_()
        terms = torch.stack(list(loss(edge, displacement, labels).values()))
        by_edge, by_displacement = torch.autograd.grad(terms.sum(), (edge, displacement))
        return terms.detach(), by_edge, by_displacement

    expected, found = both_ways(dense), both_ways(_sparse)
    apart = [float((a - b).norm() / a.norm().clamp(min=1e-30)) for a, b in zip(expected, found, strict=True)]
    theirs, own = compare(lambda: both_ways(dense), lambda: both_ways(_sparse), device, runs)
    yield Row(
        what=f"IRN losses and their gradients, grid {side // STRIDE}x{side // STRIDE}, batch {images}, radius {RADIUS}",
        beside="dense pair tensors",
        theirs=theirs,
        ours=own,
        difference=f"{apart[0]:.1e} of the losses, {max(apart[1:]):.1e} of their gradients (norms)",
        goal="losses to 1e-4",
        theirs_mb=networks.peak(lambda: both_ways(dense), device),
        ours_mb=networks.peak(lambda: both_ways(_sparse), device),
        note="both in float32",
        runs=runs,
    )


class DensePairs:
    """The losses from tensors of all pairs: of their cells, labels and displacements, and of all cells on their paths.

    Args:
        height: of the grid.
        width: of the grid.
        radius: in cells.
        device: where the indices are.
    """

    def __init__(self, height: int, width: int, radius: int, device: torch.device) -> None:
        cells = torch.arange(height * width, device=device).view(height, width)
        by_length: dict[int, list[Tensor]] = defaultdict(list)
        ends: dict[int, list[Tensor]] = defaultdict(list)
        offsets: dict[int, list[Tensor]] = defaultdict(list)
        for down, right in directions(radius):
            top, left = height - down, max(0, -right)
            starts = cells[:top, left : left + width - abs(right)].flatten()
            steps = torch.tensor([y * width + x for y, x in path((down, right))], device=device)
            by_length[len(steps)].append(starts[:, None] + steps)
            ends[len(steps)].append(torch.stack([starts, starts + down * width + right]))
            offsets[len(steps)].append(torch.tensor([[down], [right]], device=device).expand(2, len(starts)))
        self.paths = [torch.cat(same) for same in by_length.values()]
        """By number of cells on the path: where they lie, int64 (pairs, cells)."""
        self.first, self.second = torch.cat([one for same in ends.values() for one in same], dim=1)
        self.offsets = torch.cat([one for same in offsets.values() for one in same], dim=1).float()

    def __call__(self, edge: Tensor, displacement: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """As :func:`deft.refine.irn_loss.irn_losses`."""
        flat = edge.flatten(1)
        affinity = 1 - torch.cat([flat[:, same].amax(dim=2) for same in self.paths], dim=1)
        first, second = labels.flatten(1)[:, self.first], labels.flatten(1)[:, self.second]
        sure = (first != IGNORE) & (second != IGNORE)
        same, scene = first == second, first == BACKGROUND
        background, objects, apart = (
            kind.float() for kind in (sure & same & scene, sure & same & ~scene, sure & ~same)
        )
        high, low = -torch.log(affinity + EPSILON), -torch.log(1 + EPSILON - affinity)
        moved = displacement.flatten(2)
        gap = moved[:, :, self.first] - moved[:, :, self.second]
        centre, still = (gap - self.offsets).abs().mean(dim=1), gap.abs().mean(dim=1)
        return {
            "same": (_mean(high, background) + _mean(high, objects)) / 4,
            "different": _mean(low, apart) / 2,
            "centre": _mean(centre, objects) / 2,
            "still": _mean(still, background) / 2,
        }


def _mean(values: Tensor, kind: Tensor) -> Tensor:
    return (values * kind).sum() / kind.sum().clamp(min=1)


def _sparse(edge: Tensor, displacement: Tensor, labels: Tensor) -> dict[str, Tensor]:
    return irn_losses(edge, displacement, labels, RADIUS)


def _network(name: str, device: torch.device, trained: bool) -> IrnNetwork:
    torch.manual_seed(2)
    network = IrnNetwork(networks.backbone(name), radius=RADIUS).to(device).train()
    if trained:
        network.backbone.requires_grad_(True)
    return network


def _stepper(
    network: IrnNetwork, loss: Loss, precision: str, device: torch.device
) -> Callable[[dict[str, Tensor]], float]:
    """A function that takes a step on a batch and returns the loss before it."""
    optimiser = Sgd(lr=0.01).build(network.groups())
    trained = next(network.backbone.parameters()).requires_grad
    if trained:
        _cut_behind_stages(network)

    def step(batch: dict[str, Tensor]) -> float:
        with autocast(precision, device):
            size = (batch["image"].shape[-2], batch["image"].shape[-1])
            if trained:
                maps = network.backbone(batch["image"])[-5:]
                edge, displacement = network.edge(maps, size), network.displacement(maps, size)
            else:
                edge, displacement = network(batch["image"])
            labels = batch["mask"][:, ::STRIDE, ::STRIDE]
            total = torch.stack(list(loss(edge.float().sigmoid(), displacement.float(), labels).values())).sum()
        optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return float(total.detach())

    return step


def _cut_behind_stages(network: IrnNetwork) -> None:
    """No gradient passes from one stage to the stage before, as published; what each keeps for it goes when it ends."""
    backbone = cast(Backbone, network.backbone)
    for index in range(len(backbone.channels)):
        module = backbone.module_of_map(index)  # a part of the network that timm names
        module.register_forward_hook(lambda _module, _inputs, output: output.detach())


def _batch(images: int, side: int, device: torch.device) -> dict[str, Tensor]:
    """Images, and masks of patches: half background, some unsure, some of two objects."""
    rng = torch.Generator().manual_seed(3)
    patches = torch.tensor([0.0, 0, 0, 255, 4, 9])[torch.randint(6, (images, 1, 6, 6), generator=rng)]
    mask = torch.nn.functional.interpolate(patches, size=(side, side))[:, 0].long()
    return {"image": networks.batch(images, side, 5, device)["image"], "mask": mask.to(device)}


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
