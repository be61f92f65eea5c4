"""SIPE's seeds and prototypes are those of its formulas, cell by cell, and padding has no part in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deft.backbone import build_backbone
from deft.classify import sipe
from deft.classify.classifier import ClassifierNetwork, load_classifier, save_classifier
from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead, LinearModule
from deft.classify.sipe import SideFeatures, SipeHead, SipeModule, inside, prototype_maps, seeds_of
from deft.classify.sma import SmaHead
from deft.contracts import InputError
from deft.engine.head import Head, normalise
from deft.seedmaps import grid
from deft.seeds.cam import Cam
from deft.seeds.views import on_grid, pixels, resize
from fakes import noise, rng
from references import learns

CHANNELS = (8, 12, 16, 20, 30)


def maps(count: int = 3) -> list[Tensor]:
    generator = rng(1)
    sides = (32, 16, 8, 4, 4)
    return [torch.randn(count, c, side, side, generator=generator) for c, side in zip(CHANNELS, sides, strict=True)]


def labels() -> Tensor:
    return torch.tensor([[1.0, 0, 1.0], [0, 1.0, 0], [1.0, 1.0, 1.0]])


def slow_seeds(features: Tensor, planes: Tensor, tags: Tensor, background: float) -> Tensor:
    """One image, one cell and one map at a time."""
    n, _, h, w = features.shape
    chosen = torch.zeros(n, planes.shape[1], h * w)
    for image in range(n):
        z = features[image].flatten(1)
        for i in range(h * w):
            affinity = [max(0.0, float(F.cosine_similarity(z[:, i], z[:, j], dim=0))) for j in range(h * w)]
            best, place = -1.0, 0
            for k in range(planes.shape[1]):
                if k and not tags[image, k - 1]:
                    continue
                m = planes[image, k].flatten().tolist()
                common = sum(a * b for a, b in zip(affinity, m, strict=True))
                score = common / (sum(affinity) + sum(m) - common + 1e-5) * (background if k == 0 else 1)
                if score > best:
                    best, place = score, k
            chosen[image, place, i] = 1
    return chosen.view_as(planes)


def test_seeds_against_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = rng(2)
    features = torch.randn(3, 5, 4, 3, generator=generator)
    planes = torch.rand(3, 4, 4, 3, generator=generator)
    expected = slow_seeds(features, planes, labels(), 0.5)
    assert len(expected.sum((0, 2, 3)).nonzero()) > 2
    for block in (2**22, 72, 1):  # all cells, two, one at a time
        monkeypatch.setattr(sipe, "BLOCK", block)
        assert torch.equal(seeds_of(features, planes, labels(), 0.5), expected)
    assert torch.equal(seeds_of(features * 7, planes, labels(), 0.5), expected)  # only angles count


def slow_prototype_maps(features: Tensor, seeds: Tensor) -> Tensor:
    """One image, one seed and one cell at a time."""
    rows = []
    for z, chosen in zip(features, seeds, strict=True):
        for seed in chosen:
            cells = z[:, seed > 0]
            if cells.shape[1] == 0:
                rows += [z.new_zeros(())] * seed.numel()
                continue
            mean = sum(cells.unbind(1)) / cells.shape[1]
            rows += [F.cosine_similarity(cell, mean, dim=0).relu() for cell in z.flatten(1).unbind(1)]
    return torch.stack(rows).view_as(seeds)


def test_prototypes_against_a_loop() -> None:
    """In values, and in gradients, which reach both the cells that are compared and those of the seed."""
    generator = rng(3)
    features = torch.randn(2, 5, 3, 4, generator=generator, requires_grad=True)
    seeds = F.one_hot(torch.randint(0, 3, (2, 3, 4), generator=generator), 4).permute(0, 3, 1, 2).float()
    found, expected = prototype_maps(features, seeds), slow_prototype_maps(features, seeds)
    assert not found[:, 3].any() and bool(found[:, :3].any())
    torch.testing.assert_close(found, expected)
    weights = torch.randn(found.shape, generator=generator)
    slopes = [torch.autograd.grad((maps * weights).sum(), features)[0] for maps in (found, expected)]
    torch.testing.assert_close(*slopes)


def test_side_features_have_unit_length_and_train_nothing_behind_them() -> None:
    given = [one.requires_grad_(True) for one in maps()]
    sides = SideFeatures(CHANNELS, (2, 3, 4, 5), centred=True)
    found = sides(given)
    assert found.shape == (3, 14, 4, 4)
    torch.testing.assert_close(found[:, -5:].norm(dim=1), torch.ones(3, 4, 4))
    found.sum().backward()
    assert all(one.grad is None for one in given)
    assert SideFeatures((7,), (2, 3), centred=False)([torch.randn(1, 7, 2, 2)]).shape == (1, 3, 2, 2)


@torch.no_grad()
def test_what_all_cells_of_an_image_share_is_not_in_its_centred_side_features() -> None:
    """Features with a mean far from 0 have cosines near 1 everywhere, so that no cell differs from a prototype."""
    given = maps()
    shifted = [one + 100 * torch.randn(3, one.shape[1], 1, 1, generator=rng(8)) for one in given]
    centred = SideFeatures(CHANNELS, (2, 3, 4, 5), centred=True)
    torch.testing.assert_close(centred(shifted), centred(given), atol=1e-3, rtol=0)
    published = SideFeatures(CHANNELS, (2, 3, 4, 5), centred=False)
    seeds = torch.zeros(3, 1, 4, 4)
    seeds[:, :, :2] = 1
    assert float(prototype_maps(published(shifted), seeds).amin()) > 0.95
    assert float(prototype_maps(centred(shifted), seeds).amin()) == 0


def test_padding_is_not_in_the_mean() -> None:
    images = torch.ones(3, 3, 64, 64)
    images[..., 32:] = 0
    given = maps()
    changed = [one.clone() for one in given]
    for one in changed:
        one[..., one.shape[-1] // 2 :] = 50
    sides = SideFeatures(CHANNELS, (2, 3, 4, 5), centred=True)
    torch.testing.assert_close(sides(changed, images)[..., 0], sides(given, images)[..., 0])
    half = [one[..., : one.shape[-1] // 2] for one in given]
    torch.testing.assert_close(sides(given, images)[..., 0], sides(half)[..., 0])


def module(head: SipeHead | None = None) -> SipeModule:
    torch.manual_seed(0)
    return (head or SipeHead(widths=(4, 4, 6, 6))).build_on(CHANNELS, 3)


def test_side_features_learn_at_a_rate_of_their_own() -> None:
    for rate in (10.0, 3.0):
        own = module(SipeHead(widths=(4, 4, 6, 6), learning_rate=rate))
        *base, (parameters, multiple) = own.groups()
        assert base == own.base.groups() and multiple == rate
        assert [id(p) for p in parameters] == [id(p) for p in own.sides.parameters()]
    assert SipeHead().learning_rate == 10


@pytest.mark.parametrize("centred", [True, False])
def test_the_loss_against_the_formulas(centred: bool) -> None:
    head = SipeHead(widths=(4, 4, 6, 6), centred=centred)
    own, given, tags = module(head), maps(), labels()
    given[-1].requires_grad_(True)
    images = torch.randn(3, 3, 64, 64, generator=rng(4)) + 1
    terms = own.loss_of_maps([images, *given], tags, 1, rng())
    cam = F.relu(F.conv2d(given[-1], own.base.classifier.weight)) * tags[:, :, None, None]
    cam = cam / (cam.amax((2, 3), keepdim=True) + 1e-5)
    planes = torch.cat([1 - cam.amax(1, keepdim=True), cam], 1)
    deep = given[-1] - given[-1].mean((2, 3), keepdim=True) if centred else given[-1]
    seeds = slow_seeds(deep.detach(), planes.detach(), tags, 0.5)
    found = slow_prototype_maps(own.sides(given), seeds)
    found = found / (found.amax((2, 3), keepdim=True) + 1e-5)
    expected = (planes - found).abs().mean()
    torch.testing.assert_close(terms["consistency"], expected)
    trained = [given[-1], *own.parameters()]  # it teaches the features, the classifier and the side features
    slopes = [torch.autograd.grad(term, trained, retain_graph=True) for term in (terms["consistency"], expected)]
    torch.testing.assert_close(*slopes)
    assert all(bool(slope.any()) for slope in slopes[0])
    torch.testing.assert_close(terms["classify"], own.base.loss(given[-1], tags, 1, rng())["classify"])
    assert module(SipeHead(weight=0.0)).loss_of_maps([images, *given], tags, 1, rng()).keys() == {"classify"}


def test_padding_has_no_part_in_it() -> None:
    """What a network makes of the padding neither becomes a seed nor is compared."""
    own, given = module(), maps()
    images = torch.randn(3, 3, 64, 64, generator=rng(4)) + 1
    images[:, :, :, 32:] = 0.005
    losses = []
    for junk in (1.0, -3.0):
        changed = [one.clone() for one in given]
        for one in changed:
            one[..., one.shape[-1] // 2 :] = junk
        losses.append(own.loss_of_maps([images, *changed], labels(), 1, rng())["consistency"].item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def network(head: SipeHead) -> ClassifierNetwork:
    """A small classifier of random weights whose class maps are positive somewhere."""
    torch.manual_seed(0)
    backbone = build_backbone("test_resnet", "none", 16)
    module = head.build_on(backbone.channels, 3)
    if isinstance(module.base, LinearModule):
        with torch.no_grad():
            module.base.classifier.weight.abs_()
    return ClassifierNetwork(backbone, module)


@pytest.mark.parametrize("base", [LinearHead(), DeftHead(maps=4, swap_epoch=1, warm_start=False)])
def test_a_classifier_with_it_learns(base: Head) -> None:
    own = network(SipeHead(base=base))
    image = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=rng(5))
    assert "consistency" in learns(own, {"image": image, "labels": labels()}, 0.003)
    sides = own.head.sides.convs[0].weight
    assert sides.grad is not None and bool(sides.grad.any())


def test_plain_cam_reads_the_prototypes() -> None:
    own = network(SipeHead()).eval()
    image, tags = noise(49, 65), np.array([True, False, True])
    seeds = Cam(scales=(0.5, 1.0))(own, image, tags)
    assert seeds.classes == (0, 2) and seeds.maps.shape == (2, *grid((49, 65)))
    total = torch.zeros(3, *grid((49, 65)))
    with torch.no_grad():
        for scale in (0.5, 1.0):
            view = resize(pixels(image, torch.device("cpu")), scale, 16, 1)
            for mirrored in (False, True):
                seen = own.backbone.normalise(view.flip(-1) if mirrored else view)
                every = [seen, *own.backbone.features(seen)]
                found = own.head.activation_of_maps(every, torch.from_numpy(tags))[0, 0]
                total += on_grid(found.flip(-1) if mirrored else found, view.shape[-2:], (49, 65), 1)
    assert not total[1].any()
    torch.testing.assert_close(seeds.maps, normalise(total)[[0, 2]], atol=1e-4, rtol=0)
    found = Cam(scales=(0.5, 1.0), present=sorted(seeds.scores)[1])(own, image)
    assert found.classes == (int(np.argmax(seeds.scores)),)
    expected = Cam(scales=(0.5, 1.0))(own, image, np.arange(3) == found.classes[0])
    torch.testing.assert_close(found.maps, expected.maps, atol=1e-5, rtol=0)


def test_a_tag_without_a_seed_keeps_its_class_map(monkeypatch: pytest.MonkeyPatch) -> None:
    own = network(SipeHead()).eval()
    seen = own.backbone.normalise(torch.randint(0, 256, (2, 3, 65, 65), dtype=torch.uint8, generator=rng(6)))
    every = [seen, *own.backbone.features(seen)]
    present = torch.tensor([True, False, True])
    sides = own.head.sides(every[1:])
    planes = own.head.planes(every[-1], present.float().expand(2, -1), torch.ones(()), sides.shape[-2:])
    for empty in (1, 3):  # as planes count: background, and the three classes
        seeds = torch.zeros_like(planes)
        seeds[:, 4 - empty] = 1  # all cells for the other tag
        monkeypatch.setattr(sipe, "seeds_of", lambda *_, seeds=seeds: seeds)
        found = own.head.activation_of_maps(every, present)[:, 0]
        torch.testing.assert_close(found[:, empty - 1], planes[:, empty])
        torch.testing.assert_close(found[:, 3 - empty], prototype_maps(sides, seeds)[:, 4 - empty])
        assert not found[:, 1].any()


def test_it_is_stored_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    own = network(SipeHead(base=DeftHead(maps=4))).eval()
    save_classifier(path, own, ("a", "b", "c"), "key")
    again = load_classifier(path, SipeHead(base=DeftHead(maps=4)))
    image, tags = noise(33, 40), np.array([True, True, False])
    assert torch.equal(Cam(scales=(1.0,))(own, image, tags).maps, Cam(scales=(1.0,))(again, image, tags).maps)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"widths": ()}, "SipeHead.widths"),
        ({"weight": -1.0}, "SipeHead.weight"),
        ({"background": 0.0}, "SipeHead.background"),
        ({"base": SmaHead()}, "classifier.head.base to be a head of the last feature map"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        SipeHead(**settings)  # type: ignore[arg-type]


def test_padding_is_what_lies_around_the_image_and_not_a_patch_of_its_colour() -> None:
    images = torch.zeros(2, 3, 64, 48)
    images[0, 1, 16:64, 8:32] = -1
    images[0, :, 28:44, 8:32] = 0  # rows of the image that have the colour of padding in all of it
    images[1] = 0.5
    expected = torch.zeros(2, 1, 8, 6)
    expected[0, :, 2:, 1:4] = 1
    expected[1] = 1
    assert torch.equal(inside(images, (8, 6)), expected)
    assert torch.equal(inside(torch.zeros(1, 3, 64, 48), (8, 6)), torch.zeros(1, 1, 8, 6))
