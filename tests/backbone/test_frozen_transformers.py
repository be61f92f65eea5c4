"""Small transformers of random weights, with the architectures of those whose weights are worth having."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.backbone import Views, build_backbone, from_spec, frozen_net, with_views
from deft.refine.affinity import affinities_of, cosine_affinities
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
_SMALL = {"depth": 3, "embed_dim": 48, "num_heads": 3}
_DEPTHS: dict[str, dict[str, Any]] = {
    "swin": {"depths": (1, 1, 1, 1), "embed_dim": 24, "num_heads": (1, 2, 3, 6)},
    "tiny": {"depths": (1, 1, 1, 1), "embed_dims": (16, 24, 24, 48), "num_heads": (1, 2, 2, 4)},
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    made = timm.create_model

    def create(name: str, **options: Any) -> Any:
        return made(name, **options, **_DEPTHS.get(name[:4], _SMALL))

    monkeypatch.setattr(timm, "create_model", create)


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


WINDOWS = ["swin_base_patch4_window12_384", "swin_tiny_patch4_window7_224", "tiny_vit_21m_512", "tiny_vit_5m_224"]


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize(("height", "width"), [(96, 96), (224, 224), (270, 480), (64, 320)])
def test_attention_in_windows_is_not_taken_for_that_of_the_image(
    name: str, height: int, width: int, windowed: dict[str, Any]
) -> None:
    """Whatever its shape, even where one window is as large as the image."""
    backbone = windowed.get(name) or windowed.setdefault(name, frozen(name, side=480))
    net = frozen_net(backbone)
    assert any(hasattr(part, "fused_attn") for part in backbone.modules()) and not net.attends
    with torch.no_grad():
        look = net.look(backbone.normalise(pixels(height, width)))
    assert look.attention is None
    torch.testing.assert_close(affinities_of(look, 2), cosine_affinities(look.similar[0], 2))


@pytest.fixture(scope="module")
def windowed() -> dict[str, Any]:
    return {}
