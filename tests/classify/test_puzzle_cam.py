"""Tiles put together are the image again, and Puzzle-CAM's terms are those of its formulas."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from deft.backbone import build_backbone
from deft.classify.classifier import ClassifierNetwork
from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.classify.puzzle_cam import PuzzleHead, cut, together
from deft.contracts import InputError
from deft.engine.head import Head
from deft.seeds.cam import Cam
from fakes import classifier, noise, rng
from references import alike_in_parts, learns

LABELS = torch.tensor([[1.0, 0, 1.0], [0, 1.0, 0]])


def test_tiles_are_quarters_in_reading_order_and_fit_together() -> None:
    images = torch.randn(2, 3, 8, 12, generator=rng(1))
    tiles = cut(images, 2, (4, 6))
    assert tiles.shape == (8, 3, 4, 6)
    for n in range(2):
        corners = [images[n, :, top : top + 4, left : left + 6] for top in (0, 4) for left in (0, 6)]
        assert torch.equal(tiles[4 * n : 4 * n + 4], torch.stack(corners))
    assert torch.equal(together(tiles, 2), images)


@pytest.mark.parametrize(
    ("side", "cells", "tiles"), [((96, 96), (6, 6), 4), ((65, 33), (5, 3), 2), ((32, 32), (1, 1), 3)]
)
def test_tiles_of_whole_cells_cover_an_image_that_they_do_not_divide(
    side: tuple[int, int], cells: tuple[int, int], tiles: int
) -> None:
    images = torch.randn(1, 3, *side, generator=rng(1))
    parts = cut(images, tiles, cells)
    again = together(parts, tiles)
    assert torch.equal(again[..., : side[0], : side[1]], images)
    assert not again[..., side[0] :, :].any() and not again[..., side[1] :].any()
    for own, whole, count in zip(parts.shape[-2:], side, cells, strict=True):
        assert own % round(whole / count) == 0


def test_terms_against_the_formulas() -> None:
    torch.manual_seed(0)
    head = PuzzleHead().build(5, 3)
    images, features = torch.randn(2, 3, 64, 64, generator=rng(1)), torch.randn(2, 5, 4, 4, generator=rng(2))
    tiles = torch.randn(8, 5, 2, 2, generator=rng(3))
    for epoch, factor in ((1, 1 / 8), (6, 6 / 8), (12, 1.0)):
        terms = head.loss_of_views([images, features], lambda _: [tiles], LABELS, epoch, rng())
        weight = head.base.classifier.weight[:, :, 0, 0]
        difference = 0.0
        for n in range(2):
            for y in range(4):
                for x in range(4):
                    own = weight @ features[n, :, y, x]
                    other = weight @ tiles[4 * n + 2 * (y // 2) + x // 2, :, y % 2, x % 2]
                    difference += float(((own - other).abs() * LABELS[n]).sum().detach())
        assert float(terms["reconstruct"].detach()) == pytest.approx(4 * factor * difference / (2 * 3 * 16), rel=1e-5)
        merged = head.base.loss(together(tiles, 2), LABELS, epoch, rng())["classify"]
        torch.testing.assert_close(terms["puzzle_classify"], merged)
        torch.testing.assert_close(terms["classify"], head.base.loss(features, LABELS, epoch, rng())["classify"])
    alone = PuzzleHead(weight=0.0).build(5, 3)
    assert alone.loss_of_views([images, features], lambda _: [tiles], LABELS, 1, rng()).keys() == {
        "classify",
        "puzzle_classify",
    }


def test_the_difference_trains_the_whole_and_the_tiles() -> None:
    torch.manual_seed(0)
    head = PuzzleHead().build(5, 3)
    images = torch.randn(2, 3, 64, 64, generator=rng(1))
    features = torch.randn(2, 5, 4, 4, generator=rng(2)).requires_grad_(True)
    tiles = torch.randn(8, 5, 2, 2, generator=rng(3)).requires_grad_(True)
    (weight,) = head.parameters()
    term = head.loss_of_views([images, features], lambda _: [tiles], LABELS, 8, rng())["reconstruct"]
    found = torch.autograd.grad(term, (features, tiles, weight))
    of_features, of_tiles, of_weight = (torch.zeros_like(one) for one in found)
    rows = weight.detach()[:, :, 0, 0]
    for n, k, y, x in product(range(2), range(3), range(4), range(4)):
        place, inside = (n, slice(None), y, x), (4 * n + 2 * (y // 2) + x // 2, slice(None), y % 2, x % 2)
        apart = features[place].detach() - tiles[inside].detach()
        slope = 4 / (2 * 3 * 16) * LABELS[n, k] * (rows[k] @ apart).sign()
        of_features[place] += slope * rows[k]
        of_tiles[inside] -= slope * rows[k]
        of_weight[k, :, 0, 0] += slope * apart
    for one, expected in zip(found, (of_features, of_tiles, of_weight), strict=True):
        torch.testing.assert_close(one, expected)


def test_a_network_that_sees_one_cell_at_a_time_finds_no_difference() -> None:
    torch.manual_seed(0)
    head, conv = PuzzleHead().build(5, 3), torch.nn.Conv2d(3, 5, 16, 16)
    images = torch.randn(2, 3, 64, 64, generator=rng(1))

    def look(x: Tensor) -> list[Tensor]:
        return [x, conv(x)]

    terms = head.loss_of_views(look(images), look, LABELS, 9, rng())
    assert float(terms["reconstruct"].detach()) == pytest.approx(0.0, abs=1e-5)
    torch.testing.assert_close(terms["classify"], terms["puzzle_classify"])


@pytest.mark.parametrize("base", [LinearHead(), DeftHead(maps=4, swap_epoch=1, warm_start=False)])
def test_a_classifier_with_it_learns_alike_in_parts(base: Head) -> None:
    torch.manual_seed(0)
    backbone = build_backbone("test_resnet", "none", 16)
    own = ClassifierNetwork(backbone, PuzzleHead(base=base).build(backbone.channels[-1], 3))
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=rng(5))
    batch = {"image": image, "labels": LABELS}
    alike_in_parts(own, batch, 2)
    learns(own, batch, 0.001)


def test_maps_are_those_of_the_base() -> None:
    own = classifier(PuzzleHead(base=DeftHead(maps=4)))
    image = noise(33, 40)
    with torch.no_grad():
        features = own.backbone(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])[-1]
    for name in ("logits", "cell_scores", "activation"):
        assert torch.equal(getattr(own.head, name)(features), getattr(own.head.base, name)(features))
    assert Cam(scales=(1.0,))(own, image, LABELS[0].bool().numpy()).classes == (0, 2)


def test_settings_that_cannot_be_used_are_refused() -> None:
    for settings, said in (({"tiles": 1}, "PuzzleHead.tiles"), ({"ramp_epochs": 0}, "PuzzleHead.ramp_epochs")):
        with pytest.raises(InputError, match=said):
            PuzzleHead(**settings)
