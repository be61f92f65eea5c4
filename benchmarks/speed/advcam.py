"""AdvCAM beside the published way: one image, one class and one scale at a time.

The published code runs the network once an iteration and comes back through it twice, once for the map and once for
the image, and both times to the weights as well, which nobody reads. Both ways look at the same views here.

Climbing is not stable: a difference in the last digit of one gradient, such as another order of summation makes, grows
from step to step. What that alone does to the maps, the published way with channels last beside the published way, is
printed beside the difference of ours.
"""

from __future__ import annotations

from collections.abc import Iterator

import networks
import numpy as np
import torch
import torch.nn.functional as F
from measure import Row, compare, show
from numpy.typing import NDArray
from torch import Tensor

from deft.classify.classifier import ClassifierNetwork
from deft.classify.linear import LinearHead
from deft.engine.fused import fused
from deft.engine.head import normalise
from deft.seeds.advcam import AdvCam, Fused
from deft.seeds.views import on_grid, pixels, resize

TAGS = (3, 11)


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """On a CPU a part of the scales and iterations, since both ways take minutes; on a GPU all, and images together."""
    if quick:
        yield from _rows("test_resnet", (48, 64), 1, AdvCam(scales=(0.5, 1.0), iterations=4), device, 1)
    elif device.type == "cuda":
        for name in ("resnet50", "mobilenetv2_100"):
            yield from _rows(name, (375, 500), 4, AdvCam(batch=64), device, 1)
    else:
        yield from _rows("mobilenetv2_100", (213, 320), 1, AdvCam(scales=(0.5, 1.0)), device, 1)
        yield from _rows("resnet50", (107, 160), 1, AdvCam(scales=(0.5, 1.0), iterations=9), device, 1)


def _rows(
    name: str, size: tuple[int, int], count: int, climber: AdvCam, device: torch.device, runs: int
) -> Iterator[Row]:
    network = networks.classifier(name, LinearHead(), device)
    ours = Fused(fused(networks.laid_out(network.backbone)).requires_grad_(False), network.head)
    images = [networks.photo(*size, seed=n) for n in range(count)]
    labels = [networks.tags(*TAGS)] * count
    few = AdvCam(scales=climber.scales, iterations=4)  # maps of a climb so short that nothing has grown yet
    short = float((few(ours, images[0], labels[0]).maps - published(network, images[0], few)).abs().max())
    found = climber.together(ours, images, labels)[0].maps
    expected = published(network, images[0], climber)
    again = published(networks.laid_out(network), images[0], climber)
    theirs, own = compare(
        lambda: [published(network, image, climber) for image in images[:1]],
        lambda: climber.together(ours, images, labels),
        device,
        runs,
        warm=0,
    )
    height, width = size
    yield Row(
        what=f"AdvCAM, {name}, {width}x{height}, {len(TAGS)} tags, scales {climber.scales}, "
        f"{climber.iterations} iterations, {count} at a time",
        beside="one image, class and scale at a time, float32, contiguous",
        theirs=theirs,
        ours=own / count,
        difference=(
            f"{_mean(found, expected):.4f} on average and {_most(found, expected):.3f} at most; "
            f"{short:.1e} at most after 4 iterations; channels last alone moves the published maps by "
            f"{_mean(again, expected):.4f} and {_most(again, expected):.3f}"
        ),
        goal=f"{15 if device.type == 'cuda' else 3} times faster, maps within 1e-2",
        theirs_mb=networks.peak(lambda: published(network, images[0], few), device),
        ours_mb=networks.peak(lambda: few.together(ours, images, labels), device),
        note=f"float32, seconds an image, {networks.kind(network.backbone)}; memory with {climber.batch} views at once",
        runs=runs,
    )


def published(network: ClassifierNetwork, image: NDArray[np.uint8], settings: AdvCam) -> Tensor:
    """Each class at each scale climbs for itself, its map being Grad-CAM's: (P, h, w) in [0, 1]."""
    weight = network.head.get_parameter("classifier.weight")
    size = (image.shape[0], image.shape[1])
    total = []
    for c in TAGS:
        summed: Tensor | None = None
        for scale in settings.scales:
            view = network.backbone.normalise(resize(pixels(image, weight.device), scale, network.backbone.stride, 1))
            small = scale < 1
            cam = _climb(network, view, c, max(1, settings.iterations // 2) if small else settings.iterations, settings)
            cam = (settings.small_weight if small else 1) * on_grid(cam, (view.shape[-2], view.shape[-1]), size, 1)
            summed = cam if summed is None else summed + cam
        if summed is not None:
            total.append(summed)
    return normalise(torch.stack(total)).cpu()


def _climb(network: ClassifierNetwork, view: Tensor, c: int, iterations: int, settings: AdvCam) -> Tensor:
    """The maps of class ``c`` in a view (1, 3, H, W), summed: (h, w)."""
    weight = network.head.get_parameter("classifier.weight")
    x = torch.cat([view, view.flip(-1)])
    total, first = x.new_zeros(()), None
    for _ in range(iterations):
        x = x.detach().requires_grad_()
        network.zero_grad()
        features = network.backbone.features(x)[-1]
        features.retain_grad()
        maps = F.relu(F.conv2d(features, weight))
        maps[:, c].sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
        gradient = features.grad
        if gradient is None:
            raise AssertionError("features keep their gradient")
        channels = gradient.sum((2, 3)) / ((gradient > 0).sum() + 1e-12)
        both = F.relu((channels[:, :, None, None] * features).sum(1))
        cam = both[0] + both[1].flip(-1)
        first = cam.detach() if first is None else first
        total = total + cam.detach()
        scores = maps.mean((2, 3)).sum(0)
        held = (cam / cam.max() > settings.threshold).detach()
        objective = 2 * scores[c] - scores.sum() - settings.coefficient * ((cam - first).abs() * held).sum()
        network.zero_grad()
        x.grad = None
        objective.backward()  # type: ignore[no-untyped-call]
        ascent = x.grad
        if ascent is None:
            raise AssertionError("the image has a gradient")
        low, high = (bound.item() for bound in x.detach().aminmax())
        x = (x.detach() + settings.step * ascent / ascent.abs().max()).clamp(low, high)
    return total


def _most(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def _mean(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().mean())


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
