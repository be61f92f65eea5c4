from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deft.classify.classifier import ClassifierNetwork
from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.classify.readings import Eq7Sigmoid
from deft.contracts import InputError, Sample
from deft.engine.head import Head
from deft.seedmaps import grid
from deft.seeds.advcam import AdvCam
from deft.seeds.cam import Cam
from deft.seeds.views import on_grid, pixels, resize
from fakes import Scenes, classifier, method_context

SMALL = AdvCam(scales=(0.5, 1.0), iterations=4)


def build(head: Head) -> ClassifierNetwork:
    return classifier(head, classes=4)


@pytest.fixture(scope="module")
def network() -> ClassifierNetwork:
    return build(LinearHead()).double()


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, 5, 6))) * 255
    fine = F.interpolate(coarse, size=(height, width), mode="bilinear")[0].permute(1, 2, 0).numpy()
    return np.clip(fine + rng.normal(0, 10, fine.shape), 0, 255).astype(np.uint8)


def one_at_a_time(network: ClassifierNetwork, image: np.ndarray, classes: list[int], settings: AdvCam) -> Tensor:
    """The released loop: every class and scale for itself, Grad-CAM from a backward pass."""
    weight = network.head.classifier.weight
    size = image.shape[:2]
    total = torch.zeros(len(classes), *grid(size), dtype=weight.dtype)
    for place, c in enumerate(classes):
        for scale in settings.scales:
            view = network.backbone.normalise(resize(pixels(image, weight.device), scale, 16, 1))
            x = torch.cat([view, view.flip(-1)])
            times = settings.iterations // 2 if scale < 1 else settings.iterations
            cams, first = [], None
            for _ in range(times):
                x = x.detach().requires_grad_()
                z = network.backbone.features(x)[-1]
                maps = F.relu(F.conv2d(z, weight))
                (by_feature,) = torch.autograd.grad(maps[:, c].sum(), z, retain_graph=True)
                channels = by_feature.sum((2, 3)) / ((by_feature > 0).sum() + 1e-12)
                both = F.relu((channels[:, :, None, None] * z).sum(1))
                cam = both[0] + both[1].flip(-1)
                first = cam.detach() if first is None else first
                cams.append(cam.detach())
                scores = maps.mean((2, 3))
                score = scores[:, c].sum() - scores[:, [k for k in range(4) if k != c]].sum()
                held = (cam / cam.max() > settings.threshold).detach()
                objective = score - settings.coefficient * ((cam - first).abs() * held).sum()
                (g,) = torch.autograd.grad(objective, x)
                x = (x + settings.step * g / g.abs().max()).detach().clamp(*x.detach().aminmax())
            total[place] += (2 if scale < 1 else 1) * on_grid(torch.stack(cams).sum(0), view.shape[-2:], size, 1)
    return total / total.amax((1, 2), keepdim=True)


def test_batched_climbing_is_the_loop_over_classes(network: ClassifierNetwork) -> None:
    image, labels = photo(65, 81), np.array([True, False, True, True])
    settings = AdvCam(scales=(0.5, 1.0), iterations=6)
    expected = one_at_a_time(network, image, [0, 2, 3], settings)
    plain = Cam(scales=settings.scales)(build(LinearHead()), image, labels)
    present = expected.isfinite().all(dim=(1, 2))
    assert present.sum() >= 2
    for batch in (1, 4, 16):  # one class at a time; two and all; all
        seeds = replace(settings, batch=batch)(network, image, labels)
        assert seeds.classes == (0, 2, 3)
        found = seeds.maps / seeds.maps.amax((1, 2), keepdim=True)
        assert torch.allclose(found[present], expected[present].float(), atol=1e-4)
        assert not torch.allclose(plain.maps[present], seeds.maps[present], atol=1e-2)


def test_the_first_map_is_the_plain_one() -> None:
    image, labels = photo(65, 81), np.array([True, True, True, True])
    network = build(LinearHead())
    once = AdvCam(scales=(1.0, 1.5), flip=False, iterations=1)(network, image, labels)
    plain = Cam(scales=(1.0, 1.5), flip=False)(network, image, labels)
    assert torch.allclose(once.maps, plain.maps, atol=1e-4)
    assert once.scores == pytest.approx(plain.scores, abs=1e-6)


@pytest.mark.parametrize("head", [LinearHead(), DeftHead(maps=4), DeftHead(maps=4, map=Eq7Sigmoid())])
@pytest.mark.parametrize("rectified", [True, False])
def test_classes_do_not_disturb_each_other(head: Head, rectified: bool) -> None:
    network, image = build(head).double(), photo(65, 81)
    settings = AdvCam(scales=(0.5, 1.0), iterations=4, rectified=rectified)
    together = settings(network, image, np.array([True, True, False, True]))
    for place, c in enumerate(together.classes):
        alone = settings(network, image, np.arange(4) == c)
        assert torch.allclose(alone.maps[0], together.maps[place], atol=1e-5)
    assert 0 <= float(together.maps.min()) <= float(together.maps.max()) <= 1


def test_images_of_one_size_climb_in_one_batch(network: ClassifierNetwork) -> None:
    views = torch.stack([network.backbone.normalise(pixels(photo(49, 65, n), torch.device("cpu"))) for n in (1, 2)])
    views, classes = torch.cat([views, views.flip(-1)], dim=1), torch.tensor([3, 0])
    both = SMALL.climb(network, views, classes, 5)
    for row in (0, 1):
        alone = SMALL.climb(network, views[row : row + 1], classes[row : row + 1], 5)
        assert torch.allclose(both[row], alone[0])


def test_images_of_one_size_are_mapped_together_as_alone(network: ClassifierNetwork) -> None:
    images = [photo(49, 65, n) for n in range(3)]
    labels = [np.array([True, False, True, False]), np.zeros(4, dtype=bool), np.array([False, False, False, True])]
    for batch in (2, 16):
        settings = replace(SMALL, batch=batch)
        together = settings.together(network, images, labels)
        for image, own, seeds in zip(images, labels, together, strict=True):
            alone = settings(network, image, own)
            assert alone.classes == seeds.classes == tuple(np.flatnonzero(own).tolist())
            assert alone.scores == pytest.approx(seeds.scores)
            assert torch.allclose(alone.maps, seeds.maps, atol=1e-5)
    with pytest.raises(ValueError, match="one size"):
        SMALL.together(network, [photo(49, 65), photo(49, 81)], labels[:2])


@pytest.mark.parametrize(("head", "rectified"), [(LinearHead(), True), (LinearHead(), False), (DeftHead(), False)])
def test_climbing_raises_the_map_and_holding_it_holds_it(head: Head, rectified: bool) -> None:
    """Freely climbed, the sum of the maps grows; the heavier the regularisation, the less where the map is strong."""
    network = build(head).double()
    views = network.backbone.normalise(pixels(photo(81, 81), torch.device("cpu")))[None]
    with torch.no_grad():
        activation = network.head.activation(network.backbone.features(views[0])[-1])[0, 0]
    c = int(activation.sum((-2, -1)).argmax())
    strong = activation[c] > 0.5 * activation[c].max()
    grown = []
    for coefficient in (0.0, 1e4):
        settings = AdvCam(coefficient=coefficient, rectified=rectified)
        mean = settings.climb(network, views, torch.tensor([c]), 8)[0, 0] / 8
        grown.append(float((mean - activation[c])[strong].abs().mean() / activation[c][strong].mean()))
        if coefficient == 0:
            assert mean.sum() > activation[c].sum()
    assert grown[1] < grown[0]


@pytest.mark.parametrize("size", [(1, 1), (7, 60), (64, 64)])
def test_any_size_gives_the_strided_grid_in_range(size: tuple[int, int]) -> None:
    seeds = SMALL(build(DeftHead(maps=4)), photo(*size), np.array([True, True, False, False]))
    assert seeds.maps.shape == (2, *grid(size)) and seeds.maps.dtype == torch.float32
    assert 0 <= float(seeds.maps.min()) <= float(seeds.maps.max()) <= 1
    assert len(seeds.scores) == 4


def test_without_tags_the_classes_found_are_mapped() -> None:
    network, image = build(LinearHead()), photo(64, 64)
    scores = SMALL(network, image, np.zeros(4, dtype=bool)).scores
    found = AdvCam(scales=(1.0,), iterations=2, present=sorted(scores)[2])(network, image)
    assert found.classes == (int(np.argmax(scores)),)


def test_threads_agree_and_weights_learn_nothing(tmp_path: Path) -> None:
    network = build(LinearHead())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    locate = SMALL.prepare(method_context(Scenes(), tmp_path, network=network))
    samples = [Sample(str(n), photo(49, 65, n), np.array([True, True, False, n > 1])) for n in range(4)]
    with torch.no_grad():
        alone = [locate(sample).maps for sample in samples]
        with ThreadPoolExecutor(3) as pool:
            together = [seeds.maps for seeds in pool.map(locate, samples)]
    for one, other in zip(alone, together, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    "settings", [{"iterations": 0}, {"scales": ()}, {"scales": (0.0,)}, {"step": 0.0}, {"coefficient": -1.0}]
)
def test_settings_that_cannot_be_climbed_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"^AdvCam\."):
        AdvCam(**settings)
