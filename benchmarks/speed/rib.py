"""RIB beside the published way: the whole network from the pixels in every step, and maps from passes of their own.

The published code restores the classifier for each image, and each step passes the image's views and its companions
through all layers, forward and backward; the maps of a step come from further forward passes. Ours enters the network
behind the layers that are not trained, and reads the maps off the passes of the step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import networks
import numpy as np
import torch
import torch.nn.functional as F
from measure import Row, compare, show
from torch import Tensor

from deft.classify.classifier import ClassifierNetwork
from deft.classify.linear import LinearHead
from deft.contracts import Sample
from deft.engine.head import normalise
from deft.engine.precision import choose
from deft.seeds.rib import Rib, Tuned
from deft.seeds.views import on_grid, pixels, resize

TAGS = (3, 11)


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """On a CPU fewer scales, steps and companions, since both ways take minutes; on a GPU all."""
    if quick:
        yield from _rows("test_resnet", (48, 64), 64, Rib(scales=(0.5, 1.0), steps=2, companions=2), device)
    elif device.type == "cuda":
        for name in ("resnet50", "mobilenetv2_100"):
            yield from _rows(name, (375, 500), 512, Rib(batch=20), device)
    else:
        for name in ("mobilenetv2_100", "resnet50"):
            yield from _rows(name, (213, 320), 224, Rib(scales=(0.5, 1.0), steps=3, companions=4, batch=4), device)


def _rows(name: str, size: tuple[int, int], crop: int, settings: Rib, device: torch.device) -> Iterator[Row]:
    settings = replace(settings, stop_loss=1e6, stop_share=1.0)  # every image has all its steps
    network = networks.classifier(name, LinearHead(), device)
    precision = choose(device)
    tuned = Tuned(networks.laid_out(network), settings, precision)
    one = Sample("", networks.photo(*size, seed=0), networks.tags(*TAGS))
    crops = [networks.photo(crop, crop, seed=n + 1).transpose(2, 0, 1) for n in range(settings.companions)]
    images, labels = torch.from_numpy(np.stack(crops)), torch.zeros(settings.companions, networks.CLASSES)
    labels[:, 5] = 1
    found = settings.maps(tuned, one, images, labels).maps
    expected = published(network, one, images, labels, settings)
    theirs, own = compare(
        lambda: published(network, one, images, labels, settings),
        lambda: settings.maps(tuned, one, images, labels),
        device,
        1,
        warm=0,
    )
    height, width = size
    yield Row(
        what=f"RIB, {name}, {width}x{height}, {len(TAGS)} tags, scales {settings.scales}, {settings.steps} steps, "
        f"{settings.companions} companions of {crop}x{crop}",
        beside="the whole network from pixels in every step, float32, contiguous",
        theirs=theirs,
        ours=own,
        difference=f"{float((found - expected).abs().max()):.1e} of maps in [0, 1]",
        goal="3 times faster on a CPU, half the memory, maps within 1e-2",
        theirs_mb=networks.peak(lambda: published(network, one, images, labels, settings), device),
        ours_mb=networks.peak(lambda: settings.maps(tuned, one, images, labels), device),
        note=f"{precision}, channels last, seconds an image, {networks.kind(network.backbone)}",
        runs=1,
    )


def published(network: ClassifierNetwork, one: Sample, images: Tensor, labels: Tensor, settings: Rib) -> Tensor:
    """The maps of the tags, summed over the steps: (P, h, w) in [0, 1]."""
    net = copy.deepcopy(network)
    weight = net.head.get_parameter("classifier.weight")
    net.backbone.freeze(len(net.backbone.channels) - 1 - settings.trained, batch_norm=True)
    late = [parameter for parameter in net.backbone.parameters() if parameter.requires_grad]
    groups = [{"params": late, "lr": settings.rate}, {"params": [weight], "lr": 10 * settings.rate}]
    optimiser = torch.optim.SGD(groups, weight_decay=settings.decay)
    size = (one.image.shape[0], one.image.shape[1])
    whole, classes = pixels(one.image, weight.device), torch.from_numpy(np.flatnonzero(one.labels))
    views = {scale: resize(whole, scale, net.backbone.stride, 1) for scale in settings.scales}
    own = torch.from_numpy(one.labels.astype(np.float32)).to(weight.device)[None]
    total = whole.new_zeros(())
    for step in range(settings.steps + 1):
        with torch.no_grad():
            for view in views.values():
                maps = F.conv2d(net.backbone(torch.cat([view, view.flip(-1)]))[-1], weight).relu()
                merged = maps[0] + maps[1].flip(-1)
                total = total + on_grid(merged[classes], (view.shape[-2], view.shape[-1]), size, 1)
        if step == settings.steps:
            break
        optimiser.zero_grad()
        for scale, view in views.items():
            if scale >= 1:
                _loss(net, torch.cat([view, view.flip(-1)]), own.expand(2, -1), settings).backward()  # type: ignore[no-untyped-call]
        for part, tags in zip(torch.split(images, settings.batch), torch.split(labels, settings.batch), strict=True):
            _loss(net, part.to(weight.device), tags.to(weight.device), settings).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return normalise(total).cpu()


def _loss(net: ClassifierNetwork, images: Tensor, labels: Tensor, settings: Rib) -> Tensor:
    return settings.loss(net.head, net.backbone(images)[-1], labels)


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
