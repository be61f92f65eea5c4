"""Layers of networks for a decay of the learning rate, and what weight decay spares."""

from __future__ import annotations

import pytest
import torch

from deft.backbone.layers import MOST, block_of, depths_of, is_spared
from deft.backbone.network import created


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("net.stages_1.blocks.2.mlp.fc1.bias", "net.stages_1.blocks.2"),
        ("net.stages_1.downsample.0.weight", "net.stages_1.downsample"),
        ("net.layers_0.blocks.1.attn.relative_position_bias_table", "net.layers_0.blocks.1"),
        ("net.layer1.0.downsample.1.weight", "net.layer1.0"),
        ("net.blocks.3.2.conv_pw.weight", "net.blocks.3.2"),
        ("net.s1.b2.se.fc1.weight", "net.s1.b2"),
        ("net.model.blocks.11.attn.qkv.weight", "net.model.blocks.11"),
        ("net.model.pos_embed", ""),
        ("net.stem_1.weight", ""),
        ("net.bn1.weight", ""),
    ],
)
def test_the_block_of_a_parameter(name: str, block: str) -> None:
    assert block_of(name) == block


def test_depths_are_blocks_above_or_groups_of_them() -> None:
    few = ["stem.weight", "stem.bias", *(f"blocks.{block}.{part}" for block in range(12) for part in ("a.w", "b.w"))]
    assert depths_of([*few, "norm.weight"]) == (12, 12, *(11 - block for block in range(12) for _ in "ab"), 0)
    many = depths_of([f"stages.{stage}.blocks.{block}.w.w" for stage in range(4) for block in range(9)])
    assert many[0] == MOST and many[-1] == 0 and list(many) == sorted(many, reverse=True)
    assert max(many.count(depth) for depth in range(1, MOST)) == 3  # three blocks to a group, as of ConvNeXt
    assert depths_of(["only.weight", "only.bias"]) == (0, 0)


@pytest.mark.parametrize(
    "name",
    ["rdnet_tiny", "regnety_040_sgn", "convnext_base", "mambaout_base", "vit_base_patch16_dinov3", "densenet121"],
)
def test_no_layer_of_any_network_is_frozen_by_the_decay(name: str) -> None:
    with torch.device("meta"):
        network = created(name, 32, None, {})
    depths = network.depths()
    assert 0.8 ** max(depths) > 0.06 and depths[0] == max(depths) == MOST and set(depths) == set(range(MOST + 1))
    blocks: dict[str, set[int]] = {}
    for (parameter, _), depth in zip(network.named_parameters(), depths, strict=True):
        blocks.setdefault(block_of(parameter), set()).add(depth)
    assert all(len(found) == 1 for block, found in blocks.items() if block)


def test_weight_decay_spares_what_published_recipes_spare() -> None:
    for name in ("vit_small_patch16_dinov3", "swin_tiny_patch4_window7_224", "convnext_atto"):
        with torch.device("meta"):
            network = created(name, 32, None, {})
        decayed = {
            parameter
            for (parameter, _), spared in zip(network.named_parameters(), network.undecayed(), strict=True)
            if not spared
        }
        assert decayed
        assert all(parameter.endswith(".weight") and "norm" not in parameter for parameter in decayed), decayed
    assert is_spared("net.model.pos_embed", 3) and not is_spared("net.model.blocks.0.attn.qkv.weight", 2)
