"""Small transformers of random weights, with the architectures of those whose weights are worth having."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.backbone import Views, build_backbone, from_spec, frozen_net, with_views
from deft.refine.affinity import affinities_of
from deft.refine.neighborhood import directions

NAMES = {
    "vit_small_patch14_dinov2": (14, 1),
    "vit_small_patch14_reg4_dinov2": (14, 5),
    "vit_base_patch16_clip_224": (16, 1),
    "vit_base_patch16_siglip_224": (16, 0),
    "vit_base_patch16_224": (16, 1),  # MAE's
    "vit_small_patch16_dinov3": (16, 5),
}
"""Pixels of a patch, and tokens before those of the patches."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, depth=3, embed_dim=48, num_heads=3))


def frozen(name: str, **views: Any) -> Any:
    torch.manual_seed(0)
    inner = build_backbone(name, "none", 16, own_stride=True)
    given = {"side": 96, "scales": (1.0,), "flip": False, "taps": 1, "similar": 1, "stride": 8, **views}
    return with_views(inner, Views(**given))


def pixels(height: int = 64, width: int = 96) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)) * 255


def heard(backbone: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """The last attention (heads, T, T) and the last map, with every product computed by timm in the open."""
    seen: list[Tensor] = []
    hooks = []
    for part in backbone.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = False
            drop: nn.Module = part.attn_drop
            hooks.append(drop.register_forward_pre_hook(lambda _part, given: seen.append(given[0])))
    with torch.no_grad():
        last = frozen_net(backbone).inner.features(x)[-1]
    for hook in hooks:
        hook.remove()
    return seen[-1][0], last


@pytest.mark.parametrize("name", NAMES)
def test_attention_is_that_of_the_last_block(name: str) -> None:
    patch, before = NAMES[name]
    backbone = frozen(name)
    x = backbone.normalise(pixels())
    with torch.no_grad():
        look = frozen_net(backbone).look(x)
    assert frozen_net(backbone).patches and frozen_net(backbone).inner.stride == patch
    rows, columns = round(64 / patch), round(96 / patch)
    found = look.attention
    assert found is not None and found.grid == (rows, columns)
    assert found.query.shape[2] == before + rows * columns
    view = F.interpolate(x, size=(rows * patch, columns * patch), mode="bicubic", align_corners=False, antialias=True)
    expected, last = heard(backbone, view)
    own = (found.query[0] @ found.key[0].transpose(1, 2) * found.scale).softmax(-1)
    torch.testing.assert_close(own, expected, atol=1e-5, rtol=1e-4)
    assert look.deep.shape == (1, 48, 8, 12)
    same = F.interpolate(last, size=(8, 12), mode="bilinear", align_corners=False)
    torch.testing.assert_close(look.deep, same, atol=1e-4, rtol=1e-4)
    affinity = affinities_of(look, 3)
    assert affinity.shape == (len(directions(3)), rows, columns) and 0 <= affinity.min() <= affinity.max() <= 1


def test_positions_are_resized_for_every_scale() -> None:
    backbone = frozen("vit_small_patch14_dinov2", scales=(1.0, 1.5), flip=True, taps=3)
    with torch.no_grad():
        one, other = backbone(pixels(80, 56))[-1], backbone(pixels(56, 80))[-1]
    assert one.shape == (1, 3 * 48, 10, 7) and other.shape == (1, 3 * 48, 7, 10)
    again = from_spec(backbone.spec())
    again.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(again(pixels(80, 56))[-1], one)


def test_attention_in_windows_is_not_taken_for_that_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    backbone = frozen("test_convnext", stride=8)
    with torch.no_grad():
        look = frozen_net(backbone).look(backbone.normalise(pixels()))
    assert look.attention is None and frozen_net(backbone).patches
    assert affinities_of(look, 2).shape == (4, 8, 12)
