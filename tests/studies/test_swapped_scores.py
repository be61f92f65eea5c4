from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.classify.deft import DeftHead
from deft.classify.swap_forms import LinearSwap, MlpSwap, SharedSwap, SwapForm
from deft.data import open_data
from deft.studies.swapped_scores import SwappedScores, choose_images, norm_ratios, pair_logits


@pytest.mark.parametrize("form", [LinearSwap(), SharedSwap(), MlpSwap()])
def test_pair_logits_equal_those_of_the_head(form: SwapForm) -> None:
    torch.manual_seed(0)
    head = DeftHead(maps=2, swap_head=form).build(6, 3)
    z_fg, z_bg = torch.randn(2, 4, 6)
    with torch.no_grad():
        found = pair_logits(head, z_fg, z_bg)
        for i in range(4):
            for j in range(4):
                alone = head.swap_logits(torch.cat([z_fg[i], z_bg[j]])[None])[0].numpy()
                assert np.allclose(found[i, j], alone, atol=1e-6)
    change = found - found[:, :1]
    additive = np.allclose(change, change[:1], atol=1e-5)
    assert additive == form.additive


def test_norm_ratios_are_those_of_the_weights_of_a_linear_head() -> None:
    head = DeftHead(maps=2).build(5, 3)
    ratios = norm_ratios(head, 5)
    weight = head.f_swap[0].weight.detach()
    assert ratios == pytest.approx((weight[:, 5:].norm(dim=1) / weight[:, :5].norm(dim=1)).tolist(), rel=1e-5)
    assert all(math.isnan(value) for value in norm_ratios(DeftHead(maps=2, swap_head=MlpSwap()).build(5, 3), 5))
    assert len(norm_ratios(DeftHead(maps=2, swap_head=SharedSwap()).build(5, 3), 5)) == 3


def test_chosen_images_show_every_class(voc_data: Path) -> None:
    data = open_data(f"voc:{voc_data}").train
    chosen = choose_images(data, 8)
    assert chosen == sorted(set(chosen))
    assert data.labels[chosen].any(axis=0).all()


def test_scores_of_a_class_and_of_a_pair_are_those_of_its_images() -> None:
    """Three images: 0 and 1 show class 0, and the companion is in 1 and 2."""
    swapped = object.__new__(SwappedScores)
    swapped.data = type("Data", (), {"names": ("a", "b", "c", "d")})()  # type: ignore[assignment]
    swapped.indices = np.array([0, 2, 3])
    swapped.tagged, swapped.shown = np.array([[True], [True], [False]]), np.array([[False], [True], [True]])
    swapped.alone, swapped.ratios = np.array([[0.2], [0.8], [0.6]]), [0.5]
    swapped.logits = np.array([[[1.0], [3.0], [5.0]], [[0.0], [2.0], [4.0]], [[9.0], [9.0], [9.0]]])
    assert swapped.of_class(0, examples=1) == {
        "norm_ratio": 0.5,
        "alone": 0.5,  # one of its two backgrounds alone is classified as the class
        "alone_elsewhere": 1.0,
        "examples": [{"image": "c", "alone": 0.8}],
    }
    found = swapped.of_pair(0, 0)
    assert (found["alone_with"], found["alone_tempted"]) == (0.8, 0.6)
    assert found["lift_logits"] == 4.0  # of the second object: the first has no other background without the companion
