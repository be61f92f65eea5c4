from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional as F

from deft.backbone import Views, build_backbone, from_spec, frozen_net, views_of, with_views
from deft.backbone.frozen import between
from deft.contracts import InputError

VIEWS = Views(side=64, scales=(1.0,), flip=False, taps=1, similar=2, stride=8)


def images(height: int = 64, width: int = 80) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 255


def test_cells_are_interpolated_between_their_centres() -> None:
    """One cell for every 16 pixels, the first on pixel 0: pixel 3.5 is 3.5 / 16 of the way to the second."""
    weights = between(cells=3, wanted=4, step=(8, 1), own=16, offset=0)
    assert weights[0].tolist() == pytest.approx([1 - 3.5 / 16, 3.5 / 16, 0])
    assert weights.sum(dim=1).tolist() == pytest.approx([1, 1, 1, 1])
    patches = between(cells=2, wanted=2, step=(32, 2), own=16, offset=7.5)
    assert patches.tolist() == [[1, 0], [0, 1]]


def test_one_view_is_the_inner_networks_map_on_another_grid() -> None:
    inner = build_backbone("test_resnet", "none", 16).eval()
    frozen = with_views(inner, VIEWS)
    x = frozen.normalise(images())
    view = F.interpolate(x, size=(65, 81), mode="bicubic", align_corners=False, antialias=True)
    with torch.no_grad():
        own, found = inner.features(view)[-1], frozen(images())[-1]
    assert found.shape == (1, inner.channels[-1], 8, 10)
    rows, columns = between(5, 8, (8 * 65, 64), 16, 0), between(6, 10, (8 * 81, 80), 16, 0)
    torch.testing.assert_close(found, torch.einsum("ia,jb,ncab->ncij", rows, columns, own))
    assert (frozen.reductions, frozen.channels) == ((8,), (inner.channels[-1],))


def test_mirrored_images_have_mirrored_features() -> None:
    frozen = with_views(build_backbone("test_resnet", "none", 16), Views(64, (1.0, 1.5), True, 2, 2, 8))
    with torch.no_grad():
        one, other = frozen(images()), frozen(images().flip(-1))
    torch.testing.assert_close(one[0], other[0].flip(-1), atol=1e-4, rtol=1e-4)


def test_nothing_of_it_is_trained() -> None:
    frozen = with_views(build_backbone("test_resnet", "none", 16), VIEWS).train()
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert not any(part.training for part in frozen.modules() if isinstance(part, torch.nn.BatchNorm2d))


def test_channels_are_standardised_as_measured() -> None:
    frozen = with_views(build_backbone("test_resnet", "none", 16), VIEWS)
    net = frozen_net(frozen)
    rng = torch.Generator().manual_seed(1)
    looks = [3 + 2 * torch.randn(frozen.channels[0], 6, 6, generator=rng) for _ in range(3)]
    looks[0][0] = looks[1][0] = looks[2][0] = 5.0
    net.measure(looks)
    flat = torch.stack([net.standardised(one) for one in looks]).transpose(0, 1).flatten(1)
    assert flat.mean(dim=1).abs().max() < 1e-5
    torch.testing.assert_close(flat[1:].std(dim=1, correction=0), torch.ones(len(flat) - 1), atol=1e-4, rtol=1e-4)
    assert flat[0].abs().max() == 0  # the same everywhere: it is not divided by nothing


def test_it_is_rebuilt_from_its_description() -> None:
    frozen = with_views(build_backbone("test_resnet", "none", 16), VIEWS)
    again = from_spec(json.loads(json.dumps(frozen.spec())))
    again.load_state_dict(frozen.state_dict())
    assert views_of(again) == VIEWS and views_of(build_backbone("test_resnet", "none", 16)) is None
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(images())[-1], frozen(images())[-1])
    with pytest.raises(InputError, match="views"):
        from_spec({**frozen.spec(), "views": {**frozen.spec()["views"], "scales": []}})


def test_faults() -> None:
    inner = build_backbone("test_resnet", "none", 16)
    with pytest.raises(InputError, match=r"frozen\.taps .* from 1 to"):
        with_views(inner, Views(64, (1.0,), False, 9, 1, 8))
    with pytest.raises(InputError, match="backbone is trained"):
        frozen_net(inner)
