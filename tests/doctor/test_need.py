from __future__ import annotations

import pytest
import torch

from deft.backbone import build_backbone
from deft.doctor.need import Need, need
from deft.recipes import cam
from deft.settings import assign

NEED = Need("resnet50", batch=16, crop=512, fixed=100, image=50)


@pytest.mark.parametrize(
    ("available", "parts"), [(900, 1), (899, 2), (500, 2), (499, 3), (200, 8), (150, 16), (149, None), (-5, None)]
)
def test_a_batch_has_the_fewest_parts_that_fit(available: int, parts: int | None) -> None:
    assert NEED.whole == 900
    assert NEED.parts(available) == parts


def test_what_a_forward_pass_keeps_is_counted_without_computing() -> None:
    """Against the tensors that a real forward pass keeps, for a network small enough to run."""
    pipeline = assign(cam(), ["classifier.crop=0.128", "classifier.freeze=false", "classifier.plan.batch=3"])
    found = need(pipeline, "test_resnet")
    assert (found.backbone, found.batch, found.crop) == ("test_resnet", 3, 64)
    network = build_backbone("test_resnet", "none", pipeline.stride).train()
    weights = {parameter.data_ptr() for parameter in network.parameters()}
    kept: dict[int, torch.Tensor] = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.setdefault(x.data_ptr(), x), lambda x: x):
        maps = network(torch.zeros(1, 3, 64, 64))
    real = sum(tensor.untyped_storage().nbytes() for pointer, tensor in kept.items() if pointer not in weights)
    del maps
    assert found.image == pytest.approx(real, rel=0.05)
    assert found.fixed == 12 * sum(parameter.numel() for parameter in network.parameters())


def test_larger_crops_need_more_and_frozen_layers_keep_less() -> None:
    small, large, frozen = (
        need(assign(cam(), [f"classifier.crop={crop}", f"classifier.freeze={freeze}"]), "test_resnet").image
        for crop, freeze in ((0.128, "false"), (0.256, "false"), (0.256, "true"))
    )
    assert large == pytest.approx(4 * small, rel=0.1)
    assert frozen < large
