"""A step of W-OoD beside the published way, whose step on the negatives computes the gradients of all weights too.

The published code makes a negative harder by a backward pass of its highest score, which fills the gradients of the
weights as well and clears them again, and measures the distances to classes and clusters one centre at a time. Ours
asks for the gradient of the image alone, and for all distances at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import networks
import torch
from measure import Row, compare, relative, show
from torch import Tensor

from deft.classify.linear import LinearHead
from deft.engine.head import soft_margin
from deft.engine.precision import autocast, choose
from deft.seeds.ood import Ood, OodNetwork


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """Batches of tagged images and as many negatives; on a GPU the published 16 and 16."""
    if quick:
        yield from _rows("test_resnet", 2, 64, device, 1)
    elif device.type == "cuda":
        for name in ("resnet50", "mobilenetv2_100"):
            yield from _rows(name, 16, 512, device, 5)
    else:
        for name in ("mobilenetv2_100", "resnet50"):
            yield from _rows(name, 4, 224, device, 3)


def _rows(name: str, count: int, side: int, device: torch.device, runs: int) -> Iterator[Row]:
    classifier = networks.classifier(name, LinearHead(), device)
    ours = OodNetwork(networks.laid_out(classifier.backbone), classifier.head, Ood()).train()
    theirs = OodNetwork(classifier.backbone, classifier.head, Ood()).train()
    generator = torch.Generator().manual_seed(0)
    for network in (ours, theirs):
        channels = network.backbone.channels[-1]
        network.inside = torch.randn(networks.CLASSES, channels, generator=generator.manual_seed(0)).to(device)
        network.outside = torch.randn(50, channels, generator=generator).to(device)
    given = networks.batch(count, side, 0, device)
    given["negative"] = networks.batch(count, side, 1, device)["image"]
    precision = choose(device)
    published_terms, own_terms = published(theirs, given), _step(ours, given, precision)
    slow, fast = compare(lambda: published(theirs, given), lambda: _step(ours, given, precision), device, runs)
    yield Row(
        what=f"W-OoD, {name}, a step of {count} tagged images and {count} negatives of {side}x{side}",
        beside="gradients of all weights in the step on the negatives, one distance at a time, float32, contiguous",
        theirs=slow,
        ours=fast,
        difference=f"{relative(own_terms, published_terms):.1e} of the loss",
        goal="3 times faster on a CPU, half the memory, loss within 1e-3",
        theirs_mb=networks.peak(lambda: published(theirs, given), device),
        ours_mb=networks.peak(lambda: _step(ours, given, precision), device),
        note=f"{precision}, channels last, {networks.kind(classifier.backbone)}",
        runs=runs,
    )


def _step(network: OodNetwork, batch: dict[str, Tensor], precision: str) -> Tensor:
    network.zero_grad()
    with autocast(precision, batch["image"].device):
        loss = torch.stack(list(network.terms(batch, 1, torch.Generator()).values())).float().sum()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def published(network: OodNetwork, batch: dict[str, Tensor]) -> Tensor:
    """One step with gradients of the weights throughout; returns the loss."""
    s, labels = network.settings, batch["labels"]
    x = network.backbone.normalise(batch["negative"]).requires_grad_(True)
    network.zero_grad()
    network.head.logits(network.backbone.features(x)[-1]).amax(dim=1).sum().backward()  # type: ignore[no-untyped-call]
    if x.grad is None:
        raise AssertionError("the image has a gradient")
    harder = x.detach() + s.climb * x.grad / x.grad.abs().amax(dim=(1, 2, 3), keepdim=True)
    network.zero_grad()
    features = network.backbone(batch["image"])[-1]
    loss = soft_margin(network.head.logits(features), labels)
    vectors = features.mean(dim=(2, 3))
    near, far = [], []
    for one, tags in zip(vectors, labels, strict=True):
        near += [(one - network.inside[int(k)]).norm() for k in tags.nonzero().flatten()]
        away = torch.stack([(one - centre).norm() for centre in network.outside])
        far.append(away.topk(round(s.nearest * len(away)), largest=False).values)
    share = len(network.inside) / len(network.outside)
    loss = loss + s.distance_weight * (torch.stack(near).mean() * share - torch.cat(far).mean())
    scores = network.head.logits(network.backbone.features(harder)[-1])
    loss = loss + s.negative_weight * soft_margin(scores, torch.zeros_like(scores))
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
