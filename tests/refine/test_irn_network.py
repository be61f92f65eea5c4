from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deft.refine.irn_network import IrnNetwork
from fakes import Pyramid


@pytest.mark.parametrize("size", [(64, 64), (61, 83), (50, 33), (17, 100), (5, 7), (1, 1)])
@pytest.mark.parametrize(
    ("channels", "reductions"),
    [
        ((4, 6, 8, 8, 8), (2, 4, 8, 16, 16)),
        ((4, 6, 8, 8), (4, 8, 16, 32)),
        ((2, 4, 4, 6, 8, 8), (1, 2, 4, 8, 16, 32)),
        ((4, 8), (8, 16)),
        ((8, 8, 8), (16, 16, 16)),
    ],
)
def test_outputs_are_on_the_stride_4_grid(
    size: tuple[int, int], channels: tuple[int, ...], reductions: tuple[int, ...]
) -> None:
    network = IrnNetwork(Pyramid(channels, reductions)).eval()
    grid = ((size[0] - 1) // 4 + 1, (size[1] - 1) // 4 + 1)
    edge, displacement = network.edge_and_displacement(torch.randint(256, (2, 3, *size), dtype=torch.uint8))
    assert edge.shape == (2, *grid) and displacement.shape == (2, 2, *grid)
    assert edge.min() >= 0 and edge.max() <= 1 and displacement.isfinite().all()


class SamePyramid(nn.Module):
    """Averages of 3 x 3 cells, padded as in TensorFlow: depending on the input size, right and bottom side first."""

    channels, reductions = (1, 1, 1, 1), (2, 4, 8, 16)

    def __init__(self) -> None:
        super().__init__()
        self.dummy = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> list[Tensor]:
        x, maps = images.float().mean(dim=1, keepdim=True), []
        for _ in self.reductions:
            pads = [max(0, 2 * ((side - 1) // 2) + 3 - side) for side in x.shape[-2:]]
            top, left = pads[0] // 2, pads[1] // 2
            x = nn.functional.avg_pool2d(nn.functional.pad(x, (left, pads[1] - left, top, pads[0] - top)), 3, 2)
            maps.append(x)
        return maps


@pytest.mark.parametrize("size", [(160, 160), (161, 129), (150, 143)])
def test_cells_are_centred_on_their_pixels_whatever_the_padding(size: tuple[int, int]) -> None:
    backbone = SamePyramid()
    network = IrnNetwork(backbone)
    seen: list[list[Tensor]] = []
    backbone.register_forward_hook(lambda module, inputs, output: seen.append(output))
    network(torch.arange(size[1]).float().expand(1, 3, *size))
    for one, reduction in zip(seen[0], backbone.reductions, strict=True):
        row = one[0, 0, one.shape[-2] // 2]
        cells = torch.arange(2, (size[1] - 1) // reduction - 2)
        torch.testing.assert_close(row[cells], (cells * reduction).float())


def test_a_mirrored_image_has_mirrored_boundaries() -> None:
    network = IrnNetwork(Pyramid()).eval()
    image = torch.randint(256, (1, 3, 33, 65), dtype=torch.uint8)
    one, other = (network.edge_and_displacement(view)[0] for view in (image, image.flip(-1)))
    torch.testing.assert_close(one, other.flip(-1))


def test_layer_shapes_are_those_of_the_paper() -> None:
    network = IrnNetwork(Pyramid((64, 256, 512, 1024, 2048), (2, 4, 8, 16, 16)))
    counts = {name: sum(p.numel() for p in branch.parameters()) for name, branch in network.named_children()}
    edge = 32 * (64 + 256 + 512 + 1024 + 2048) + 5 * 2 * 32 + 160 + 1
    widths = (64, 128, 256, 256, 256)
    reduce = sum(c * w + 2 * w for c, w in zip((64, 256, 512, 1024, 2048), widths, strict=True))
    assert counts["edge"] == edge
    assert counts["displacement"] == reduce + (768 * 256 + 512) + (448 * 256 + 512) + 512


def test_training_lowers_the_loss_and_leaves_the_backbone_alone() -> None:
    backbone = Pyramid()
    network = IrnNetwork(backbone, radius=4).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    image = torch.full((2, 3, 33, 33), 60, dtype=torch.uint8)
    mask = torch.zeros(2, 33, 33, dtype=torch.int64)
    image[:, :, 8:24, 8:24], mask[:, 8:24, 8:24] = 200, 1
    mask[:, :, 28:] = 255
    optimiser = torch.optim.Adam([p for group in network.groups() for p in group.params], lr=0.01)
    losses = []
    for _ in range(20):
        terms = network.terms({"image": image, "mask": mask}, 1, torch.Generator())
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert not backbone.training and not any(p.requires_grad for p in backbone.parameters())
    for name, value in backbone.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_every_trained_parameter_is_in_a_group_once() -> None:
    network = IrnNetwork(Pyramid(), edge_lr=1, displacement_lr=10)
    groups = network.groups()
    listed = [id(p) for group in groups for p in group.params]
    assert sorted(listed) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    assert [group.lr for group in groups] == [1, 10]


def test_boundaries_of_the_mirror_image_are_mirrored() -> None:
    network = IrnNetwork(Pyramid()).eval()
    images = torch.randint(256, (1, 3, 49, 65), dtype=torch.uint8)
    upright, _ = network.edge_and_displacement(images)
    mirrored, _ = network.edge_and_displacement(images.flip(-1))
    torch.testing.assert_close(mirrored.flip(-1), upright, rtol=1e-4, atol=1e-5)


def test_mean_shift_takes_off_the_mean_displacement() -> None:
    network = IrnNetwork(Pyramid()).eval()
    images = [torch.randint(256, (3, 40, 52), dtype=torch.uint8) for _ in range(3)]
    network.calibrate(images)
    left = torch.stack([network.edge_and_displacement(image[None])[1].mean((0, 2, 3)) for image in images]).mean(0)
    torch.testing.assert_close(left, torch.zeros(2), atol=1e-5, rtol=0)
    assert network.mean_shift.any()
    assert "mean_shift" in network.state_dict()


def test_gradients_do_not_depend_on_parts() -> None:
    images = torch.randint(256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    masks = torch.zeros(3, 32, 32, dtype=torch.int64)
    masks[:, 8:24, 8:24] = torch.tensor([1, 2, 255]).view(3, 1, 1)
    gradients = []
    for parts in (1, 2, 3):
        torch.manual_seed(1)
        network = IrnNetwork(Pyramid(), radius=4).train()
        network.parts = parts
        sum(network.terms({"image": images, "mask": masks}, 1, torch.Generator()).values(), torch.zeros(())).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
    assert torch.allclose(gradients[0], gradients[2], rtol=1e-4, atol=1e-6)
