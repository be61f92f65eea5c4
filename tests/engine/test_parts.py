from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deft.engine.parts import in_parts, large_in_parts


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))


def images(count: int = 5) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 5, 9])
def test_a_loss_of_the_joined_batch_has_the_gradients_of_the_whole(parts: int) -> None:
    net, x = network(), images()
    net(x).flatten(1).softmax(dim=0).pow(2).sum().backward()
    expected = [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]
    net.zero_grad()
    in_parts(net, x, parts).flatten(1).softmax(dim=0).pow(2).sum().backward()
    found = [parameter.grad for parameter in net.parameters()]
    torch.testing.assert_close(found, expected)


def test_parts_are_computed_once_more_on_the_way_back_and_nothing_else_is_kept() -> None:
    net, seen = network(), []

    def watched(part: Tensor) -> Tensor:
        seen.append(len(part))
        found: Tensor = net(part)
        return found

    made = in_parts(watched, images(), 2)
    assert seen == [3, 2]
    made.sum().backward()
    assert sorted(seen) == [2, 2, 3, 3]
    with torch.no_grad():
        in_parts(watched, images(), 2)
    assert len(seen) == 6
    in_parts(watched, images(), 1).sum().backward()
    assert seen[6:] == [5]


def test_several_maps_and_what_else_an_image_has() -> None:
    x, tags = images(), torch.arange(5.0)

    def function(part: Tensor, weights: Tensor) -> list[Tensor]:
        return [part * weights[:, None, None, None], weights + 1]

    for parts in (1, 2, 3):
        scaled, more = in_parts(function, x, parts, tags)
        assert torch.equal(scaled, x * tags[:, None, None, None])
        assert torch.equal(more, tags + 1)


def test_dropout_is_the_same_on_the_way_back() -> None:
    x = torch.ones(4, 50, requires_grad=True)
    made = in_parts(lambda part: nn.functional.dropout(part, 0.5) ** 2, x, 2)
    made.sum().backward()
    assert x.grad is not None
    assert 0 < int((made == 0).sum()) < 200
    assert torch.equal(x.grad == 0, made == 0)


@pytest.mark.parametrize(
    ("together", "calls"), [(2 * 64 * 96, [2, 2, 1]), (64 * 96, [1] * 5), (1, [1] * 5), (10**9, [5])]
)
def test_large_views_are_computed_apart_to_the_same_maps(
    together: int, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deft.engine.parts.TOGETHER", together)
    torch.manual_seed(0)
    layer, seen = nn.Conv2d(3, 4, 3, stride=2), []

    def network(views: Tensor) -> list[Tensor]:
        seen.append(len(views))
        return [layer(views), views]

    views = torch.rand(5, 3, 64, 96)
    with torch.no_grad():
        maps, same = large_in_parts(network, views)
        torch.testing.assert_close(maps, layer(views))
    assert torch.equal(same, views)
    assert seen == calls
