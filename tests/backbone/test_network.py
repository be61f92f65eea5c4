from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from deft.backbone import Backbone, build_backbone, from_spec, traceable
from deft.contracts import InputError


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    return build_backbone("test_resnet").eval()


def images(n: int = 2, height: int = 64, width: int = 64, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=rng)


@pytest.mark.parametrize("size", [(64, 64), (50, 37)])
@pytest.mark.parametrize(("name", "stride"), [("test_resnet", 16), ("test_resnet", 8), ("test_vit", 16)])
def test_maps_have_the_promised_channels_and_grid(name: str, stride: int, size: tuple[int, int]) -> None:
    net = build_backbone(name, stride=stride).eval()
    maps = net(images(1, *size))
    assert tuple(m.shape[1] for m in maps) == net.channels
    assert [m.shape[-2:] for m in maps] == [tuple(-(-side // r) for side in size) for r in net.reductions]
    assert net.reductions[-1] == stride


def test_a_network_of_even_sizes_only_takes_any_size() -> None:
    net = build_backbone("dla46_c", stride=32).eval()
    assert net(images(1, 50, 37))[-1].shape[-2:] == (2, 2)


def test_normalises_like_the_text_book(backbone: Backbone) -> None:
    x = images()
    by_hand = (x.double() / 255 - 0.5) / 0.5  # the mean and std this network was trained with
    for ours, reference in zip(backbone(x), backbone.net(by_hand.float()), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4)
    assert backbone.fill == (128, 128, 128)
    assert build_backbone("resnet10t").fill == (124, 116, 104)


def test_float_images_and_channels_last_are_the_same_images(backbone: Backbone) -> None:
    x = images()
    for a, b, c in zip(
        backbone(x), backbone(x.float()), backbone(x.to(memory_format=torch.channels_last)), strict=True
    ):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a, c, rtol=1e-4, atol=1e-4)
        assert c.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "mobilenetv2_100"])
def test_a_map_can_be_changed_on_its_way(name: str) -> None:
    torch.manual_seed(0)
    net = build_backbone(name, stride=32).eval()
    x = net.normalise(images())
    with torch.no_grad():
        plain = net.features(x)
        for index in range(len(plain)):
            seen: list[torch.Tensor] = []

            def change(features: torch.Tensor, seen: list[torch.Tensor] = seen) -> torch.Tensor:
                seen.append(features.clone())
                return features.roll(1, 0)

            changed = net.features(x, (index, change))
            assert len(seen) == 1
            assert torch.equal(seen[0], plain[index])
            for place, (before, after) in enumerate(zip(plain, changed, strict=True)):
                expected = before if place < index else before.roll(1, 0)  # in eval mode images do not see each other
                torch.testing.assert_close(after, expected, rtol=1e-3, atol=1e-5)
            assert not torch.equal(changed[index], plain[index])
        assert all(torch.equal(a, b) for a, b in zip(net.features(x), plain, strict=True))


def test_a_change_that_fails_leaves_the_network_as_it_was(backbone: Backbone) -> None:
    x = backbone.normalise(images())

    def fail(features: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no change")

    with pytest.raises(RuntimeError, match="no change"):
        backbone.features(x, (1, fail))
    assert torch.equal(backbone.features(x)[-1], backbone.features(x, (1, lambda features: features))[-1])


def test_a_network_whose_maps_are_read_from_inside_is_told() -> None:
    net = build_backbone("test_vit").eval()
    with pytest.raises(InputError, match=r"features of test_vit cannot be changed.*resnet50"):
        net.features(net.normalise(images()), (0, lambda features: features))


def test_stage_of_stride(backbone: Backbone) -> None:
    assert backbone.reductions == (2, 4, 8, 16, 16)
    assert [backbone.stage_of_stride(s) for s in (1, 2, 4, 8, 16, 32)] == [-1, 0, 1, 2, 4, 4]
    assert build_backbone("test_vit").stage_of_stride(8) == -1


def test_freeze_stops_exactly_what_the_map_depends_on() -> None:
    net = build_backbone("test_resnet")
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    net.freeze(net.stage_of_stride(8), batch_norm=True)
    frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
    assert any("layer2" in name for name in frozen)
    assert not any("layer3" in name or "layer4" in name for name in frozen)
    assert {name for name, _ in net.named_parameters() if "layer3" not in name and "layer4" not in name} == frozen

    net.train()
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    net(images())[-1].square().mean().backward()
    optimiser.step()
    after = net.state_dict()
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed and not changed & frozen
    assert not any("running" in key for key in changed)
    assert any("bn" in key and key.endswith("weight") for key in changed)  # scale and shift behind the cut still learn


def test_frozen_batch_norm_survives_train_and_can_be_undone() -> None:
    net = build_backbone("test_resnet")
    net.freeze(2, batch_norm=True)
    wrapped = nn.Sequential(net).train()
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert wrapped.training and net.training and not any(m.training for m in norms)
    net.freeze(-1, batch_norm=False)
    assert all(m.training for m in norms) and all(p.requires_grad for p in net.parameters())
    with pytest.raises(ValueError, match="-1 or a map index below 5"):
        net.freeze(5, batch_norm=True)


def test_spec_rebuilds_the_same_network(backbone: Backbone) -> None:
    again = from_spec(json.loads(json.dumps(backbone.spec())))
    again.load_state_dict(backbone.state_dict())
    x = images()
    assert all(torch.equal(a, b) for a, b in zip(backbone(x), again.eval()(x), strict=True))
    with pytest.raises(InputError, match="name, stride"):
        from_spec({"name": "test_resnet"})


def test_names_and_strides_that_are_not_there() -> None:
    with pytest.raises(InputError, match=r"nearest names are.*resnet50"):
        build_backbone("resnet5")
    with pytest.raises(InputError, match="has no pretrained weights 'nobody'; its pretrained weights are c3_in1k"):
        build_backbone("resnet10t.nobody")
    with pytest.raises(InputError, match="strides 16, 16, 16; ask for stride 16"):
        build_backbone("test_vit", stride=8)
    with pytest.raises(InputError, match="strides 1, 2, 4, 8, 16, 32"):
        build_backbone("vgg11", stride=16)


@pytest.mark.parametrize("side", [1, 2, 7, 16, 33, 225])
def test_paddings_in_whole_numbers_are_those_of_timm(side: int) -> None:
    from timm.layers import padding

    cases = [(kernel, stride, dilation) for kernel in (1, 2, 3, 7) for stride in (1, 2, 3) for dilation in (1, 2, 4)]
    expected = [padding.get_same_padding(side, *case) for case in cases]
    usual = padding.get_same_padding
    with traceable():
        assert padding.get_same_padding is not usual
        assert [padding.get_same_padding(side, *case) for case in cases] == expected
    assert padding.get_same_padding is usual
