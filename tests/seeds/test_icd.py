"""ICD's direction is the first principal component of a class's cells, and splits them into object and background."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.contracts import InputError, Sample
from deft.engine.head import Head
from deft.seedmaps import grid
from deft.seeds.cam import Cam
from deft.seeds.icd import Icd, Moments, cell_scores, first_eigenvector, images_of, without_conflicts
from deft.seeds.views import on_grid, pixels, resize
from fakes import Scenes, classifier, method_context, noise


def cells(count: int = 400, channels: int = 7) -> tuple[Tensor, Tensor]:
    """Features (C, n) of objects and background, and where the objects are."""
    generator = torch.Generator().manual_seed(0)
    inside = torch.rand(count, generator=generator) < 0.3
    apart = torch.linspace(-3, 3, channels)[:, None] * inside
    return 5 + apart + 0.4 * torch.randn(channels, count, generator=generator), inside


def direction(features: Tensor, activation: Tensor, parts: int = 3) -> tuple[Tensor, Tensor]:
    moments = Moments(len(features))
    for part, active in zip(features.chunk(parts, dim=1), activation.chunk(parts), strict=True):
        moments.add(part, active)
    return moments.direction(1000)


def test_the_direction_is_the_first_principal_component() -> None:
    features, inside = cells()
    weight, offset = direction(features, inside.float())
    x = features.double().numpy()
    standard = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    _, _, rows = np.linalg.svd(standard.T)
    expected = rows[0] @ standard
    expected /= expected.std()
    expected *= np.sign(np.corrcoef(expected, inside)[0, 1])
    found = (weight @ features - offset).numpy()
    assert found == pytest.approx(expected, abs=1e-4)
    assert found.mean() == pytest.approx(0, abs=1e-5) and found.std() == pytest.approx(1, abs=1e-4)
    assert ((found > 0) == inside.numpy()).all()


def test_sums_over_many_images_and_channels_are_those_of_float64() -> None:
    """More channels than a block, and more images than are summed in float32, far from 0."""
    generator = torch.Generator().manual_seed(1)
    spread = torch.linspace(0.1, 3, 300)[:, None]
    features = 50 + spread * (torch.randn(300, 1, generator=generator) * torch.randn(1, 1200, generator=generator))
    features = features + spread * torch.randn(300, 1200, generator=generator)
    weight, offset = direction(features, torch.rand(1200, generator=generator), parts=40)
    x = features.double().numpy()
    standard = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    _, vectors = np.linalg.eigh(standard @ standard.T)
    expected = vectors[:, -1] @ standard
    found = (weight.double() @ features.double() - offset.double()).numpy()
    assert abs(np.corrcoef(found, expected)[0, 1]) == pytest.approx(1, abs=1e-6)
    assert found.mean() == pytest.approx(0, abs=1e-3) and found.std() == pytest.approx(1, abs=1e-4)


def test_units_of_channels_do_not_matter_and_the_map_gives_the_sign() -> None:
    features, inside = cells()
    weight, offset = direction(features, inside.float())
    unit = torch.tensor([1.0, 100.0, 0.01, 3.0, 7.0, 0.5, 2.0])[:, None]
    again, shift = direction(features * unit + 10 * unit, inside.float(), parts=1)
    scores = weight @ features - offset
    torch.testing.assert_close(again @ (features * unit + 10 * unit) - shift, scores, atol=1e-3, rtol=0)
    other, turned = direction(features, 1 - inside.float())
    torch.testing.assert_close(other @ features - turned, -scores, atol=1e-3, rtol=0)


def test_the_map_gives_the_sign_where_power_iteration_ends_opposite_to_it() -> None:
    """It starts at the covariance with the map plus ones, and here the ones decide to which end it goes."""
    generator = torch.Generator().manual_seed(1)
    s, e = torch.randn(400, generator=generator), torch.randn(7, 400, generator=generator)
    features = 5 + s + 0.7 * e
    activation = (1 - 0.03 * s + 0.5 * (e[0] - e[1])).clamp(min=0)
    standard = (features - features.mean(1, keepdim=True)) / features.std(1, keepdim=True)
    start = F.normalize((standard * (activation - activation.mean())).mean(1), dim=0)
    first = torch.linalg.eigh(standard @ standard.T).eigenvectors[:, -1]
    assert float(first @ start) * float(first @ (start + 1 / 7**0.5)) < 0  # what makes this case special
    weight, offset = direction(features, activation)
    scores = (weight @ features - offset).numpy()
    expected = (first @ standard).numpy()
    expected *= np.sign(np.corrcoef(expected, activation)[0, 1]) / expected.std()
    assert scores == pytest.approx(expected, abs=1e-3)


def test_constant_channels_have_no_weight() -> None:
    features, inside = cells()
    features[2] = 4.0
    weight, _ = direction(features, inside.float())
    assert weight[2] == 0 and bool((weight != 0).sum() == 6)
    none, offset = direction(torch.ones(3, 10), torch.rand(10))
    assert not none.any() and offset == 0


@pytest.mark.parametrize("start", [torch.zeros(5), torch.ones(5), torch.arange(5.0)])
def test_power_iteration_finds_the_largest_eigenvalue(start: Tensor) -> None:
    half = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    matrix = half @ half.T
    expected = torch.linalg.eigh(matrix).eigenvectors[:, -1]
    found = first_eigenvector(matrix, start.double(), 10_000)
    assert abs(float(found @ expected)) == pytest.approx(1, abs=1e-9)


def test_images_of_one_class_alone_are_measured() -> None:
    labels = np.array([[True, False, False], [True, True, False], [False, True, True], [True, False, False]])
    assert images_of(labels, 0) == [0, 3]
    assert images_of(labels, 1) == [1, 2]  # it is never alone
    assert images_of(labels[:, [0, 0]] & False, 1) == []


def test_a_cell_belongs_to_one_class() -> None:
    scores = torch.tensor([[[1.0, 2.0, -1.0, -1.0]], [[3.0, 1.0, 2.0, -2.0]]])
    cam = torch.tensor([[[0.9, 0.2, 0.9, 0.9]], [[0.1, 0.6, 0.1, 0.1]]])
    assert without_conflicts(scores, cam).tolist() == [[[1.0, 0.0, 0.0, 0.0]], [[0.0, 1.0, 2.0, 0.0]]]


class Tagged(Scenes):
    """Scenes of three classes; the last is on no image."""

    classes = ("one", "two", "three")
    labels = np.array([[True, False, False], [True, False, False], [False, True, False], [True, True, False]])

    def __getitem__(self, index: int) -> Sample:
        return replace(super().__getitem__(index), labels=self.labels[index])


@pytest.mark.parametrize("head", [LinearHead(), DeftHead(maps=4)])
def test_maps_against_a_literal_computation(head: Head, tmp_path: Path) -> None:
    network, data = classifier(head), Tagged()
    context = method_context(data, tmp_path, network=network)
    settings = Icd(scales=(0.5, 1.0))
    seeds = settings.prepare(context)(data[3])
    assert seeds.classes == (0, 1) and len(seeds.scores) == 3
    scores = []
    with torch.no_grad():
        for k, images in ((0, (0, 1)), (1, (2,))):
            views = [resize(pixels(data[n].image, torch.device("cpu")), 1.0, 16, 1) for n in images]
            features = [network.backbone(view)[-1] for view in views]
            maps = [network.head.activation(z)[0, 0, k] for z in features]
            moments = Moments(network.backbone.channels[-1])
            for z, one in zip(features, maps, strict=True):
                moments.add(z[0].flatten(1), (one / (one.max() + 1e-5)).flatten())
            weight, offset = moments.direction(1000)
            total = torch.zeros(grid(seeds.size))
            for scale in settings.scales:
                view = resize(pixels(data[3].image, torch.device("cpu")), scale, 16, 1)
                for mirrored in (False, True):
                    z = network.backbone(view.flip(-1) if mirrored else view)[-1][0]
                    score = torch.einsum("c,chw->hw", weight, z) - offset
                    total += on_grid(score.flip(-1) if mirrored else score, view.shape[-2:], seeds.size, 1)
            scores.append(total)
    cam = Cam(scales=settings.scales)(network, data[3].image, data[3].labels)
    expected = without_conflicts(torch.stack(scores), cam.maps)
    expected = expected / (expected.amax((1, 2), keepdim=True) + 1e-5)
    torch.testing.assert_close(seeds.maps, expected, atol=2e-3, rtol=0)
    assert seeds.scores == pytest.approx(cam.scores, abs=1e-5)


def test_what_was_measured_is_kept_and_unknown_classes_have_their_class_map(tmp_path: Path) -> None:
    network, data = classifier(), Tagged()
    settings = Icd(scales=(1.0,))
    locate = settings.prepare(method_context(data, tmp_path, network=network))
    path = tmp_path / "model.safetensors"
    before = path.read_bytes()
    again = settings.prepare(method_context(Scenes(), tmp_path, network=network))  # looks at no image
    assert torch.equal(again(data[0]).maps, locate(data[0]).maps) and path.read_bytes() == before
    unseen = Sample("", data[0].image, np.array([False, False, True]))
    torch.testing.assert_close(locate(unseen).maps, Cam(scales=(1.0,))(network, unseen.image, unseen.labels).maps)
    assert locate(Sample("", noise(20, 30), np.zeros(3, dtype=bool))).classes == ()
    path.unlink()
    settings.prepare(method_context(data, tmp_path, network=network))
    assert path.read_bytes() == before  # the order of the sums does not change


def test_scores_are_a_convolution() -> None:
    features, weight, offset = torch.randn(2, 3, 4, 5), torch.randn(6, 3), torch.randn(6)
    expected = torch.einsum("kc,nchw->nkhw", weight, features) - offset[None, :, None, None]
    torch.testing.assert_close(cell_scores(features, weight, offset), expected)


@pytest.mark.parametrize("settings", [{"scales": ()}, {"scales": (0.0,)}, {"iterations": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"^Icd\."):
        Icd(**settings)
