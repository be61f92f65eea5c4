from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from deft.backbone import build_backbone
from deft.classify.classifier import Classifier, ClassifierNetwork, load_classifier, save_classifier
from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.contracts import Head, InputError
from deft.engine.fit import Plan


def build(head: Head, pretrained: bool = False) -> ClassifierNetwork:
    torch.manual_seed(0)
    backbone = build_backbone("test_resnet", "none", 16)
    backbone.pretrained = pretrained
    return Classifier(head=head, plan=Plan(epochs=10, min_steps=0, batch=4)).build(backbone, 3)


def test_sizes_are_irns_on_voc() -> None:
    assert Classifier(head=LinearHead()).pixels(500) == (512, (320, 640))


def test_trained_weights_are_frozen_up_to_stride_8_and_random_ones_are_not() -> None:
    frozen, free = build(LinearHead(), pretrained=True), build(LinearHead())
    assert all(parameter.requires_grad for parameter in free.parameters())
    still = [name for name, parameter in frozen.backbone.named_parameters() if not parameter.requires_grad]
    moving = [name for name, parameter in frozen.backbone.named_parameters() if parameter.requires_grad]
    assert any("layer2" in name for name in still)
    assert moving
    assert all("layer3" in name or "layer4" in name for name in moving)
    norms = [module for module in frozen.train().modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)


def test_a_plan_that_ends_before_the_swap_is_refused() -> None:
    with pytest.raises(InputError, match="nothing would be swapped"):
        plan = Plan(epochs=5, min_steps=0, batch=4)
        Classifier(head=DeftHead(swap_epoch=6), plan=plan).build(build_backbone("test_resnet", "none", 16), 3)


@pytest.mark.parametrize("head", [LinearHead(), DeftHead(maps=4)])
def test_steps_lower_the_loss_and_every_weight_is_in_a_group(head: Head) -> None:
    network = build(head).train()
    groups = network.groups()
    grouped = [id(parameter) for group in groups for parameter in group.params]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters())
    optimiser = torch.optim.SGD([{"params": group.params, "lr": 0.01 * group.lr} for group in groups])
    batch = {
        "image": torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
        "labels": torch.eye(3)[[0, 1, 2, 0]],
    }
    losses = []
    for step in range(8):
        terms = network.terms(batch, 1, torch.Generator().manual_seed(step))
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]


def test_a_stored_classifier_gives_the_same_scores(tmp_path: Path) -> None:
    network = build(DeftHead(maps=4)).eval()
    save_classifier(tmp_path / "model.safetensors", network, ("a", "b", "c"), "key")
    again = load_classifier(tmp_path / "model.safetensors", DeftHead(maps=4))
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(network.logits(images), again.logits(images), atol=1e-5)
    with pytest.raises(InputError):
        load_classifier(tmp_path / "none.safetensors", DeftHead())
