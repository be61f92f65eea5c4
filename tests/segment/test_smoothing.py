from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from deft.contracts import InputError
from deft.refine.crf import DenseCrf, dense_crf
from deft.segment.inference import Inference
from deft.segment.smoothing import LIKELY, smoothed

CRF = DenseCrf(iterations=3, gaussian_sxy=2.0, bilateral_sxy=25.0)


def scene(side: int = 64) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """A bright disc, its mask, and probabilities of background and disc on cells of 16 pixels."""
    rows, columns = np.mgrid[:side, :side]
    mask = np.hypot(rows - side * 0.45, columns - side * 0.55) < side * 0.3
    image = np.where(mask[..., None], (220, 200, 40), (40, 90, 160)).astype(np.uint8)
    inside = F.avg_pool2d(torch.from_numpy(mask)[None].float(), side // 4)
    return image, mask, torch.cat([1 - inside, inside]).clamp(0.05, 0.95)


def test_it_is_the_crf_of_what_is_likely_on_its_grid() -> None:
    image, _, two = scene()
    three = torch.cat([two * 0.97, torch.full_like(two[:1], 0.03)])
    assert three[2].max() < LIKELY
    found = smoothed(three, image, CRF, side=64)
    fine = F.interpolate(three[None], (64, 64), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(found[:2], dense_crf(-fine[:2].clamp_min(1e-5).log(), image, CRF))
    assert (found[2] == 0).all()


@pytest.mark.parametrize("size", [64, 256])
def test_edges_follow_the_photograph_at_any_size(size: int) -> None:
    image, mask, coarse = scene(size)
    found = smoothed(coarse, image, CRF, side=64)
    assert found.shape == (2, 64, 64)
    torch.testing.assert_close(found.sum(dim=0), torch.ones(64, 64))

    def wrong(probabilities: torch.Tensor) -> float:
        whole = F.interpolate(probabilities[None], (size, size), mode="bilinear", align_corners=False)[0]
        return float((whole.argmax(dim=0).numpy() != mask).mean())

    assert wrong(coarse) > 0.03 > 0.02 > wrong(found)


def test_a_single_likely_label_needs_no_crf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deft.segment.smoothing.dense_crf", None)
    sure = torch.tensor([0.95, 0.05]).view(2, 1, 1).expand(2, 4, 4)
    found = smoothed(sure, np.zeros((30, 60, 3), np.uint8), CRF, side=20)
    torch.testing.assert_close(found, torch.tensor([0.95, 0.05]).view(2, 1, 1).expand(2, 10, 20))


def test_inference_without_a_crf_is_as_it_was() -> None:
    assert Inference().crf is None
    with pytest.raises(InputError, match="crf: expected settings of DenseCrf or none, got 3"):
        replace(Inference(), crf=3)
