"""No channel exceeds its share of its maximum, and the base reads what is left."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deft.classify.deft import DeftHead
from deft.classify.drs import DrsHead, Suppression
from deft.classify.linear import LinearHead
from deft.contracts import InputError
from deft.engine.head import Head
from deft.seeds.cam import Cam
from fakes import classifier, noise, rng
from references import learns

LABELS = torch.tensor([[1.0, 0, 1.0], [0, 1.0, 0]])


def slow_suppression(own: Suppression, features: Tensor, delta: float | None) -> Tensor:
    """One image and one channel at a time."""
    channels = []
    for z in features:
        means = [cells.sum() / cells.numel() for cells in z]
        for c, cells in enumerate(z):
            if own.control is None:
                assert delta is not None
                limit = delta * cells.max()
            else:
                score = sum(w * mean for w, mean in zip(own.control.weight[c], means, strict=True))
                limit = cells.max() / (1 + torch.exp(-score))
            channels += [torch.minimum(cells, limit)]
    return torch.stack(channels).view_as(features)


@pytest.mark.parametrize("delta", [None, 0.55, 1.0])
def test_suppression_against_a_loop(delta: float | None) -> None:
    """In values, and in gradients: what is cut off still trains the maximum and, by the means, the share."""
    torch.manual_seed(0)
    own, features = Suppression(4, delta), torch.randn(2, 4, 3, 5, generator=rng(1)) + 0.5
    features[0, 1] = -features[0, 1].abs() - 0.1
    features.requires_grad_(True)
    found, expected = own(features), slow_suppression(own, features, delta)
    torch.testing.assert_close(found, expected)
    assert torch.equal(found[0, 1], features[0, 1])  # nothing positive, nothing to suppress
    assert torch.equal(found, features) == (delta == 1.0)
    weights, trained = torch.randn(found.shape, generator=rng(2)), [features, *own.parameters()]
    torch.testing.assert_close(*(torch.autograd.grad((z * weights).sum(), trained) for z in (found, expected)))


def test_new_layers_learn_at_a_rate_of_their_own() -> None:
    for rate in (10.0, 3.0):
        own = DrsHead(width=6, learning_rate=rate).build(5, 3)
        *base, (parameters, multiple) = own.groups()
        assert base == own.base.groups() and multiple == rate
        assert [id(p) for p in parameters] == [id(p) for p in (*own.convs.parameters(), *own.suppressions.parameters())]
    assert DrsHead().learning_rate == 10


def test_the_maps_against_plain_layers() -> None:
    torch.manual_seed(0)
    head = DrsHead(width=6, convs=2, delta=0.5).build(5, 3)
    features = torch.randn(2, 5, 4, 4, generator=rng(2)).relu()

    def half(x: Tensor) -> Tensor:
        return torch.minimum(x, 0.5 * x.amax((2, 3), keepdim=True))

    z = half(features)
    for conv in head.convs:
        z = half(F.relu(F.conv2d(z, conv.weight, conv.bias, padding=1)))
    scores = F.conv2d(z, head.base.classifier.weight)
    torch.testing.assert_close(head.cell_scores(features), scores)
    torch.testing.assert_close(head.activation(features)[:, 0], scores.relu())
    torch.testing.assert_close(head.logits(features), scores.mean((2, 3)))
    assert DrsHead(convs=0).build(5, 3).suppressed(features).shape == features.shape


@pytest.mark.parametrize(
    "head",
    [
        DrsHead(width=6),
        DrsHead(width=6, delta=0.55),
        DrsHead(base=DeftHead(maps=4, swap_epoch=1, warm_start=False), width=6),
    ],
)
def test_a_classifier_with_it_learns_and_its_maps_are_read(head: Head) -> None:
    own = classifier(head)
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=rng(5))
    learns(own, {"image": image, "labels": LABELS}, 0.003, momentum=0.9)
    seeds = Cam(scales=(1.0,))(own, noise(33, 40), LABELS[0].bool().numpy())
    assert seeds.classes == (0, 2) and float(seeds.maps.max()) <= 1


def test_settings_that_cannot_be_used_are_refused() -> None:
    for settings in ({"delta": 0.0}, {"delta": 1.5}, {"convs": -1}, {"width": 0}):
        with pytest.raises(InputError, match=f"DrsHead.{next(iter(settings))}"):
            DrsHead(**settings)  # type: ignore[arg-type]
    assert DrsHead().base == LinearHead()
