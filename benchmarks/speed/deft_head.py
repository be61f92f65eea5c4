"""A step with the DEFT head, its losses and the swap beside a plain CAM step, all else alike."""

from __future__ import annotations

from collections.abc import Iterator

import networks
import torch
from measure import Row, compare, show
from training import stepper

from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.engine.layout import channels_last
from deft.engine.precision import choose


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """Both in the precision of the machine, in turn, in an epoch in which features are swapped."""
    sizes = {"resnet50": (256, 4), "mobilenetv2_100": (224, 16)}
    if device.type == "cuda":
        sizes = dict.fromkeys(sizes, (512, 16))
    if quick:
        sizes = {"test_resnet": (64, 2)}
    head, precision = DeftHead(), choose(device)
    for name, (side, images) in sizes.items():
        batch = networks.batch(images, side, 0, device)
        steps = [
            stepper(channels_last(networks.trainee(name, one, device)), precision, device, lr=0.01)
            for one in (LinearHead(), head)
        ]
        runs = 1 if quick else 25 if device.type == "cuda" else 9
        plain, deft = compare(
            lambda steps=steps, batch=batch: steps[0](batch, head.swap_epoch),  # type: ignore[misc]
            lambda steps=steps, batch=batch: steps[1](batch, head.swap_epoch),  # type: ignore[misc]
            device,
            runs,
            warm=1 if quick else 2,
            kept=True,
        )
        yield Row(
            what=f"DEFT head and losses, M = {head.maps}, swapping, {name}, crop {side}, batch {images}",
            beside="plain CAM step",
            theirs=plain,
            ours=deft,
            difference=f"{100 * (deft / plain - 1):+.1f} % of time",
            goal="at most 5 % slower",
            note=f"{precision}, channels last; two methods, so no results to compare",
            runs=runs,
        )


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
