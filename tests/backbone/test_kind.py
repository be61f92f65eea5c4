"""Facts of networks, and every family of timm that has feature maps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from deft.backbone import build_backbone
from deft.backbone.kind import Kind, kind_of
from deft.backbone.network import probe_sizes, try_size
from deft.contracts import InputError


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("test_resnet", Kind((8, 16, 32), batch_norm=True, changeable=True)),
        ("test_efficientnet", Kind((4, 8, 16, 32), batch_norm=True, changeable=True)),
        ("test_convnext", Kind((8, 16, 32), batch_norm=False, changeable=True)),
        ("test_vit", Kind((16,), batch_norm=False, changeable=False)),
        ("swin_tiny_patch4_window7_224", Kind((32,), batch_norm=False, changeable=False)),
    ],
)
def test_facts_are_those_of_the_network(name: str, kind: Kind) -> None:
    assert kind_of(name) == kind


def test_strides_are_those_that_can_be_built() -> None:
    for name in ("test_resnet", "test_vit"):
        for stride in (4, 8, 16, 32):
            if stride in kind_of(name).strides:
                assert build_backbone(name, "none", stride).reductions[-1] == stride
            else:
                with pytest.raises(InputError, match="cannot be dilated to stride"):
                    build_backbone(name, "none", stride)


def test_unknown_names_and_networks_without_maps_are_refused() -> None:
    with pytest.raises(InputError, match="unknown backbone 'resnet51'"):
        kind_of("resnet51")
    with pytest.raises(InputError, match=r"'gmlp_ti16_224' does not accept images of any size .* such as \w+"):
        kind_of("gmlp_ti16_224")


@pytest.mark.parametrize("ask", [kind_of, partial(build_backbone, stride=32)])
def test_a_network_that_fails_beyond_the_size_of_its_pretraining_is_refused(ask: Callable[[str], object]) -> None:
    """Its tables of relative positions are those of 224 pixels, which shows only where values are known."""
    with pytest.raises(InputError, match=r"'mvitv2_tiny' does not accept .*index \d+ is out .* such as \w+"):
        ask("mvitv2_tiny")


def test_whatever_a_network_raises_is_a_refusal_but_for_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_backbone("test_resnet")
    assert probe_sizes(network) == ((32, 32), (32, 240))
    for error, refusal in [(KeyError("x"), InputError), (MemoryError(), MemoryError)]:
        monkeypatch.setattr(network, "forward", partial(_raise, error))
        with pytest.raises(refusal):
            try_size(network, (32, 32))


def _raise(error: Exception, _images: object) -> None:
    raise error


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit"])
def test_depths_count_the_layers_above(name: str) -> None:
    backbone = build_backbone(name, "none", kind_of(name).strides[-1])
    depths = backbone.depths()
    names = [name for name, _ in backbone.named_parameters()]
    assert len(depths) == len(names) and depths[-1] == min(depths) == 0 and depths[0] == max(depths)
    layers: dict[str, set[int]] = {}
    for parameter, depth in zip(names, depths, strict=True):
        if ".blocks." in parameter:
            block = parameter.split(".blocks.")[0] + parameter.split(".blocks.")[1].split(".")[0]
            layers.setdefault(block, set()).add(depth)
    assert all(len(found) == 1 for found in layers.values())  # a block is one layer
    assert len({min(found) for found in layers.values()}) == len(layers)


def test_a_network_that_miscounts_its_cells_sees_whole_cells_only() -> None:
    """vit_tiny_r_s16_p8_224 returns 288 channels of 192 for 65 x 64 pixels, unless they are padded."""
    network = build_backbone("vit_tiny_r_s16_p8_224", "none", 32).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 97, 130))[-1].shape == (1, 192, 4, 5)
