"""W-OoD's terms are those of its formulas, and a classifier trained on with them changes its maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.cluster import KMeans

from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.contracts import InputError, Sample
from deft.engine.head import Head, soft_margin
from deft.engine.method import MethodContext
from deft.engine.optimise import Sgd
from deft.engine.plan import Plan
from deft.seeds.amn import Amn
from deft.seeds.cam import Cam
from deft.seeds.ood import AFTER, Ood, OodNetwork, class_means, distance, k_means
from fakes import Scenes, classifier, method_context, rng

SHORT = Ood(
    base=Cam(scales=(1.0,)),
    plan=Plan(epochs=1, min_steps=3, batch=2, optimiser=Sgd(lr=0.05), workers=0),
    clusters=2,
)


class Tagged(Scenes):
    """Scenes of three classes, of which the last has no tag."""

    classes = ("one", "two", "three")
    labels = np.array([[True, False, False], [False, True, True], [False, False, True], [False, False, False]])

    def __getitem__(self, index: int) -> Sample:
        return replace(super().__getitem__(index), labels=self.labels[index])


def batch(count: int = 2) -> dict[str, torch.Tensor]:
    generator = rng(3)
    image, negative = (
        torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator) for _ in range(2)
    )
    return {"image": image, "negative": negative, "labels": torch.tensor([[1.0, 0, 1.0], [0, 1.0, 0]])[:count]}


def trainee(head: Head | None = None, settings: Ood = SHORT) -> OodNetwork:
    own = classifier(head)
    network = OodNetwork(own.backbone, own.head, settings)
    generator = torch.Generator().manual_seed(5)
    channels = own.backbone.channels[-1]
    network.inside, network.outside = (torch.randn(n, channels, generator=generator) for n in (3, 10))
    return network


def test_distances_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    z, inside, outside = (torch.randn(n, 5, generator=generator) for n in (4, 3, 10))
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 1], [1, 1, 1]])
    near, far = np.zeros((4, 3)), np.zeros((4, 10))
    for n in range(4):
        for k in range(3):
            near[n, k] = (z[n] - inside[k]).norm() * labels[n, k]
        away = [float((z[n] - centre).norm()) for centre in outside]
        for m in sorted(range(10), key=away.__getitem__)[:2]:  # a fifth of ten
            far[n, m] = away[m]
    # The published means are over all entries, 0 or not.
    found = distance(z, labels, inside, outside, 0.2, chosen=False)
    assert float(found) == pytest.approx(near.mean() * 3 / 10 - far.mean(), abs=1e-5)
    closest = distance(z, labels, inside, outside, 0.0, chosen=False)  # at least one cluster counts
    nearest = np.mean([min(float((one - centre).norm()) for centre in outside) for one in z])
    assert float(closest) == pytest.approx(near.mean() * 3 / 10 - nearest / 10, abs=1e-5)
    found = distance(z, labels, inside, outside, 0.2, chosen=True)
    assert float(found) == pytest.approx(near.sum() / 7 * 3 / 10 - far.sum() / 8, abs=1e-5)
    closest = distance(z, labels, inside, outside, 0.0, chosen=True)
    assert float(closest) == pytest.approx(near.sum() / 7 * 3 / 10 - nearest, abs=1e-5)


def test_images_are_drawn_to_their_classes_and_away_from_negatives() -> None:
    vectors, labels = torch.zeros(2, 2, requires_grad=True), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    inside, outside = torch.tensor([[3.0, 0.0], [0.0, 9.0]]), torch.tensor([[0.0, 4.0], [0.0, 50.0]])
    distance(vectors, labels, inside, outside, 0.5, chosen=False).backward()
    assert vectors.grad is not None  # steps down the slope: towards the mean at the right, and down
    torch.testing.assert_close(vectors.grad, torch.tensor([[-0.25, 0.25], [0.0, 0.25]]))


def test_the_distance_alone_trains_the_backbone() -> None:
    network = trainee(settings=replace(SHORT, negative_weight=0.0))
    network.terms(batch(), 1, rng())["distance"].backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in network.backbone.parameters())


def test_classes_without_images_have_no_part_in_the_length() -> None:
    network = trainee()
    network.inside = torch.cat([network.inside, torch.zeros(5, network.inside.shape[1])])
    given = batch()
    given["labels"] = F.pad(given["labels"], (0, 5))
    few = trainee()
    features = few.backbone(given["image"])[-1].mean((2, 3))
    length = few.inside.norm(dim=1).mean()
    vectors = [length * F.normalize(one, dim=1) for one in (features, few.inside, few.outside)]
    # K / M of the mean to the tags counts classes without images too.
    own, away = (torch.cdist(vectors[0], vectors[place]) for place in (1, 2))
    labels = given["labels"][:, :3]
    expected = 0.007 * ((own * labels).sum() / labels.sum() * 8 / 10 - away.topk(2, largest=False).values.mean())
    network.head = LinearHead().build(network.backbone.channels[-1], 8)
    torch.testing.assert_close(network.terms(given, 1, rng())["distance"], expected)


def test_clusters_are_those_of_scikit_learn() -> None:
    vectors = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
    found = KMeans(5, init=vectors[:5].numpy(), n_init=1, max_iter=10, tol=0).fit(vectors.numpy())
    torch.testing.assert_close(k_means(vectors, 5), torch.from_numpy(found.cluster_centers_), atol=1e-4, rtol=0)
    assert torch.equal(k_means(vectors[:3], 5), vectors[:3])
    twice = torch.tensor([[0.0], [0.0], [4.0]])
    assert k_means(twice, 2).flatten().tolist() == [4.0, 0.0]  # the second has no vector at first, and keeps its centre


def test_class_means() -> None:
    vectors = torch.tensor([[1.0, 2.0], [3.0, 6.0], [5.0, 0.0]])
    labels = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0]])
    assert class_means(vectors, labels).tolist() == [[2.0, 4.0], [4.0, 3.0], [0.0, 0.0]]


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("head", [LinearHead(), DeftHead(maps=4)])
def test_terms_against_the_formulas(head: Head, normalised: bool) -> None:
    network = trainee(head, replace(SHORT, normalised=normalised))
    given = batch()
    terms = network.terms(given, 1, rng())
    x = network.backbone.normalise(given["negative"]).requires_grad_(True)
    highest = network.head.logits(network.backbone.features(x)[-1]).max(dim=1).values.sum()
    (gradient,) = torch.autograd.grad(highest, x)
    steps = torch.stack([one / one.abs().max() for one in gradient])
    scores = network.head.logits(network.backbone.features(x.detach() + 0.07 * steps)[-1])
    torch.testing.assert_close(terms["negatives"], 0.25 * soft_margin(scores, torch.zeros_like(scores)))
    features = network.backbone(given["image"])[-1]
    vectors = [features.mean((2, 3)), network.inside, network.outside]
    if normalised:
        length = network.inside.square().sum(1).sqrt().mean()
        vectors = [torch.stack([length * one / one.square().sum().sqrt() for one in group]) for group in vectors]
    away = distance(vectors[0], given["labels"], vectors[1], vectors[2], 0.2, chosen=normalised)
    torch.testing.assert_close(terms["distance"], 0.007 * away)
    own = network.head.loss(features, given["labels"], AFTER, rng())
    for name, term in own.items():
        torch.testing.assert_close(terms[name], term)
    assert terms.keys() == own.keys() | {"negatives", "distance"}


def test_features_that_grow_are_no_farther_from_negatives() -> None:
    def term(growth: float, normalised: bool) -> float:
        network = trainee(settings=replace(SHORT, normalised=normalised))
        features = network._maps
        network._maps = lambda x: [growth * each for each in features(x)]  # type: ignore[method-assign]
        return float(network.terms(batch(), 1, rng())["distance"].detach())

    assert term(9.0, normalised=True) == pytest.approx(term(1.0, normalised=True), abs=1e-6)
    assert term(9.0, normalised=False) < term(1.0, normalised=False) - 1e-3  # the published term


def test_the_step_makes_negatives_harder_and_parts_change_nothing() -> None:
    network = trainee()
    x = network.backbone.normalise(batch()["negative"])
    with torch.no_grad():
        before, after = (network.head.logits(network._last(one)).amax(1) for one in (x, network.hardened(x)))
    assert bool((after > before).all())
    whole = network.terms(batch(), 1, rng())
    network.parts = 2
    for name, term in network.terms(batch(), 1, rng()).items():
        torch.testing.assert_close(term, whole[name])
    assert torch.equal(trainee(settings=replace(SHORT, climb=0.0)).hardened(x), x)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_terms_without_weight_are_left_out_and_early_layers_are_not_trained() -> None:
    network = trainee(settings=replace(SHORT, negative_weight=0.0, distance_weight=0.0))
    assert network.terms(batch(), 1, rng()).keys() == {"classify"}
    sum(trainee().terms(batch(), 1, rng()).values(), torch.zeros(())).backward()
    trained = {name for name, p in network.backbone.named_parameters() if p.requires_grad}
    assert trained and not any(name.startswith(("net.conv1", "net.layer1", "net.layer2")) for name in trained)
    grouped = {id(p) for group in network.groups() for p in group.params}
    assert grouped == {id(p) for p in network.parameters()}


def context(folder: Path) -> MethodContext:
    return method_context(Tagged(), folder, network=classifier())


def test_it_trains_on_and_reads_the_maps_of_the_result(tmp_path: Path) -> None:
    given = context(tmp_path)
    before = {key: value.clone() for key, value in given.classifier.state_dict().items()}  # type: ignore[attr-defined]
    sample = Tagged()[1]
    found = SHORT.prepare(given)(sample)
    plain = Cam(scales=(1.0,)).prepare(given)(sample)
    assert found.classes == plain.classes == (1, 2)
    assert float((found.maps - plain.maps).abs().max()) > 1e-3
    assert all(torch.equal(value, before[key]) for key, value in given.classifier.state_dict().items())  # type: ignore[attr-defined]
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert {"model.safetensors", "centres.safetensors", "history.json"} <= times.keys()
    again = SHORT.prepare(context(tmp_path))(sample)  # loads what was trained
    assert torch.equal(again.maps, found.maps) and again.scores == found.scores
    assert times == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_photographs_of_a_folder_count(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(outside / "rails.png")
    one = SHORT.prepare(context(tmp_path / "a"))(Tagged()[0])
    other = replace(SHORT, folder=str(outside)).prepare(context(tmp_path / "b"))(Tagged()[0])
    assert one.scores != pytest.approx(other.scores, abs=1e-6)
    assert SHORT.fingerprint() == "" != replace(SHORT, folder=str(outside)).fingerprint()


@pytest.mark.parametrize("settings", [{"clusters": 0}, {"nearest": 1.5}, {"climb": -0.1}, {"negative_weight": -1.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"^Ood\."):
        Ood(**settings)


def test_a_base_that_trains_is_refused() -> None:
    with pytest.raises(InputError, match=r"seeds\.base to be a method that trains nothing itself.*, got Amn"):
        Ood(base=Amn(labels=lambda image, seeds: np.zeros(seeds.size, np.uint8)))
