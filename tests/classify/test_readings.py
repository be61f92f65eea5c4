"""Each reading of Eq. 7 against a literal loop, and one of the user's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from deft.classify.deft import DeftHead, DeftModule
from deft.classify.linear import LinearHead
from deft.classify.readings import READINGS, Eq7, Eq7Relu, Eq7Sigmoid, MaskedObject, ObjectMap, Reading, class_map
from deft.cli.main import main

N, C, K, H, W = 4, 6, 3, 5, 7


def build(reading: Reading) -> tuple[DeftModule, torch.Tensor]:
    torch.manual_seed(1)
    features = torch.randn(N, C, H, W, generator=torch.Generator().manual_seed(0))
    return DeftHead(maps=4, map=reading).build(C, K), features


def scores(head: DeftModule, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """w_fg z and w_bg z, (N, K, h, w), without bias."""
    fg, bg = (torch.einsum("kc,nchw->nkhw", linear.weight, features) for linear in (head.f_fg, head.f_bg))
    return fg, bg


def test_eq7_equals_a_literal_loop() -> None:
    head, features = build(Eq7(power=2.0))
    with torch.no_grad():
        activation = head.activation(features)
        seeds = head.combine(activation[0] + 2 * activation[1])
        each_fg, each_bg = scores(head, features)
        fg, bg = each_fg[0].clamp(min=0) + 2 * each_fg[1].clamp(min=0), each_bg[0] + 2 * each_bg[1]
    for k in range(K):
        low, high = float(bg[k].min()), float(bg[k].max())
        for y in range(H):
            for x in range(W):
                a = float(fg[k, y, x] / fg[k].max())
                b = (float(bg[k, y, x]) - low) / (high - low)
                assert float(seeds[k, y, x]) == pytest.approx(max(a, 1 - b) ** 2, abs=1e-4)


def test_eq7_is_the_papers_equation_of_the_stretched_map() -> None:
    head, features = build(Eq7(power=1.0))
    with torch.no_grad():
        fg, bg = (each[0] for each in scores(head, features))
        low, high = bg.amin((1, 2), keepdim=True), bg.amax((1, 2), keepdim=True)
        expected = class_map(fg.relu() / fg.amax((1, 2), keepdim=True), (bg - low) / (high - low))
        torch.testing.assert_close(head.combine(head.activation(features)[0]), expected, atol=1e-4, rtol=0)


def test_eq7_of_rectified_maps_equals_a_literal_loop() -> None:
    head, features = build(Eq7Relu())
    with torch.no_grad():
        summed = head.activation(features).sum(dim=0)
        seeds = head.combine(summed)
    fg, bg = summed
    for k in range(K):
        for y in range(H):
            for x in range(W):
                a = float(fg[k, y, x] / (fg[k].max() + 1e-5))
                b = float(bg[k, y, x] / (bg[k].max() + 1e-5))
                assert float(seeds[k, y, x]) == pytest.approx(max(a, 1 - b), abs=1e-6)


def test_eq7_sigmoid_averages_over_scales() -> None:
    head, features = build(Eq7Sigmoid())
    with torch.no_grad():
        once = head.activation(features)[0]
        fg, bg = (each[0] for each in scores(head, features))
        fg, bg = fg + head.f_fg.bias[:, None, None], bg + head.f_bg.bias[:, None, None]
        torch.testing.assert_close(head.combine(once), class_map(fg.sigmoid(), bg.sigmoid()))
        torch.testing.assert_close(head.combine(3 * once), head.combine(once))


def test_a_masked_object_is_seen_where_it_is_no_less_than_background() -> None:
    head, features = build(MaskedObject())
    with torch.no_grad():
        seeds = head.combine(head.activation(features)[0])
        fg, bg = (each[0].clamp(min=0) for each in scores(head, features))
    for k in range(K):
        kept = [[float(fg[k, y, x]) if fg[k, y, x] >= bg[k, y, x] else 0.0 for x in range(W)] for y in range(H)]
        expected = torch.tensor(kept) / max(map(max, kept))
        torch.testing.assert_close(seeds[k], expected, atol=1e-4, rtol=0)


def test_the_object_map_is_the_plain_map_of_the_same_weights() -> None:
    head, features = build(ObjectMap())
    plain = LinearHead().build(C, K)
    with torch.no_grad():
        plain.classifier.weight.copy_(head.f_fg.weight[:, :, None, None])
        expected = plain.combine(plain.activation(features)[0])
        torch.testing.assert_close(head.combine(head.activation(features)[0]), expected)


@pytest.mark.parametrize("name", READINGS)
def test_every_map_is_within_bounds_and_begins_with_the_object(name: str) -> None:
    head, features = build(READINGS[name]())
    activation = head.activation(features)
    assert float(activation.detach().min()) >= 0
    fg, _ = scores(head, features)
    if name != "eq7_sigmoid":
        torch.testing.assert_close(activation[:, 0], fg.relu())
    seeds = head.combine(activation.sum(dim=0)).detach()
    assert seeds.shape == (K, H, W)
    assert float(seeds.min()) >= 0 and float(seeds.max()) <= 1


@dataclass(frozen=True)
class Above:
    """Where the object scores above the background, by some margin; whatever class this file does not know."""

    margin: float = 0.0

    def activation(self, fg: torch.Tensor, bg: torch.Tensor) -> torch.Tensor:
        return (fg - bg - self.margin).relu()[:, None]

    def combine(self, activation: torch.Tensor) -> torch.Tensor:
        return (activation[0] > 0).float()


def test_a_reading_of_ones_own_is_asked_for_its_map() -> None:
    head, features = build(Above(margin=0.1))
    fg, bg = scores(head, features)
    with torch.no_grad():
        assert torch.equal(head.combine(head.activation(features)[2]), (fg[2] - bg[2] > 0.1).float())


def test_a_reading_of_ones_own_runs_from_a_recipe_file(folder_data: Path, tmp_path: Path) -> None:
    (tmp_path / "above.py").write_text(
        """
from dataclasses import dataclass, replace

from deft import recipes
from deft.engine.head import normalise


@dataclass(frozen=True)
class Above:
    margin: float = 0.0

    def activation(self, fg, bg):
        return (fg - bg - self.margin).relu()[:, None]

    def combine(self, activation):
        return normalise(activation[0])


def recipe():
    base = recipes.irn_deft()
    head = replace(base.own_classifier.head, map=Above())
    return replace(base, classifier=replace(base.own_classifier, head=head), refine=None, segment=None)
"""
    )
    plan = [f"classifier.plan.{item}" for item in ("min_steps=4", "epochs=2", "batch=4", "workers=0")]
    settings = [*plan, "classifier.head.swap_epoch=2", "classifier.head.map.margin=0.01", "seeds.scales=[1.0]"]
    words = ["run", str(tmp_path / "above.py"), "--data", f"folder:{folder_data}", "--out", str(tmp_path / "run")]
    words += ["--backbone", "test_resnet", "--weights", "none"]
    assert main([*words, *(word for item in [*settings, "seed_threshold=0.3"] for word in ("--set", item))]) == 0
    head = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["classifier"]["head"]
    assert head["map"]["class"].endswith("Above")
    assert head["map"]["margin"] == 0.01
    assert head["swap_head"] == "linear"
    assert "map_power" not in head
