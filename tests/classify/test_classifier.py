from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.augment import (
    CoMixup,
    CutMix,
    Cutout,
    HideAndSeek,
    ManifoldMixup,
    Mixup,
    NoisyFeatureMixup,
    PuzzleMix,
    SuperMix,
)
from deft.backbone import build_backbone
from deft.classify.classifier import Classifier, ClassifierNetwork, load_classifier, save_classifier
from deft.classify.deft import DeftHead
from deft.classify.gradients import evaluating
from deft.classify.linear import LinearHead, LinearModule
from deft.classify.puzzle_cam import PuzzleHead
from deft.classify.seam import SeamHead
from deft.classify.sma import SmaHead
from deft.contracts import Augmentation, Gradients, InputError, SalientAugmentation
from deft.engine.head import Head, HeadModule, Look
from deft.engine.plan import Plan


def build(
    head: Head, pretrained: bool = False, augment: Augmentation | SalientAugmentation | None = None
) -> ClassifierNetwork:
    torch.manual_seed(0)
    backbone = build_backbone("test_resnet", "none", 16)
    backbone.pretrained = pretrained
    return Classifier(head=head, plan=Plan(epochs=10, min_steps=0, batch=4), augment=augment).build(backbone, 3)


def examples() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        "image": torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=rng),
        "labels": torch.eye(3)[[0, 1, 2, 0]],
    }


@dataclass(frozen=True)
class Turned:
    """Moves every image and its labels on by one place in the batch, doubled, at one layer."""

    at: int = 0

    def layer(self, layers: int, rng: torch.Generator) -> int:
        assert layers == 5
        return self.at

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return 2 * x.roll(1, 0), labels.roll(1, 0) / 2


@dataclass(frozen=True)
class Darkened:
    """Changes images and says nothing of layers."""

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return x / 2, labels * 0.9


def test_sizes_are_irns_on_voc() -> None:
    assert Classifier(head=LinearHead()).pixels(500) == (512, (320, 640))


def test_trained_weights_are_frozen_up_to_stride_8_and_random_ones_are_not() -> None:
    frozen, free = build(LinearHead(), pretrained=True), build(LinearHead())
    assert all(parameter.requires_grad for parameter in free.parameters())
    still = [name for name, parameter in frozen.backbone.named_parameters() if not parameter.requires_grad]
    moving = [name for name, parameter in frozen.backbone.named_parameters() if parameter.requires_grad]
    assert any("layer2" in name for name in still)
    assert moving
    assert all("layer3" in name or "layer4" in name for name in moving)
    norms = [module for module in frozen.train().modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)


def test_all_but_the_first_layers_can_be_trained() -> None:
    backbone = build_backbone("test_resnet", "none", 16)
    backbone.pretrained = True
    Classifier(head=LinearHead(), freeze_stride=2).build(backbone, 3)
    still = [name for name, parameter in backbone.named_parameters() if not parameter.requires_grad]
    assert still
    assert not any("layer" in name for name in still)


def test_a_plan_that_ends_before_the_swap_is_refused() -> None:
    with pytest.raises(InputError, match="nothing would be swapped"):
        plan = Plan(epochs=5, min_steps=0, batch=4)
        Classifier(head=DeftHead(swap_epoch=6), plan=plan).build(build_backbone("test_resnet", "none", 16), 3)


@dataclass(frozen=True)
class Plain:
    """Builds whatever it is told to."""

    built: type[nn.Module]

    def build(self, channels: int, classes: int) -> nn.Module:
        return self.built()


@pytest.mark.parametrize(
    ("built", "says"), [(nn.Identity, "HeadModule, got Identity"), (HeadModule, "lacks logits and activation")]
)
def test_a_head_that_cannot_be_trained_is_refused(built: type[nn.Module], says: str) -> None:
    with pytest.raises(InputError, match=says):
        build(Plain(built))


@pytest.mark.parametrize("head", [LinearHead(), DeftHead(maps=4)])
def test_steps_lower_the_loss_and_every_weight_is_in_a_group(head: Head) -> None:
    network = build(head).train()
    groups = network.groups()
    grouped = [id(parameter) for group in groups for parameter in group.params]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters())
    optimiser = torch.optim.SGD([{"params": group.params, "lr": 0.01 * group.lr} for group in groups])
    batch = examples()
    losses = []
    for step in range(8):
        terms = network.terms(batch, 1, torch.Generator().manual_seed(step))
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("head", [LinearHead(), DeftHead(maps=4)])
def test_views_are_images_of_the_batch(head: Head) -> None:
    network = build(head).eval()
    images = torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.eye(3)[[0, 1, 2, 0, 1, 2]]
    flat = network.terms({"image": images, "labels": labels}, 1, torch.Generator().manual_seed(0))
    pairs = {"image": torch.stack(images.chunk(2), dim=1), "labels": torch.stack(labels.chunk(2), dim=1)}
    viewed = network.terms(pairs, 1, torch.Generator().manual_seed(0))
    assert flat.keys() == viewed.keys()
    assert all(torch.equal(flat[name], viewed[name]) for name in flat)


def gradients(network: ClassifierNetwork, parts: int) -> dict[str, Tensor]:
    network.parts = parts
    network.zero_grad()
    terms = network.terms(examples(), 6, torch.Generator().manual_seed(0))
    torch.stack(list(terms.values())).sum().backward()
    return {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}


@pytest.mark.parametrize(
    "augment", [None, CutMix(), ManifoldMixup(layers=(3,)), PuzzleMix(cells=(2,)), SuperMix(steps=1)]
)
@pytest.mark.parametrize("head", [LinearHead(), DeftHead(maps=4), SmaHead(DeftHead(maps=4))])
def test_gradients_do_not_depend_on_parts(head: Head, augment: Augmentation | SalientAugmentation | None) -> None:
    network = build(head, pretrained=True, augment=augment).train()
    whole = gradients(network, 1)
    assert any(name.startswith("backbone") for name in whole)
    for parts in (2, 3):
        found = gradients(network, parts)
        assert found.keys() == whole.keys()
        for name, value in found.items():
            torch.testing.assert_close(value, whole[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", [LinearHead(), DeftHead(maps=4), SmaHead(DeftHead(maps=4))])
def test_half_precision_gives_about_the_same_terms(head: Head) -> None:
    network = build(head, augment=Mixup()).eval()
    expected = network.terms(examples(), 6, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = network.terms(examples(), 6, torch.Generator().manual_seed(0))
        scores = network.logits(examples()["image"])
    assert scores.dtype == torch.float32
    assert found.keys() == expected.keys()
    for name, term in expected.items():
        torch.testing.assert_close(found[name].float(), term, rtol=0.05, atol=0.01)


def test_a_stored_classifier_gives_the_same_scores(tmp_path: Path) -> None:
    network = build(DeftHead(maps=4)).eval()
    save_classifier(tmp_path / "model.safetensors", network, ("a", "b", "c"), "key")
    again = load_classifier(tmp_path / "model.safetensors", DeftHead(maps=4))
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(network.logits(images), again.logits(images), atol=1e-5)
    with pytest.raises(InputError):
        load_classifier(tmp_path / "none.safetensors", DeftHead())


@pytest.mark.parametrize("at", range(6))
def test_an_augmentation_changes_the_layer_it_names_and_the_labels_go_along(at: int) -> None:
    """The reference walks the network stage by stage and changes the map by hand."""
    network = build(LinearHead(), augment=Turned(at)).eval()
    batch, rng = examples(), torch.Generator()
    x = network.backbone.normalise(batch["image"])
    labels = batch["labels"].roll(1, 0) / 2
    stages, maps = [info["module"] for info in network.backbone.net.feature_info.get_dicts()], 0
    x = 2 * x.roll(1, 0) if at == 0 else x
    for name, module in network.backbone.net.named_children():
        x = module(x)
        if name in stages:
            maps += 1
            x = 2 * x.roll(1, 0) if at == maps else x
    assert maps == 5
    scores = network.head.classifier(x).mean((2, 3))
    expected = F.binary_cross_entropy_with_logits(scores, labels)
    assert torch.allclose(network.terms(batch, 1, rng)["classify"], expected, atol=1e-5)
    without = build(LinearHead()).eval().terms(batch, 1, rng)["classify"]
    assert not torch.allclose(without, expected, atol=1e-4)


def test_an_augmentation_without_layers_changes_images() -> None:
    network = build(LinearHead(), augment=Darkened()).eval()
    batch = examples()
    features = network.backbone.features(network.backbone.normalise(batch["image"]) / 2)[-1]
    expected = network.head.loss(features, batch["labels"] * 0.9, 1, torch.Generator())
    found = network.terms(batch, 1, torch.Generator())
    assert all(torch.allclose(found[name], term) for name, term in expected.items())


def test_scores_and_stored_weights_know_no_augmentation(tmp_path: Path) -> None:
    augmented, plain = build(LinearHead(), augment=Turned(2)).eval(), build(LinearHead()).eval()
    images = examples()["image"]
    with torch.no_grad():
        assert torch.equal(augmented.logits(images), plain.logits(images))
    save_classifier(tmp_path / "model.safetensors", augmented, ("a", "b", "c"), "key")
    assert load_classifier(tmp_path / "model.safetensors", LinearHead()).augment is None


def test_mixing_behind_the_frozen_stages_trains_what_mixing_before_them_does() -> None:
    for at in (0, 2, 3, 4):
        network = build(LinearHead(), pretrained=True, augment=ManifoldMixup(layers=(at,))).train()
        torch.stack(list(network.terms(examples(), 1, torch.Generator().manual_seed(0)).values())).sum().backward()
        trained = {name for name, parameter in network.backbone.named_parameters() if parameter.grad is not None}
        assert trained == {name for name, parameter in network.backbone.named_parameters() if parameter.requires_grad}


AUGMENTATIONS = [Mixup(), ManifoldMixup(), Cutout(), CutMix(), CutMix(union=True), HideAndSeek(), NoisyFeatureMixup()]


@pytest.mark.parametrize("head", [LinearHead(), DeftHead(maps=4, swap_epoch=1)])
@pytest.mark.parametrize("augment", [*AUGMENTATIONS, PuzzleMix(cells=(2,)), CoMixup(rounds=1), SuperMix(steps=1)])
def test_every_head_learns_from_every_augmentation(head: Head, augment: Augmentation | SalientAugmentation) -> None:
    network = build(head, augment=augment).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    before = {name: parameter.detach().clone() for name, parameter in network.head.named_parameters()}
    for step in range(2):
        loss = torch.stack(list(network.terms(examples(), 1, torch.Generator().manual_seed(step)).values())).sum()
        assert torch.isfinite(loss)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = dict(network.head.named_parameters())
    assert all(not torch.equal(before[name], after[name]) for name in before if name.endswith("weight"))


class Looking(LinearModule):
    """A head that compares views, whose settings do not say so."""

    def loss_of_views(
        self, maps: Sequence[Tensor], look: Look, labels: Tensor, epoch: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        other = look(maps[-1].new_zeros(len(labels), 3, 32, 32))
        return {"difference": (self.logits(maps[-1]) - self.logits(other[-1])).abs().mean()}


@pytest.mark.parametrize("head", [SeamHead(), PuzzleHead(base=DeftHead())])
def test_augmented_features_and_views_of_a_head_are_refused_before_any_work(head: Head) -> None:
    with pytest.raises(InputError, match=f"ManifoldMixup changes features, and {type(head).__name__} compares"):
        Classifier(head=head, augment=ManifoldMixup())
    assert Classifier(head=head, augment=Mixup()).augment == Mixup()


def test_a_head_that_does_not_say_that_it_looks_is_refused_when_it_does() -> None:
    backbone = build_backbone("test_resnet", "none", 16)
    batch = {"image": torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "labels": torch.ones(2, 2)}
    head = Looking(LinearHead(), backbone.channels[-1], 2)
    assert ClassifierNetwork(backbone, head, Mixup()).terms(batch, 1, torch.Generator()).keys() == {"difference"}
    with pytest.raises(InputError, match="ManifoldMixup changes features, and Looking compares"):
        ClassifierNetwork(backbone, head, ManifoldMixup(layers=(1,))).terms(batch, 1, torch.Generator())


@dataclass(frozen=True)
class Lit:
    """Adds the gradient of the loss to each image, and takes the scores as labels."""

    salient = True

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator, gradients: Gradients) -> tuple[Tensor, Tensor]:
        scores, gradient = gradients(x, labels)
        assert not scores.requires_grad and not gradient.requires_grad
        return x + 100 * gradient, scores.sigmoid()


@pytest.mark.parametrize("head", [LinearHead(), DeftHead(maps=4), SmaHead(DeftHead(maps=4))])
def test_an_augmentation_gets_gradients_of_each_image_alone_and_the_network_stays_as_it_is(head: Head) -> None:
    network = build(head, augment=Lit()).train()  # random weights: batch norms are trained
    plain = build(head).train()
    batch = examples()
    x = network.backbone.normalise(batch["image"])
    with evaluating(plain):
        lit, targets = [], []
        for index in range(4):
            one = x[index : index + 1].clone().requires_grad_(True)
            scores = plain.head.logits(plain.backbone.features(one)[-1])
            F.binary_cross_entropy_with_logits(scores, batch["labels"][index : index + 1], reduction="sum").backward()
            lit.append(one.detach() + 100 * one.grad)
            targets.append(scores.detach().sigmoid())
    plain.zero_grad()
    before = torch.get_rng_state()
    found = network.terms(batch, 1, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)
    maps = plain.look(torch.cat(lit))
    expected = plain.head.loss_of_maps(maps, torch.cat(targets), 1, torch.Generator().manual_seed(0))
    assert all(torch.allclose(found[name], term, rtol=1e-3, atol=1e-5) for name, term in expected.items())
    assert all(parameter.grad is None for parameter in network.parameters())
    for (name, ours), theirs in zip(network.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5, msg=name)  # one training pass each
    assert [part.training for part in network.modules()] == [part.training for part in plain.modules()]


def test_gradients_in_half_precision_are_about_the_same() -> None:
    network = build(LinearHead()).train()
    x, labels = network.backbone.normalise(examples()["image"]), examples()["labels"]
    scores, exact = network._gradients(x, labels)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        about, rough = network._gradients(x, labels)
    assert about.dtype == rough.dtype == torch.float32
    torch.testing.assert_close(about, scores, rtol=0.05, atol=0.05)
    assert F.cosine_similarity(exact.flatten(), rough.flatten(), dim=0) > 0.98
