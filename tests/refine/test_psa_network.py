from __future__ import annotations

import pytest
import torch
from torch import nn

from deft.backbone import Backbone, build_backbone
from deft.refine.neighborhood import directions
from deft.refine.psa_network import AffinityNetwork


def resnet(stride: int = 8) -> Backbone:
    torch.manual_seed(0)
    return build_backbone("test_resnet", "none", stride)


@pytest.mark.parametrize("size", [(64, 64), (61, 83), (17, 100), (5, 7), (1, 1)])
@pytest.mark.parametrize("stride", [8, 16])
def test_one_feature_per_cell_for_images_of_any_size(size: tuple[int, int], stride: int) -> None:
    network = AffinityNetwork(resnet(stride)).eval()
    cells = (-(-size[0] // stride), -(-size[1] // stride))
    image = torch.randint(256, (3, *size), dtype=torch.uint8)
    with torch.no_grad():
        assert network(image[None]).shape == (1, 448, *cells)
    found = network.affinities(image)
    for (down, right), affinity in zip(directions(5), found, strict=True):
        assert affinity.shape == (max(0, cells[0] - down), max(0, cells[1] - abs(right)))
        assert bool((affinity >= 0).all() and (affinity <= 1).all())


def test_affinities_in_bf16_are_close_to_those_in_float32() -> None:
    network = AffinityNetwork(resnet()).eval()
    image = torch.randint(256, (3, 64, 72), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pairs = list(zip(network.affinities(image), network.affinities(image, "bf16-mixed"), strict=True))
    assert all(half.dtype == torch.float32 and torch.allclose(half, exact, atol=0.05) for exact, half in pairs)
    assert any(not torch.equal(half, exact) for exact, half in pairs)


def test_early_stages_and_batch_norms_are_frozen() -> None:
    network = AffinityNetwork(resnet()).train()
    backbone = network.backbone
    fixed = {id(p) for p in backbone.parameters() if not p.requires_grad}
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(m.training for m in norms)
    assert all(id(p) in fixed for m in norms for p in m.parameters())
    trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
    stem = [name for name in dict(backbone.named_parameters()) if "conv1" in name.split(".")[1] or "layer1" in name]
    assert len(stem) > 4 and trained and not trained & set(stem)
    groups = network.groups()
    listed = [id(p) for group in groups for p in group.params]
    assert sorted(listed) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    assert [(group.lr, group.decay) for group in groups] == [(1, True), (2, False), (10, True)]
    assert len(groups[0].params) > 0


def test_layer_shapes_are_those_of_the_paper() -> None:
    network = AffinityNetwork(build_backbone("test_resnet", "none", 8))
    assert [tuple(layer.weight.shape[:2]) for layer in network.reduce] == [(64, 48), (128, 192), (256, 96)]
    assert network.join.weight.shape == (448, 448, 1, 1)
    assert network.join.weight.std().item() == pytest.approx(4 * (2 / 896) ** 0.5, rel=0.02)


def test_gradients_do_not_depend_on_parts() -> None:
    network = AffinityNetwork(resnet(), radius=3).train()
    image = torch.randint(256, (3, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(3, 48, 48, dtype=torch.int64)
    mask[0, 8:32, 8:32], mask[1, 24:], mask[2] = 1, 2, 255
    found = []
    for parts in (1, 2, 3):
        network.parts = parts
        network.zero_grad()
        torch.stack(list(network.terms({"image": image, "mask": mask}, 1, torch.Generator()).values())).sum().backward()
        found.append({name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None})
    assert any(name.startswith("backbone") for name in found[0])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-5)


def test_training_lowers_the_loss_and_reaches_the_backbone() -> None:
    network = AffinityNetwork(resnet()).train()
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    image = torch.full((2, 3, 48, 48), 60, dtype=torch.uint8)
    mask = torch.zeros(2, 48, 48, dtype=torch.int64)
    image[:, :, 8:32, 8:32], mask[:, 8:32, 8:32] = 200, 1
    mask[:, 40:] = 255
    optimiser = torch.optim.SGD([{"params": group.params, "lr": 0.1 * group.lr} for group in network.groups()])
    losses = []
    for _ in range(8):
        terms = network.terms({"image": image, "mask": mask}, 1, torch.Generator())
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    changed = {name for name, value in network.backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and not any("running" in name or "bn" in name for name in changed)
