from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deft.backbone import build_backbone
from deft.seeds.amn_network import AmnNetwork
from fakes import noise

SCALES = (0.5, 1.0)


def network(stride: int = 16, **settings: float) -> AmnNetwork:
    torch.manual_seed(0)
    return AmnNetwork(build_backbone("test_resnet", "none", stride), 3, **settings).eval()


def test_logits_are_summed_dilated_convolutions_of_weighed_features() -> None:
    net, images, labels = network(), torch.rand(2, 3, 65, 81) * 255, torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    with torch.no_grad():
        features = net.backbone(images)[-1]
        gate = labels @ net.condition.weight.T + net.condition.bias
        expected = torch.zeros(())
        for rate, layer in zip((6, 12, 18, 24), net.head, strict=True):
            weighed = F.pad(features * gate[:, :, None, None], (rate,) * 4)
            expected = expected + F.conv2d(weighed, layer.weight, layer.bias, dilation=rate)
        assert torch.allclose(net(images, labels), expected, atol=1e-5)
    assert expected.shape == (2, 4, 5, 6)


def test_new_layers_begin_as_said_and_reach_as_far_at_any_stride() -> None:
    weights = torch.cat([layer.weight.flatten() for layer in network().head])
    assert float(weights.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert not any(bool(layer.bias.any()) for layer in network().head)
    assert [layer.dilation[0] for layer in network(32).head] == [3, 6, 9, 12]


def test_dropout_is_off_when_maps_are_read_and_on_when_training() -> None:
    net, labels = network(dropout=0.5), np.array([True, False, True])
    found = [module for module in net.modules() if isinstance(module, nn.Dropout)]
    assert len(found) == 1 and not found[0].training
    one, two = (net.probability(noise(48, 70), labels, SCALES, True) for _ in range(2))
    assert torch.equal(one, two)
    assert net.train().dropout.training
    noisy = [net.probability(noise(48, 70), labels, SCALES, True) for _ in range(2)]
    assert not torch.equal(*noisy)
    assert not net.eval().dropout.training


def test_one_straight_view_is_the_softmax_of_the_logits() -> None:
    net, image, labels = network(), noise(65, 81), np.array([True, False, True])
    with torch.no_grad():
        logits = net(torch.from_numpy(image).permute(2, 0, 1)[None], torch.tensor([[1.0, 0, 1]]))
    fine = F.interpolate(logits, size=(17, 21), mode="bilinear", align_corners=True)[0]
    assert torch.allclose(net.probability(image, labels, (1.0,), False), fine.softmax(0), atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (7, 200), (213, 120)])
def test_probabilities_of_any_size_sum_to_one(size: tuple[int, int]) -> None:
    found = network().probability(noise(*size), np.array([True, False, False]), SCALES, True)
    assert found.shape == (4, (size[0] - 1) // 4 + 1, (size[1] - 1) // 4 + 1)
    assert torch.allclose(found.sum(dim=0), torch.ones(()), atol=1e-5)


def test_a_mirrored_image_has_mirrored_maps() -> None:
    net, labels = network(), np.array([True, True, False])
    straight = net.probability(noise(65, 81), labels, SCALES, True)
    mirrored = net.probability(noise(65, 81)[:, ::-1], labels, SCALES, True)
    assert torch.allclose(straight, mirrored.flip(-1), atol=1e-4)


def test_bf16_changes_little_and_sums_are_float32() -> None:
    net, labels = network(), np.array([True, True, False])
    exact = net.probability(noise(65, 81), labels, SCALES, True)
    half = net.probability(noise(65, 81), labels, SCALES, True, "bf16-mixed")
    assert half.dtype == torch.float32
    assert torch.allclose(half, exact, atol=0.02) and not torch.equal(half, exact)
    assert torch.allclose(half.sum(dim=0), torch.ones(()), atol=1e-5)


def test_gradients_do_not_depend_on_parts() -> None:
    net, rng = network(dropout=0.0).train(), torch.Generator().manual_seed(0)
    mask = torch.randint(0, 4, (3, 64, 64), generator=rng)
    mask[0, 16:], mask[2, :, :32] = 255, 0
    image = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=rng)
    batch = {"image": image, "mask": mask, "labels": torch.tensor([[1.0, 0, 0], [0, 0, 1], [1, 1, 1]])}
    found = []
    for parts in (1, 2, 3):
        net.parts = parts
        net.zero_grad()
        sum(net.terms(batch, 1, torch.Generator()).values(), torch.zeros(())).backward()
        found.append({name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})
    assert len(found[0]) == len(list(net.parameters()))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [64, 65])
def test_the_target_of_a_cell_is_the_pixel_it_is_read_at(side: int) -> None:
    net = network()
    logits = torch.zeros(1, 4, -(-side // 16), -(-side // 16))
    logits[0, 1, 1, 2] = 1.0  # the cell of pixel (16, 32) alone says class 1
    net.forward = lambda images, labels: logits  # type: ignore[method-assign, assignment]
    image, labels = torch.zeros(1, 3, side, side, dtype=torch.uint8), torch.ones(1, 3)
    losses = {}
    for place in ((16, 32), (32, 16), (23, 39), (16, 31)):
        mask = torch.zeros(1, side, side, dtype=torch.int64)
        mask[0, place[0], place[1]] = 1
        losses[place] = net.terms({"image": image, "mask": mask, "labels": labels}, 1, torch.Generator())
    assert 0 < float(losses[16, 32]["objects"]) < float(losses[32, 16]["objects"])
    for beside in ((23, 39), (16, 31)):  # pixels that no cell is read at
        assert float(losses[beside]["objects"]) == 0 < float(losses[beside]["background"])


def test_steps_learn_and_keep_the_batch_statistics() -> None:
    net = network().train()
    assert not any(module.training for module in net.modules() if isinstance(module, nn.BatchNorm2d))
    assert [group.lr for group in net.groups()] == [1.0, 20.0]
    in_groups = {id(parameter) for group in net.groups() for parameter in group.params}
    assert in_groups == {id(parameter) for parameter in net.parameters()}
    mask = torch.full((2, 64, 64), 255)
    mask[0, 8:32], mask[0, 40:], mask[1, 32:] = 1, 0, 3
    labels = torch.tensor([[1.0, 0, 0], [0, 0, 1]])
    batch = {"image": torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8), "mask": mask, "labels": labels}
    statistics = {key: value.clone() for key, value in net.state_dict().items() if "running" in key}
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss = sum(net.terms(batch, 1, torch.Generator()).values(), torch.zeros(()))
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(torch.equal(net.state_dict()[key], value) for key, value in statistics.items())
