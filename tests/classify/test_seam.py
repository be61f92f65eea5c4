"""SEAM's terms are those of its formulas; views that agree cost nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deft.backbone import build_backbone
from deft.classify.classifier import ClassifierNetwork, load_classifier, save_classifier
from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead, LinearModule
from deft.classify.pixel_correlation import correlated
from deft.classify.seam import AffinityFeatures, SeamHead, SeamModule, hardest, lowest, planes
from deft.contracts import InputError
from deft.engine.head import Head, normalise
from deft.seedmaps import grid
from deft.seeds.cam import Cam
from deft.seeds.views import on_grid, pixels, resize
from fakes import noise, rng
from references import alike_in_parts, learns

CHANNELS = (8, 12, 16, 20, 30)
SMALL = SeamHead(base=LinearHead(), widths=(4, 6), width=5)


def labels() -> Tensor:
    return torch.tensor([[1.0, 0, 1.0], [0, 1.0, 0], [1.0, 1.0, 1.0]])


def view(side: int, seed: int) -> list[Tensor]:
    """Images and feature maps of a view of three images."""
    cells = [max(1, side // stride) for stride in (1, 2, 4, 8, 16, 16)]
    return [torch.randn(3, c, s, s, generator=rng(seed)) for c, s in zip((3, *CHANNELS), cells, strict=True)]


def module(head: SeamHead = SMALL) -> SeamModule:
    torch.manual_seed(0)
    return head.build_on(CHANNELS, 3)


def at(maps: Tensor, side: int) -> Tensor:
    return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)


def from_least(maps: Tensor) -> Tensor:
    least, most = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - least) / (most - least + 1e-5)


def slow_terms(own: SeamModule, views: list[list[Tensor]], tags: Tensor, side: int) -> dict[str, float]:
    """One image at a time, with sorted lists in the place of the largest and lowest values."""
    n, classes = tags.shape
    consistency, cross, quiet = [], [], []
    for i in range(n):
        seen, refined = [], []
        for one in views:
            cam = F.relu(F.conv2d(one[-1][i : i + 1], own.base.classifier.weight))
            cam = cam / (cam.amax((2, 3), keepdim=True) + 1e-5) * tags[i, :, None, None]
            seen.append(at(from_least(cam), side)[0])
            given = torch.cat([1 - cam.amax(1, keepdim=True), cam], 1)
            top = cam[0].max(0).values
            for k in range(classes):
                given[0, k + 1][cam[0, k] < top] = 0
            features = own.affinity(one[0][i : i + 1], [m[i : i + 1] for m in one[1:]])
            refined.append(correlated(given, features))
        consistency.append(float((seen[0] - seen[1]).abs().mean()))
        for one in refined:
            low = sorted((one[0, 1:] * tags[i, :, None, None]).max(0).values.flatten().tolist())
            count = max(1, int(0.25 * len(low)))
            quiet.append(sum(low[:count]) / count)
        for mine, other in ((0, 1), (1, 0)):
            wide = from_least(refined[mine])
            wide[0, 1:] *= tags[i, :, None, None]
            wide = at(wide, side)[0]
            full = torch.cat([1 - seen[other].amax(0, keepdim=True), seen[other]])
            sure = full.clone()
            for k in range(classes):
                sure[k + 1][seen[other][k] < seen[other].max(0).values] = 0
            hard = sorted((sure - wide).abs().flatten().tolist(), reverse=True)
            count = int(0.2 * len(hard))
            cross.append(sum(hard[:count]) / count)
    return {
        "consistency": float(np.mean(consistency)),
        "cross": 2 * float(np.mean(cross)),
        "quiet": float(np.mean(quiet)),
    }


def test_terms_against_the_formulas() -> None:
    own, large, small = module(), view(64, 1), view(19, 2)
    asked = []

    def look(images: Tensor) -> list[Tensor]:
        asked.append(images)
        return small

    terms = own.loss_of_views(large, look, labels(), 1, rng())
    assert asked[0].shape == (3, 3, 19, 19)  # 0.3 of 64
    expected = slow_terms(own, [large, small], labels(), 19)
    expected["classify"] = (
        sum(float(own.base.loss(one[-1], labels(), 1, rng())["classify"]) for one in (large, small)) / 2
    )
    assert {name: pytest.approx(value, abs=1e-5) for name, value in expected.items()} == {
        name: float(term.detach()) for name, term in terms.items()
    }
    alone = SeamHead(base=LinearHead(), widths=(4, 6), width=5, consistency=0.0, quiet=0.0, cross=0.0)
    assert module(alone).loss_of_views(large, look, labels(), 1, rng()).keys() == {"classify"}


def test_the_module_is_trained_by_the_refined_maps_and_the_rest_by_the_class_maps() -> None:
    own, large, small = module(), view(64, 1), view(19, 2)
    for one in (large, small):
        one[-1].requires_grad_(True)
        one[2].requires_grad_(True)
    terms = own.loss_of_views(large, lambda _: small, labels(), 1, rng())
    (terms["quiet"] + terms["cross"]).backward(retain_graph=True)
    assert large[-1].grad is None and large[2].grad is None and own.base.classifier.weight.grad is None
    assert all(p.grad is not None and bool(p.grad.any()) for p in own.affinity.parameters())
    terms["consistency"].backward()
    assert large[-1].grad is not None and small[-1].grad is not None and large[2].grad is None


def test_views_that_agree_have_no_difference() -> None:
    own, large = module(), view(64, 1)
    small = [at(large[0], 19), *large[1:]]
    assert float(own.loss_of_views(large, lambda _: small, labels(), 1, rng())["consistency"].detach()) == 0.0


def test_largest_and_lowest_values() -> None:
    values = torch.arange(20.0).view(1, 2, 2, 5)
    assert float(hardest(values, 0.2)) == 17.5
    assert float(hardest(values, 0.0)) == 19.0
    assert float(lowest(values, 0.25)) == 10.5  # of 10 to 19, two of ten
    assert float(lowest(-values, 0.25)) == 0.0
    assert planes(torch.tensor([[[[0.25]], [[0.75]]]])).flatten().tolist() == [0.25, 0.25, 0.75]


def test_a_backbone_of_few_maps_will_do() -> None:
    assert AffinityFeatures((8,), (4, 6), 5)(torch.randn(1, 3, 8, 8), [torch.randn(1, 8, 2, 2)]).shape == (1, 5, 2, 2)
    found = AffinityFeatures((7, 8), (4, 6), 5)
    assert [conv.weight.shape[:2] for conv in found.convs] == [(6, 7)]  # type: ignore[index]


def test_affinity_features_against_a_loop() -> None:
    """Colours, and the positive part of what is made of the two maps before the last, joined cell by cell.

    A cell of the last map covers 4x4 pixels and 2x2 cells of a finer map; bilinear is then the mean of the middle 2x2.
    """
    torch.manual_seed(0)
    own = AffinityFeatures((7, 8, 9, 10), (4, 6), 5)
    sizes = {3: 16, 7: 8, 8: 8, 9: 4, 10: 4}
    images, *maps = (torch.randn(2, c, side, side, generator=rng(c)) for c, side in sizes.items())
    found = own(images, maps).detach()
    fine, coarse, join = (weight.detach()[:, :, 0, 0] for weight in own.parameters())
    assert found.shape == (2, 5, 4, 4)
    for n in range(2):
        for y in range(4):
            for x in range(4):
                colours = images[n, :, 4 * y + 1 : 4 * y + 3, 4 * x + 1 : 4 * x + 3].mean((1, 2))
                four = [fine @ maps[1][n, :, 2 * y + dy, 2 * x + dx] for dy in (0, 1) for dx in (0, 1)]
                one = torch.stack(four).clamp(min=0).mean(0)
                other = (coarse @ maps[2][n, :, y, x]).clamp(min=0)
                torch.testing.assert_close(found[n, :, y, x], join @ torch.cat([colours, one, other]))


def test_the_convolutions_of_affinities_learn_at_a_rate_of_their_own() -> None:
    for rate in (10.0, 3.0):
        own = module(replace(SMALL, learning_rate=rate))
        *base, (parameters, multiple) = own.groups()
        assert base == own.base.groups() and multiple == rate
        assert [id(p) for p in parameters] == [id(p) for p in own.affinity.parameters()]
    assert SeamHead().learning_rate == 10


def network(head: SeamHead) -> ClassifierNetwork:
    """A small classifier of random weights whose class maps are positive somewhere."""
    torch.manual_seed(0)
    backbone = build_backbone("test_resnet", "none", 16)
    built = head.build_on(backbone.channels, 3)
    if isinstance(built.base, LinearModule):
        with torch.no_grad():
            built.base.classifier.weight.abs_()
    return ClassifierNetwork(backbone, built)


@pytest.mark.parametrize("base", [LinearHead(), DeftHead(maps=4, swap_epoch=1, warm_start=False)])
def test_a_classifier_with_it_learns_alike_in_parts(base: Head) -> None:
    own = network(SeamHead(base=base, widths=(4, 6), width=8))
    image = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=rng(5))
    batch = {"image": image, "labels": labels()}
    alike_in_parts(own, batch, 3)
    learns(own, batch, 0.003)


def test_plain_cam_reads_the_refined_maps_and_the_classifier_is_stored(tmp_path: Path) -> None:
    own = network(SMALL).eval()
    image, tags = noise(49, 65), np.array([True, False, True])
    seeds = Cam(scales=(0.5, 1.0))(own, image, tags)
    total = torch.zeros(3, *grid((49, 65)))
    with torch.no_grad():
        for scale in (0.5, 1.0):
            shown = resize(pixels(image, torch.device("cpu")), scale, 16, 1)
            for mirrored in (False, True):
                seen = own.backbone.normalise(shown.flip(-1) if mirrored else shown)
                every = [seen, *own.backbone.features(seen)]
                found = own.head.activation_of_maps(every, torch.from_numpy(tags))[0, 0]
                total += on_grid(found.flip(-1) if mirrored else found, shown.shape[-2:], (49, 65), 1)
    assert not total[1].any()
    low = total.amin((1, 2), keepdim=True)
    torch.testing.assert_close(seeds.maps, normalise(total - low)[[0, 2]], atol=1e-3, rtol=0)
    save_classifier(tmp_path / "model.safetensors", own, ("a", "b", "c"), "key")
    again = load_classifier(tmp_path / "model.safetensors", SMALL)
    torch.testing.assert_close(Cam(scales=(0.5, 1.0))(again, image, tags).maps, seeds.maps, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"widths": (0,)}, "SeamHead.widths"),
        ({"scale": 1.0}, "SeamHead.scale"),
        ({"hardest": 1.5}, "SeamHead.hardest"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        SeamHead(**settings)  # type: ignore[arg-type]
