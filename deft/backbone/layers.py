"""Layers of a network for a learning rate that falls with depth, and parameters that weight decay spares.

A layer is a block of a stage, whatever it consists of; what comes before the first block is one layer, and what changes
the resolution between stages is another. Networks of more blocks have them in groups, as ConvNeXt does (Liu et al.,
2022, arXiv:2201.03545, 12 groups for 36 blocks): else a factor for each layer would stop the first ones. A ViT of 12
blocks has the layers of BEiT (Bao et al., 2021, arXiv:2106.08254). The groups are of equal numbers of layers, whatever
the stage; ConvNeXt's are of three blocks. Both, like the recipes of most transformers, let weight decay act on matrices
and kernels only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST = 12
"""Most layers above the first."""
_STAGE = re.compile(r"(\w*(stages?|layers?|levels?|blocks?)|features|s|b)_?\d*")
_TABLES = ("pos_embed", "cls_token", "reg_token", "dist_token", "relative_position_bias_table", "mask_token")


def depths_of(names: Sequence[str]) -> tuple[int, ...]:
    """How many layers lie above the layer of each parameter; 0 for the last, at most :data:`MOST`.

    Args:
        names: of the parameters, in the order in which they are used.
    """
    layers: dict[str, int] = {}
    found, last = [], ""
    for name in names:
        last = block_of(name) or last  # what is in no block belongs to the one before, or to the stem
        found.append(layers.setdefault(last, len(layers)))
    above = len(layers) - 1
    return tuple((above - place) * MOST // above if above > MOST else above - place for place in found)


def block_of(name: str) -> str:
    """The part of a parameter's name that names its block; empty outside of blocks.

    >>> block_of("net.stages_1.blocks.2.mlp.fc1.bias"), block_of("net.s1.b2.conv1.bn.weight")
    ('net.stages_1.blocks.2', 'net.s1.b2')
    >>> block_of("net.layer1.0.downsample.1.weight"), block_of("net.stages_1.downsample.0.weight")
    ('net.layer1.0', 'net.stages_1.downsample')
    """
    parts = name.split(".")[:-1]
    place = next((place for place, part in enumerate(parts) if _STAGE.fullmatch(part)), None)
    if place is None:
        return ""
    end, numbers = place + 1, int(parts[place][-1].isdecimal())
    while end < len(parts) and numbers < 2:  # those of a stage and of a block in it
        if parts[end].isdecimal():
            numbers += 1
        elif parts[end] == "downsample":
            numbers = 2
        elif _STAGE.fullmatch(parts[end]):
            numbers += parts[end][-1].isdecimal()
        else:
            break
        end += 1
    return ".".join(parts[:end])


def is_spared(name: str, axes: int) -> bool:
    """Whether weight decay spares a parameter: biases, scales of norms and layers, tables of positions, tokens.

    Args:
        name: of the parameter.
        axes: how many it has.
    """
    return axes <= 1 or name.endswith(".bias") or any(part in name for part in _TABLES)
