"""AffinityNet: features whose distance is the affinity of two cells (PSA, Ahn and Kwak, 2018, arXiv:1803.10464).

Three 1x1 convolutions on the last three feature maps of the classifier's backbone, fused by a fourth; the backbone is
trained with them, except its first stages and all batch norms. Differs from the authors' code in the backbone: theirs
is a wide ResNet-38, which timm does not have; here any backbone can be used. No new convolution has a bias, here as in
their code, so that their learning rate for new biases has no effect. They freeze the first seven convolutions; here all
stages up to stride 4 are frozen.

Grid: h = ceil(H / stride), likewise w; cell i covers pixels ``i * stride`` to ``(i + 1) * stride - 1``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.backbone import Backbone
from deft.engine.optimise import ParamGroup
from deft.engine.parts import in_parts
from deft.engine.precision import EXACT, autocast
from deft.refine.neighborhood import directions
from deft.refine.psa_loss import affinity, affinity_losses, cell_labels

WIDTHS = (64, 128, 256)
"""Channels of the branches for the last three maps, shallow to deep."""
FREEZE_STRIDE = 4
BIAS_LR = 2.0
NEW_LR = 10.0
"""Factors on the base learning rate for biases of the backbone and for new convolutions."""


class AffinityNetwork(nn.Module):
    """Backbone and branches; a :class:`deft.engine.plan.Trainee`.

    Args:
        backbone: a trained backbone, owned by this network; which of its parameters are frozen is set here.
        radius: maximum distance of the pairs of cells, in cells (exclusive).
    """

    parts: int = 1
    """Number of parts in which a batch is computed, see :mod:`deft.engine.parts`."""

    def __init__(self, backbone: Backbone, *, radius: int = 5) -> None:
        super().__init__()
        self.backbone, self.radius = backbone, radius
        backbone.freeze(until=backbone.stage_of_stride(FREEZE_STRIDE), batch_norm=True)
        for module in backbone.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.requires_grad_(False)
        channels = backbone.channels[-len(WIDTHS) :]
        widths = WIDTHS[-len(channels) :]
        branches = [nn.Conv2d(count, width, 1, bias=False) for count, width in zip(channels, widths, strict=True)]
        for branch in branches:
            nn.init.kaiming_normal_(branch.weight)
        self.reduce = nn.ModuleList(branches)
        self.join = nn.Conv2d(sum(widths), sum(widths), 1, bias=False)
        nn.init.xavier_uniform_(self.join.weight, gain=4)

    def forward(self, images: Tensor) -> Tensor:
        """Features of the cells.

        Args:
            images: uint8 or float 0..255, (N, 3, H, W), any size.

        Returns:
            float32 (N, C, h, w), where C is the sum of the branches' widths.
        """
        stride = self.backbone.stride
        height, width = (-(-side // stride) for side in images.shape[-2:])
        x = self.backbone.normalise(images)
        x = F.pad(x, (0, width * stride - x.shape[-1], 0, height * stride - x.shape[-2]))
        maps = self.backbone.features(x)
        grid = maps[-1].shape[-2:]
        reduced = [
            F.elu(layer(_on_grid(one, grid))) for layer, one in zip(self.reduce, maps[-len(self.reduce) :], strict=True)
        ]
        joined: Tensor = F.elu(self.join(torch.cat(reduced, dim=1)))
        return joined.float()[..., :height, :width]

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Weighted loss terms of ``image`` uint8 (N, 3, H, W) and ``mask`` int64 (N, H, W), 255 unlabelled.

        H and W are multiples of the stride.
        """
        features = in_parts(self, batch["image"], self.parts)
        return affinity_losses(features, cell_labels(batch["mask"], self.backbone.stride), self.radius)

    def groups(self) -> list[ParamGroup]:
        """Parameters: weights and biases of the backbone, and the new convolutions; biases have no weight decay."""
        network = self.backbone
        every = zip(network.named_parameters(), network.depths(), network.undecayed(), strict=True)
        trained = [
            (name.endswith("bias"), value, depth, spared)
            for (name, value), depth, spared in every
            if value.requires_grad
        ]

        def group(bias: bool, lr: float) -> ParamGroup:
            own = [(value, depth, spared) for is_bias, value, depth, spared in trained if is_bias == bias]
            depths, spared = tuple(depth for _, depth, _ in own), tuple(each for _, _, each in own)
            return ParamGroup([value for value, _, _ in own], lr, not bias, depths, spared)

        new = ParamGroup([*self.reduce.parameters(), *self.join.parameters()], NEW_LR)
        return [group(False, 1.0), group(True, BIAS_LR), new]

    @torch.no_grad()
    def affinities(self, image: Tensor, precision: str = EXACT) -> list[Tensor]:
        """Affinity of every pair of cells of an image, in the form used by :func:`deft.refine.random_walk.random_walk`.

        Args:
            image: uint8 or float 0..255, (3, H, W).
            precision: numerical precision of the features; their distances are computed in float32.

        Returns:
            One map (h - down, w - |right|) in [0, 1] for each of ``directions(radius)``.
        """
        with autocast(precision, image.device):
            features = self(image[None].contiguous(memory_format=torch.channels_last))
        return [affinity(features, direction)[0] for direction in directions(self.radius)]


def _on_grid(features: Tensor, grid: torch.Size) -> Tensor:
    """Features (N, C, ., .) resized to the grid of the deepest map; some backbones have finer maps before it."""
    if features.shape[-2:] == grid:
        return features
    return F.interpolate(features, size=tuple(grid), mode="bilinear", align_corners=False)
