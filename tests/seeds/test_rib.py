"""RIB's fine-tuning is the published loop, leaves the classifier alone, and depends on its own image only."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deft.backbone import build_backbone
from deft.classify.classifier import ClassifierNetwork
from deft.classify.deft import DeftHead
from deft.classify.linear import BackgroundHead, LinearHead
from deft.contracts import InputError, Sample
from deft.engine.head import Head
from deft.seedmaps import grid
from deft.seeds.cam import Cam
from deft.seeds.rib import Rib, Tuned
from deft.seeds.views import on_grid, pixels, resize
from fakes import Scenes, classifier, method_context, noise

TOGETHER = (
    np.array([True, False, True]),
    np.array([False, True, False]),
    np.array([False, True, True]),
)
LARGE = {"stop_loss": 1e6, "stop_share": 1.0}
"""Settings with which nothing ends the fine-tuning early."""


def sample(seed: int = 0, labels: np.ndarray = TOGETHER[0], size: tuple[int, int] = (49, 65)) -> Sample:
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Sample(f"image {seed}", image, labels)


def bank() -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(9)
    images = torch.from_numpy(rng.integers(0, 256, (3, 3, 64, 64), dtype=np.uint8))
    return images, torch.tensor([[0.0, 1.0, 0.0]] * 3)


def published(network: ClassifierNetwork, one: Sample, settings: Rib) -> Tensor:
    """The published loop: the whole network from pixels in every step, a row and a tag at a time."""
    net = copy.deepcopy(network).double()
    late = [p for name, p in net.backbone.named_parameters() if name.split(".")[1] in ("layer3", "layer4")]
    head = [net.head.classifier.weight]
    sgd = torch.optim.SGD(
        [{"params": late, "lr": settings.rate}, {"params": head, "lr": 10 * settings.rate}],
        lr=settings.rate,
        weight_decay=settings.decay,
    )
    size, whole = one.image.shape[:2], pixels(one.image, torch.device("cpu")).double()
    images, labels = bank()
    classes = np.flatnonzero(one.labels)
    total = torch.zeros(len(classes), *grid(size), dtype=torch.float64)
    for step in range(settings.steps + 1):
        rows = []
        for scale in settings.scales:
            view = resize(whole, scale, 16, 1)
            for mirrored in (False, True):
                x = view.flip(-1) if mirrored else view
                z = net.backbone(x)[-1]
                maps = F.conv2d(z, head[0])
                own = maps[0].relu().detach()[classes]
                total += on_grid(own.flip(-1) if mirrored else own, view.shape[-2:], size, 1)
                if scale >= 1:
                    rows.append((maps[0], one.labels))
        if step == settings.steps:
            break
        for image, tags in zip(images.double(), labels.numpy() > 0, strict=True):
            rows.append((F.conv2d(net.backbone(image[None])[-1], head[0])[0], tags))
        loss = torch.zeros((), dtype=torch.float64)
        for maps, tags in rows:
            for k in np.flatnonzero(tags):
                strong = maps[k].detach().relu()
                loss = loss - maps[k][strong / (strong.max() + 1e-5) < settings.threshold].mean()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    return total / total.amax((1, 2), keepdim=True)


@pytest.fixture(scope="module")
def network() -> ClassifierNetwork:
    return classifier()


def test_it_is_the_published_loop(network: ClassifierNetwork) -> None:
    settings = Rib(scales=(0.5, 1.0), steps=3, rate=3e-3, batch=2, **LARGE)
    found = settings.maps(Tuned(network, settings), sample(), *bank()).maps
    expected = published(network, sample(), settings)
    plain = Cam(scales=settings.scales)(network, sample().image, sample().labels).maps
    torch.testing.assert_close(found.double(), expected, atol=2e-3, rtol=0)
    assert float((found - plain).abs().max()) > 0.02


@pytest.mark.parametrize("head", [LinearHead(), DeftHead(maps=4), BackgroundHead()])
def test_without_steps_it_is_plain_cam(head: Head) -> None:
    own, one = classifier(head), sample()
    settings = Rib(scales=(0.5, 1.0), steps=0)
    found = settings.maps(Tuned(own, settings), one, *bank())
    plain = Cam(scales=(0.5, 1.0))(own, one.image, one.labels)
    torch.testing.assert_close(found.maps, plain.maps, atol=1e-5, rtol=0)
    assert found.classes == plain.classes and found.scores == pytest.approx(plain.scores, abs=1e-6)


@pytest.mark.parametrize(("trained", "cut"), [(0, 4), (1, 3), (2, 2), (9, -1)])
def test_what_is_computed_once_changes_nothing(network: ClassifierNetwork, trained: int, cut: int) -> None:
    """The stored feature map of the early layers gives what the whole network would."""
    settings = Rib(scales=(1.0,), steps=3, rate=1e-3, trained=trained, **LARGE)
    tuned, whole = Tuned(network, settings), Tuned(network, settings)
    assert tuned.cut == cut and tuned.separable == (cut >= 0)
    whole.separable = False
    one, other = (settings.maps(each, sample(), *bank()).maps for each in (tuned, whole))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    frozen = [p for p in tuned.network.backbone.parameters() if not any(p is q for q in tuned.parameters)]
    assert bool(frozen) == (cut >= 0)


def test_a_transformer_is_fine_tuned_as_a_whole_pass() -> None:
    backbone = build_backbone("test_vit", "none", 16)
    own = ClassifierNetwork(backbone, LinearHead().build(backbone.channels[-1], 3)).eval()
    settings = Rib(scales=(1.0,), steps=2, rate=1e-3, trained=1, **LARGE)
    tuned = Tuned(own, settings)
    assert not tuned.separable
    found = settings.maps(tuned, sample(), *bank())
    assert found.maps.shape == (2, *grid((49, 65))) and bool(found.maps.isfinite().all())


def test_a_step_raises_the_weak_cells(network: ClassifierNetwork) -> None:
    settings = Rib(steps=1, rate=1e-4)
    tuned = Tuned(network, settings)
    tuned.restore()
    stored = tuned.before(pixels(sample().image, torch.device("cpu")))
    tags = torch.tensor([[1.0, 0.0, 1.0]])
    before = settings.loss(tuned.head, tuned.after(stored), tags)
    tuned.step(list(torch.autograd.grad(before, tuned.parameters, allow_unused=True)))
    assert float(settings.loss(tuned.head, tuned.after(stored), tags).detach()) < float(before.detach())
    tuned.restore()
    again = settings.loss(tuned.head, tuned.after(stored), tags)
    assert float(again.detach()) == float(before.detach())


def test_a_step_is_that_of_gradient_descent_with_weight_decay(network: ClassifierNetwork) -> None:
    """The backbone at the rate itself, the head at ten times it; without a gradient nothing decays."""
    settings = Rib(rate=0.02, decay=0.5)
    tuned = Tuned(network, settings)
    generator = torch.Generator().manual_seed(3)
    gradients: list[Tensor | None] = [torch.randn(p.shape, generator=generator) for p in tuned.parameters]
    gradients[1] = None
    late, head = [[p.detach().clone() for p in part] for part in (tuned.parameters[:-1], tuned.parameters[-1:])]
    groups = [{"params": late, "lr": 0.02}, {"params": head, "lr": 0.2}]
    for parameter, gradient in zip([*late, *head], gradients, strict=True):
        parameter.grad = gradient
    torch.optim.SGD(groups, lr=0.02, weight_decay=0.5).step()
    tuned.step(gradients)
    assert [id(p) for p in tuned.head.parameters()] == [id(tuned.parameters[-1])]
    torch.testing.assert_close([p.detach() for p in tuned.parameters], [*late, *head])
    assert torch.equal(tuned.parameters[1], tuned.start[1])


def test_strong_cells_are_not_averaged() -> None:
    head = LinearHead().build(1, 2)
    with torch.no_grad():
        head.classifier.weight.fill_(1.0)
    features = torch.tensor([[[[10.0, 1.0], [2.0, -3.0]]]])
    loss = Rib(threshold=0.4).loss(head, features, torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx(-(1 + 2 - 3) / 3)
    everywhere = Rib(threshold=1.0).loss(head, features * 0 + 1, torch.tensor([[1.0, 1.0]]))
    assert everywhere.item() == pytest.approx(-2.0, abs=1e-3)  # the constant map is just below its maximum


@pytest.mark.parametrize(
    ("settings", "fewer"),
    [({"stop_loss": 1e-9}, True), ({"stop_share": 0.0, "stop_score": 0.0}, True), (LARGE, False)],
)
def test_the_rules_that_stop_it(network: ClassifierNetwork, settings: dict[str, float], fewer: bool) -> None:
    one = sample()
    rib = Rib(scales=(1.0,), steps=5, rate=3e-3, **settings)
    found = rib.maps(Tuned(network, rib), one, *bank()).maps
    plain = Cam(scales=(1.0,))(network, one.image, one.labels).maps
    assert (float((found - plain).abs().max()) < 1e-4) == fewer


def test_active_cells_are_counted_over_all_tags() -> None:
    maps = torch.zeros(2, 2, 5)
    maps[0, 0, :4] = 1
    maps[1, 1, :4] = 7
    assert Rib(stop_share=0.75).stops(0.0, maps) and not Rib(stop_share=0.85).stops(0.0, maps)
    assert Rib(stop_share=1.0).stops(-601, maps) and not Rib(stop_share=1.0).stops(-599, maps)


class Tagged(Scenes):
    """Scenes of three classes, with the table of their labels."""

    classes = ("one", "two", "three")

    def __init__(self, labels: list[list[bool]]) -> None:
        super().__init__()
        self.labels = np.array(labels)

    def __getitem__(self, index: int) -> Sample:
        return replace(super().__getitem__(index), labels=self.labels[index])


FOUR = [[True, False, False], [False, True, False], [False, True, True], [False, False, False]]


def test_companions_share_no_class_and_depend_on_the_image_alone(tmp_path: Path) -> None:
    settings = Rib(companions=5)
    labels = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 1.0], [0, 1.0, 0], [0, 0, 1.0]])
    for tags in TOGETHER:
        chosen = settings.chosen(sample(1, tags), labels)
        assert (labels[chosen].numpy() @ tags == 0).all()
        assert len(chosen) == sum((row.numpy() @ tags) == 0 for row in labels)
        assert torch.equal(chosen, settings.chosen(replace(sample(1, tags), name="other"), labels))
    many = torch.eye(3)[[1]].repeat(40, 1)
    some = [tuple(settings.chosen(sample(seed, TOGETHER[0]), many).tolist()) for seed in range(3)]
    assert len(set(some)) == 3 and all(len(one) == 5 for one in some)
    assert len(settings.chosen(sample(0, np.array([True, True, True])), labels)) == 0


def test_threads_agree_and_the_classifier_stays_as_it_is(tmp_path: Path, network: ClassifierNetwork) -> None:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    settings = Rib(scales=(1.0,), steps=2, rate=1e-3, companions=2, **LARGE)
    data = Tagged(FOUR)
    locate = settings.prepare(method_context(data, tmp_path, network=network))
    samples = [sample(n, TOGETHER[n % 3]) for n in range(4)]
    with torch.no_grad():
        alone = [locate(one).maps for one in samples]
        with ThreadPoolExecutor(3) as pool:
            together = [seeds.maps for seeds in pool.map(locate, reversed(samples))]
        again = settings.prepare(method_context(Tagged(FOUR[:1] * 4), tmp_path, network=network))  # the bank is kept
        assert torch.equal(again(samples[0]).maps, alone[0])
    for one, other in zip(alone, reversed(together), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    untagged = locate(Sample("", noise(20, 30), np.zeros(3, dtype=bool)))
    assert untagged.classes == () and len(untagged.scores) == 3


def test_images_without_tags_are_no_companions(tmp_path: Path, network: ClassifierNetwork) -> None:
    _, labels = Rib()._bank(method_context(Tagged(FOUR), tmp_path / "a", network=network))
    assert len(labels) == 3 and bool(labels.any(dim=1).all())
    _, few = Rib(bank=2)._bank(method_context(Tagged(FOUR), tmp_path / "b", network=network))
    assert len(few) == 2
    with pytest.raises(InputError, match="training images with tags"):
        Rib()._bank(method_context(Tagged([[False] * 3] * 4), tmp_path / "c", network=network))


@pytest.mark.parametrize(
    "settings", [{"steps": -1}, {"scales": ()}, {"rate": -1.0}, {"threshold": 1.5}, {"bank": 0}, {"companions": -1}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"^Rib\."):
        Rib(**settings)


@pytest.mark.parametrize("scales", [(0.5,), (2.0, 0.75)])
def test_scales_need_the_image_itself(scales: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"seeds\.scales including 1\.0"):
        Rib(scales=scales)
