"""The plain CAM head is average pooling and one linear map, in either order."""

from __future__ import annotations

import pytest
import torch

from deft.classify.linear import BackgroundHead, LinearHead
from deft.classify.readings import Eq7


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Generator]:
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(4, 6, 5, 7, generator=rng)
    labels = (torch.rand(4, 3, generator=rng) > 0.5).float()
    return features, labels, rng


def test_score_is_the_mean_of_the_map_before_relu() -> None:
    features, _, _ = batch()
    head = LinearHead().build(6, 3)
    maps = torch.einsum("kc,nchw->nkhw", head.classifier.weight[:, :, 0, 0], features)
    torch.testing.assert_close(head.logits(features), maps.mean(dim=(2, 3)))
    torch.testing.assert_close(head.activation(features), maps.clamp(min=0)[:, None])


def test_loss_equals_a_literal_loop() -> None:
    features, labels, rng = batch()
    head = LinearHead().build(6, 3)
    probability = head.logits(features).sigmoid().tolist()
    expected = 0.0
    for n in range(4):
        for k in range(3):
            p, y = probability[n][k], labels[n, k].item()
            expected -= float(torch.tensor(p if y else 1 - p).log()) / 12
    assert abs(float(head.loss(features, labels, 1, rng)["classify"].detach()) - expected) < 1e-5


def test_combine_is_scale_free_and_within_bounds() -> None:
    features, _, _ = batch()
    head = LinearHead().build(6, 3)
    activation = head.activation(features)[0]
    seeds = head.combine(activation)
    assert seeds.shape == (3, 5, 7)
    assert float(seeds.min()) >= 0 and float(seeds.max()) <= 1
    torch.testing.assert_close(head.combine(activation * 8), seeds, atol=1e-3, rtol=0)


def test_one_step_lowers_the_loss() -> None:
    features, labels, rng = batch()
    head = LinearHead().build(6, 3)
    (parameters, rate), *rest = head.groups()
    assert not rest and rate == LinearHead().learning_rate
    optimiser = torch.optim.SGD(parameters, lr=0.1)
    before = head.loss(features, labels, 1, rng)["classify"]
    optimiser.zero_grad()
    before.backward()
    optimiser.step()
    assert float(head.loss(features, labels, 1, rng)["classify"]) < float(before)


def test_dropout_leaves_channels_out_of_training_alone() -> None:
    features, _, _ = batch()
    head = LinearHead(dropout=0.5).build(6, 3)
    whole = LinearHead().build(6, 3)
    whole.load_state_dict(head.state_dict())
    torch.manual_seed(0)
    with torch.no_grad():
        scores = head.logits(features.repeat(4000, 1, 1, 1)).view(4000, 4, 3)
        assert scores.std(dim=0).min() > 0
        torch.testing.assert_close(scores.mean(0), whole.logits(features), atol=0.03, rtol=0)
        torch.testing.assert_close(head.eval().logits(features), whole.logits(features))
        torch.testing.assert_close(head.train().activation(features), whole.activation(features))


def test_stretched_it_is_read_as_defts_background_map() -> None:
    features, _, _ = batch()
    head = LinearHead(stretched=True).build(6, 3)
    scores = torch.einsum("kc,nchw->nkhw", head.classifier.weight[:, :, 0, 0], features)
    total = scores[0] + scores[1]
    lowest, highest = total.amin(dim=(1, 2), keepdim=True), total.amax(dim=(1, 2), keepdim=True)
    maps = head.combine(head.activation(features)[0] + head.activation(features)[1])
    squared = ((total - lowest) / (highest - lowest)) ** 2
    positive = scores[0].relu() + scores[1].relu()
    expected = torch.maximum(squared, (positive / positive.amax(dim=(1, 2), keepdim=True)) ** 2)
    torch.testing.assert_close(maps, expected, atol=1e-4, rtol=0)


def test_the_background_classifier_learns_what_f_bg_learns_from_equal_vectors() -> None:
    features, labels, rng = batch()
    head = BackgroundHead().build(6, 3)
    scores = head.f_bg(features.mean(dim=(2, 3)))
    both = torch.nn.functional.binary_cross_entropy_with_logits
    expected = (both(scores, 1 - labels) + both(scores, torch.ones_like(labels))) / 2  # the terms of Eq. 3 with f_bg
    torch.testing.assert_close(head.loss(features, labels, 1, rng)["background"], expected)
    with torch.no_grad():
        head.f_bg.weight.zero_()
        head.f_bg.bias.copy_(torch.tensor([0.5, 0.75, 1 - 1e-6]).logit())
    assert head.logits(features)[0].sigmoid().tolist() == pytest.approx([1, 0.5, 0], abs=1e-3)


def test_the_background_classifier_is_read_as_f_bg_is() -> None:
    features, _, _ = batch()
    head = BackgroundHead().build(6, 3)
    scores = torch.einsum("kc,nchw->nkhw", head.f_bg.weight, features)
    expected = Eq7().combine(Eq7().activation(-scores, scores)[0])
    torch.testing.assert_close(head.combine(head.activation(features)[0]), expected)
    assert head.groups() == [(list(head.parameters()), 10.0)]
