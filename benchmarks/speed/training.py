"""A training step of the classifier beside float32 and contiguous weights, and whether the losses stay together."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import networks
import torch
from measure import Row, show
from torch import Tensor

from deft.classify.classifier import ClassifierNetwork
from deft.classify.linear import LinearHead
from deft.engine.layout import channels_last
from deft.engine.memory import keep_freed
from deft.engine.optimise import Sgd
from deft.engine.precision import autocast, choose
from deft.seeds.recam import ReCamNetwork

CLIP = 1.0


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """Steps of both ways in turn on the same batches; each way goes on from its own weights."""
    sizes = {"resnet50": (256, 4), "mobilenetv2_100": (224, 16)}
    if device.type == "cuda":
        sizes = dict.fromkeys(sizes, (512, 16))
    if quick:
        sizes = {"test_resnet": (64, 2)}
    count = 3 if quick else 20
    for name, (side, images) in sizes.items():
        batches = [networks.batch(images, side, number, device) for number in range(4)]
        precision = choose(device)
        plain = networks.trainee(name, LinearHead(), device)
        ours = networks.trainee(name, LinearHead(), device)
        channels_last(ours)
        theirs_step, ours_step = stepper(plain, "32-true", device), stepper(ours, precision, device)
        times: tuple[list[float], list[float]] = ([], [])
        losses: tuple[list[Tensor], list[Tensor]] = ([], [])
        for number in range(count):
            batch = batches[number % len(batches)]
            for way, step in enumerate((theirs_step, ours_step)):
                keep_freed(way == 1)  # as the command does
                start = _now(device)
                losses[way].append(step(batch, 1))
                times[way].append(_now(device) - start)
        theirs_loss, ours_loss = (torch.stack(curve).cpu() for curve in losses)
        apart = float((theirs_loss - ours_loss).abs().max())
        swing = float((theirs_loss[1:] - theirs_loss[:-1]).abs().mean()) if count > 1 else 0.0
        yield Row(
            what=f"training step of the classifier, {name}, crop {side}, batch {images}",
            beside="float32, contiguous",
            theirs=statistics.median(times[0][1:]),
            ours=statistics.median(times[1][1:]),
            difference=f"{apart:.4f} at most between the losses of {count} steps, which change by {swing:.4f} a step",
            goal="2.5 times faster in bf16 where the machine has it",
            note=f"{precision}, channels last; loss {float(theirs_loss[0]):.3f} to {float(theirs_loss[-1]):.3f}",
            runs=count - 1,
            extra={"losses": [theirs_loss.tolist(), ours_loss.tolist()]},
        )


def stepper(
    network: ClassifierNetwork | ReCamNetwork, precision: str, device: torch.device, lr: float = 0.1
) -> Callable[[dict[str, Tensor], int], Tensor]:
    """A function that takes one step on a batch in an epoch and returns its loss, as training does it."""
    optimiser = Sgd(lr=lr).build(network.groups())
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    rng = torch.Generator().manual_seed(0)

    def step(batch: dict[str, Tensor], epoch: int) -> Tensor:
        with autocast(precision, device):
            loss = torch.stack(list(network.terms(batch, epoch, rng).values())).float().sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimiser.step()
        return loss.detach()

    return step


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
