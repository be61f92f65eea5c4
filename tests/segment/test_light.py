from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from deft.backbone import build_backbone, frozen_net
from deft.contracts import IGNORE
from deft.engine.features import Features, Frozen, find_features
from deft.segment.deeplab import DeepLab, SegmentationNetwork
from deft.segment.inference import Inference
from deft.segment.light import LightDecoder
from fakes import noise


def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    backbone = Frozen(side=64, scales=(1.0,)).on(build_backbone("test_resnet", "none", 16))
    return SegmentationNetwork(backbone, 3, DeepLab(channels=16), 64).eval()


def test_every_cell_by_itself() -> None:
    decoder = LightDecoder(5, 8, 0.5).eval()
    deep = torch.randn(2, 5, 3, 4)
    expected = torch.stack(
        [
            F.linear(cell, decoder.hidden.weight[:, :, 0, 0], decoder.hidden.bias).relu()
            for cell in deep.flatten(2).transpose(1, 2)
        ]
    )
    torch.testing.assert_close(decoder([deep]).flatten(2).transpose(1, 2), expected)


def test_stored_features_give_the_mask_of_the_image() -> None:
    one, image = network(), noise(48, 64)
    torch.nn.init.normal_(one.head.weight, std=1.0)
    assert isinstance(one.decoder, LightDecoder) and one.grid_stride == 8
    inference = Inference(scales=(1.0,), flip=False)
    known = find_features(one.backbone, image)
    half = Features(known.deep.half())
    torch.testing.assert_close(
        inference.probabilities(one, image), inference.probabilities(one, image, features=known), atol=1e-4, rtol=1e-3
    )
    torch.testing.assert_close(
        inference.probabilities(one, image), inference.probabilities(one, image, features=half), atol=2e-2, rtol=2e-2
    )


def test_a_step_on_stored_maps_trains_nothing_of_the_backbone() -> None:
    one = network().train()
    deep = torch.randn(2, one.backbone.channels[0], 8, 8)
    mask = torch.full((2, 64, 64), IGNORE)
    mask[:, :32] = torch.from_numpy(np.array([1, 2])).view(2, 1, 1)
    batch = {"deep": deep.half(), "mask": mask}
    torch.manual_seed(0)
    found = one.terms(batch, 1, torch.Generator())["segmentation"]
    torch.manual_seed(0)
    logits = one.decode([frozen_net(one.backbone).standardised(deep.half().float())])
    expected = F.cross_entropy(logits, mask[:, 4::8, 4::8], ignore_index=IGNORE)
    torch.testing.assert_close(found, expected)
    found.backward()
    trained = {name.split(".")[0] for name, each in one.named_parameters() if each.grad is not None}
    assert trained == {"decoder", "head"}

    one.background = 0.5
    torch.manual_seed(0)
    weights = torch.tensor([0.5] + [1.0] * one.classes)
    mask = mask.clone()
    mask[1, :16] = 0
    expected = F.cross_entropy(logits, mask[:, 4::8, 4::8], weights, ignore_index=IGNORE)
    found = one.terms(batch | {"mask": mask}, 1, torch.Generator())["segmentation"]
    torch.testing.assert_close(found, expected)
