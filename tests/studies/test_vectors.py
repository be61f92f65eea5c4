from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deft.backbone import build_backbone
from deft.classify.classifier import ClassifierNetwork
from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.classify.sma import SmaHead
from deft.contracts import InputError
from deft.data import open_data
from deft.recipes import RECIPES
from deft.studies.vectors import as_batch, deft_module, has_two_vectors, read_vectors


def network(head: DeftHead | LinearHead) -> ClassifierNetwork:
    torch.manual_seed(0)
    backbone = build_backbone("test_resnet")
    return ClassifierNetwork(backbone, head.build(backbone.channels[-1], 3)).eval()


def test_vectors_equal_those_that_the_head_pools(voc_data: Path) -> None:
    data = open_data(f"voc:{voc_data}").train
    classifier = network(DeftHead(maps=4))
    found = read_vectors(classifier, data, [3, 0])
    head = deft_module(classifier)
    for row, index in enumerate((3, 0)):
        image = torch.from_numpy(data[index].image).permute(2, 0, 1)[None]
        with torch.no_grad():
            features = classifier.backbone(image)[-1]
            assert torch.allclose(found.z_fg[row], head.m_fg(features)[0], atol=1e-6)
            assert torch.allclose(found.z_bg[row], head.m_bg(features)[0], atol=1e-6)


def test_multi_stage_background_vectors_equal_those_of_training(voc_data: Path) -> None:
    data = open_data(f"voc:{voc_data}").train
    backbone = build_backbone("test_resnet")
    head = SmaHead().build_on(backbone.channels, 3)
    found = read_vectors(ClassifierNetwork(backbone, head).eval(), data, [1])
    assert head.sides is not None
    with torch.no_grad():
        maps = backbone(torch.from_numpy(data[1].image).permute(2, 0, 1)[None])
        assert torch.allclose(found.z_bg[0], head.deft.m_bg(head.sides(maps))[0], atol=1e-6)
        assert torch.allclose(found.z_fg[0], head.deft.m_fg(maps[-1])[0], atol=1e-6)


def test_a_classifier_without_defts_head_is_refused() -> None:
    with pytest.raises(InputError, match="got LinearModule; take irn_deft"):
        deft_module(network(LinearHead()))


def test_recipes_with_defts_head_have_two_vectors() -> None:
    found = {name for name, recipe in RECIPES.items() if has_two_vectors(recipe())}
    assert {"irn_deft", "amn_deft"} <= found
    assert not found & {"cam", "irn", "psa", "amn", "mixup"}


def test_an_image_becomes_a_batch_of_one_with_channels_first() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    batch = as_batch(image).cpu()
    assert batch.shape == (1, 3, 2, 4) and batch.dtype == torch.uint8
    assert batch[0, 1].tolist() == image[:, :, 1].tolist()
