from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deft.backbone import build_backbone
from deft.contracts import InputError
from deft.data import open_data
from deft.studies.probe import ActivationProbe, ProbeSettings, input_activations, last_batch_norm


def test_the_input_of_the_last_batch_norm_is_the_output_of_the_convolution_before_it() -> None:
    """In a bottleneck block this is conv3's output before bn3; in this network the last block's second convolution."""
    torch.manual_seed(0)
    backbone = build_backbone("test_resnet").eval()
    norm = last_batch_norm(backbone)
    parts = dict(backbone.net.named_modules())
    name = next(name for name, part in parts.items() if part is norm)
    assert "downsample" not in name
    out: list[torch.Tensor] = []
    parts[name.replace("bn", "conv")].register_forward_hook(lambda module, inputs, output: out.append(output))
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    (found,) = input_activations(backbone, norm, [image])
    assert np.allclose(found[0], out[0].mean(1)[0].detach().numpy(), atol=1e-6)
    assert np.allclose(found[1], out[0].relu().mean(1)[0].detach().numpy(), atol=1e-6)
    assert (found[1] >= found[0] - 1e-6).all()


def test_last_batch_norm_of_resnet_and_mobilenet() -> None:
    for name, wanted in (("resnet50", "layer4.2.bn3"), ("mobilenetv2_100", "blocks.6.0.bn3")):
        backbone = build_backbone(name)
        assert last_batch_norm(backbone) is dict(backbone.net.named_modules())[wanted]


def test_a_network_without_batch_norm_is_refused() -> None:
    with pytest.raises(InputError, match="got test_vit, which has none"):
        last_batch_norm(build_backbone("test_vit"))


def test_measuring_leaves_modes_weights_and_statistics_unchanged() -> None:
    backbone = build_backbone("test_resnet").train()
    backbone.freeze(until=0, batch_norm=True)
    before = [part.training for part in backbone.modules()]
    assert len(set(before)) == 2
    statistics = {name: value.clone() for name, value in backbone.state_dict().items()}
    input_activations(backbone, last_batch_norm(backbone), [torch.zeros(1, 3, 64, 64, dtype=torch.uint8)])
    assert [part.training for part in backbone.modules()] == before
    assert all((value == statistics[name]).all() for name, value in backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_groups_are_all_objects_each_class_and_pairs(voc_data: Path) -> None:
    data = open_data(f"voc:{voc_data}").train
    names = [group.name(data) for group in ActivationProbe(data, ProbeSettings(images=8, pair_images=2)).groups]
    assert names[:4] == ["any object", "cat", "cow", "dog"]
    assert "cat and grass" in names
    few = ActivationProbe(data, ProbeSettings(images=4, pair_images=1))
    assert len(few.images) == 4
    assert all(group in few.groups for image in few.images for group, _ in image.regions)
