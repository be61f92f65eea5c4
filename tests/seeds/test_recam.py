"""ReCAM's loss is that of its formula, and its maps are those of the products of both classifiers' weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import deft
from deft.classify.classifier import Classifier
from deft.classify.deft import DeftHead
from deft.classify.drs import DrsHead
from deft.classify.linear import LinearHead
from deft.contracts import InputError, Sample
from deft.engine.head import Head
from deft.engine.method import MethodContext
from deft.engine.optimise import Sgd
from deft.engine.plan import Plan
from deft.recipes import recam
from deft.seeds.cam import Cam
from deft.seeds.ood import AFTER, Ood
from deft.seeds.recam import ReCam, ReCamModule, ReCamNetwork
from fakes import Scenes, classifier, method_context, rng
from short import tiny

SHORT = ReCam(base=Cam(scales=(1.0,)), plan=Plan(epochs=1, min_steps=3, batch=2, optimiser=Sgd(lr=0.5), workers=0))
HEADS = [LinearHead(), DeftHead(maps=4)]


class Tagged(Scenes):
    """Scenes of three classes, one without a tag."""

    classes = ("one", "two", "three")
    labels = np.array([[True, False, False], [False, True, True], [False, False, True], [False, False, False]])

    def __getitem__(self, index: int) -> Sample:
        return replace(super().__getitem__(index), labels=self.labels[index])


def trainee(head: Head, settings: ReCam = SHORT) -> ReCamNetwork:
    own = classifier(head)
    module = ReCamModule(own.head, own.backbone.channels[-1], settings.weight)
    return ReCamNetwork(own.backbone, module, settings)


def batch() -> dict[str, torch.Tensor]:
    image = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=rng(3))
    return {"image": image, "labels": torch.tensor([[1.0, 0, 1.0], [0, 1.0, 0], [0, 0, 0]])}


def single(network: ReCamNetwork, features: Tensor, labels: Tensor) -> Tensor:
    """The second classifier's loss of features (N, C, h, w) and labels (N, K), tag by tag."""
    maps, total = network.head.first.cell_scores(features).relu(), torch.zeros(())
    for n in range(len(labels)):
        own = []
        for k in range(labels.shape[1]):
            if labels[n, k]:
                cam = maps[n, k] / (maps[n, k].max() + 1e-5)
                vector = (cam * features[n]).mean((1, 2))
                own.append(F.cross_entropy(network.head.second(vector)[None], torch.tensor([k])))
        total = total + (sum(own) / len(own) if own else 0.0)
    return total / len(labels)


@pytest.mark.parametrize("head", HEADS)
def test_terms_against_the_formulas(head: Head) -> None:
    network, given = trainee(head), batch()
    terms = network.terms(given, 1, rng())
    features = network.backbone(given["image"])[-1]
    torch.testing.assert_close(terms["single"], single(network, features, given["labels"]), rtol=1e-4, atol=0)
    first = network.head.first.loss(features, given["labels"], AFTER, rng())
    for name, term in first.items():
        torch.testing.assert_close(terms[name], term)
    assert terms.keys() == first.keys() | {"single"}
    network.parts = 3
    torch.testing.assert_close(network.terms(given, 1, rng())["single"], terms["single"])
    assert "single" not in trainee(head, replace(SHORT, weight=0.0)).terms(given, 1, rng())


@pytest.mark.parametrize("head", HEADS)
def test_slopes_are_those_of_the_formula(head: Head) -> None:
    """Nothing is detached: neither the features that are pooled, nor the maps that weight them."""
    network, labels = trainee(head), batch()["labels"]
    features = torch.randn(3, network.backbone.channels[-1], 3, 4, generator=rng(4)).requires_grad_(True)
    weight = network.head.first.classifier.weight if isinstance(head, LinearHead) else network.head.first.f_fg.weight
    to = (features, weight, network.head.second.weight)
    found = torch.autograd.grad(network.head.single(features, labels), to)
    for slope, expected in zip(found, torch.autograd.grad(single(network, features, labels), to), strict=True):
        torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("stride", "frozen"), [(2, ("net.conv1.", "net.bn1.")), (4, ("net.conv1.", "net.bn1.", "net.layer1."))]
)
def test_early_layers_and_the_statistics_of_batch_norms_stay(stride: int, frozen: tuple[str, ...]) -> None:
    network = trainee(LinearHead(), replace(SHORT, freeze_stride=stride)).train()
    for name, parameter in network.backbone.named_parameters():
        assert parameter.requires_grad == (not name.startswith(frozen))
    norms = [module for module in network.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)
    assert network.head.training and all(parameter.requires_grad for parameter in network.head.parameters())


def test_gradients_reach_all_that_is_trained() -> None:
    network = trainee(LinearHead())
    network.terms(batch(), 1, rng())["single"].backward()
    weight = network.head.first.classifier.weight
    assert weight.grad is not None and bool(weight.grad.any())  # the maps are not detached
    assert bool(network.head.second.weight.grad.any())
    assert {id(p) for group in network.groups() for p in group.params} == {id(p) for p in network.parameters()}
    assert [group.lr for group in network.groups()] == [0.1, 1.0]


@pytest.mark.parametrize("head", HEADS)
def test_maps_are_those_of_both_weights(head: Head) -> None:
    network = trainee(head)
    features = torch.rand(2, network.backbone.channels[-1], 3, 4, generator=rng(4))  # as after a ReLU
    first = network.head.first
    weight = first.classifier.weight[:, :, 0, 0] if isinstance(head, LinearHead) else first.f_fg.weight
    expected = torch.einsum("kc,kc,nchw->nkhw", weight, network.head.second.weight, features).relu()
    torch.testing.assert_close(network.head.activation(features)[:, 0], expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(network.head.logits(features), first.logits(features))


@pytest.mark.parametrize("head", HEADS)
def test_a_channel_may_have_either_sign(head: Head) -> None:
    """A channel and its weights with the opposite sign say the same about every cell."""
    network = trainee(head)
    features = torch.randn(2, network.backbone.channels[-1], 3, 4, generator=rng(4))
    first, second = network.head.first, network.head.second
    weight = first.classifier.weight if isinstance(head, LinearHead) else first.f_fg.weight
    maps, scores = network.head.activation(features), first.cell_scores(features)
    with torch.no_grad():
        weight[:, ::2] *= -1
        second.weight[:, ::2] *= -1
    features[:, ::2] *= -1
    torch.testing.assert_close(first.cell_scores(features), scores)
    torch.testing.assert_close(network.head.activation(features), maps)


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
    again = SHORT.prepare(context(tmp_path))(sample)  # loads what was trained
    assert torch.equal(again.maps, found.maps) and again.scores == found.scores


def test_settings_and_classifiers_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a method that trains nothing itself, such as Cam, got Ood"):
        ReCam(base=Ood())
    with pytest.raises(InputError, match=r"ReCam\.slower"):
        ReCam(slower=-1.0)
    with pytest.raises(InputError, match=r"products of weights and features.*got one of DrsModule; choose LinearHead"):
        trainee(DrsHead(width=6))


@pytest.mark.parametrize("head", HEADS)
def test_heads_that_it_can_read_are_let_through(head: Head) -> None:
    small = Classifier(head=head).small_head(16)
    assert small is not None
    ReCam().fits(small, 16)


def test_a_head_that_it_cannot_read_is_refused_before_work(folder_data: Path, tmp_path: Path) -> None:
    pipeline = tiny(recam())
    wrong = replace(pipeline, classifier=replace(pipeline.own_classifier, head=DrsHead(width=6)))
    with pytest.raises(InputError, match="products of weights and features"):
        deft.run(wrong, f"folder:{folder_data}", tmp_path / "run")
    assert not (tmp_path / "run").exists()
