"""CLIP-ES with a small random model, against transformers' own forward pass and the formulas as they are written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from clip_model import BLOCKS, PATCH, write_clip
from deft.artifacts.contents import whole
from deft.contracts import Dataset, InputError, Sample, SeedMaps, Splits
from deft.seedmaps import grid
from deft.seeds.clip_network import ClipNetwork, load_clip, positions
from deft.seeds.clip_text import ClipText
from fakes import Scenes, method_context, noise, uninstall

EXACT = "32-true"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def network(model: Path) -> ClipNetwork:
    return load_clip(model, "seeds.model", 2, EXACT, torch.device("cpu"))


def settings(model: Path, **changed: Any) -> ClipText:
    return ClipText(model=str(model), layers=2, **changed)


def slow_map(network: ClipNetwork, pixels: Tensor, texts: Tensor, k: int) -> Tensor:
    """The map of text ``k`` on the patches, by transformers' own layers, attention and autograd."""
    model = network.model
    model.set_attn_implementation("eager")
    size = (pixels.shape[-2] // PATCH, pixels.shape[-1] // PATCH)
    vision, kept = model.vision_model, {}
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    table = vision.embeddings.position_embedding.weight
    tokens = vision.embeddings.patch_embedding((pixels / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    tokens = torch.cat([vision.embeddings.class_embedding.view(1, 1, -1), tokens.flatten(2).transpose(1, 2)], dim=1)
    tokens = vision.pre_layrnorm(tokens + positions(table, size))
    attentions = []
    for block in vision.encoder.layers:
        normed = block.layer_norm1(tokens).detach().requires_grad_()
        kept["normed"] = normed
        mixed, weights = block.self_attn(normed, attention_mask=None)
        attentions.append(weights[0].mean(dim=0)[1:, 1:].detach())
        tokens = tokens.detach() + mixed
        tokens = tokens + block.mlp(block.layer_norm2(tokens))
    vector = F.normalize(model.visual_projection(vision.post_layernorm(tokens)[0, 1:].mean(dim=0)), dim=0)
    score = (model.logit_scale.exp() * texts @ vector).softmax(dim=0)[k]
    (gradient,) = torch.autograd.grad(score, kept["normed"])
    cam = (kept["normed"][0, 1:] * gradient[0, 1:].mean(dim=0)).sum(dim=1).relu().detach()
    cam = (cam - cam.min()) / (cam.max() - cam.min() + 1e-7)
    spread = torch.stack(attentions[-2:]).mean(dim=0)
    for _ in range(3):
        spread = spread / spread.sum(dim=0, keepdim=True)
        spread = spread / spread.sum(dim=1, keepdim=True)
    spread = (spread + spread.T) / 2
    spread = spread @ spread
    from deft.seeds.caa import inside_boxes

    spread[:, ~inside_boxes(cam.view(size), 0.4).flatten()] = 0
    found = (spread @ cam).view(size)
    return (found - found.min()) / (found.max() - found.min() + 1e-7)


def test_maps_are_those_of_the_formulas(model: Path, network: ClipNetwork) -> None:
    image = noise(5 * PATCH, 6 * PATCH)
    texts = network.texts([["a cat"], ["a dog", "a hound"], ["grass"], ["sky"]])
    method = settings(model)
    found = method.maps(network, Sample("", image, np.array([True, True])), texts[:2], texts[2:])
    assert found.classes == (0, 1) and found.maps.shape == (2, *grid(image.shape[:2]))
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float()
    for place in (0, 1):
        slow = F.interpolate(slow_map(network, pixels, texts, place)[None, None], size=image.shape[:2], mode="bilinear")
        assert torch.allclose(found.maps[place], slow[0, 0, ::4, ::4], atol=1e-3)
        assert slow.max() > 0.9
    alone = method.maps(network, Sample("", image, np.array([True, False])), texts[:2], texts[2:])
    slow = F.interpolate(
        slow_map(network, pixels, texts[[0, 2, 3]], 0)[None, None], size=image.shape[:2], mode="bilinear"
    )
    assert torch.allclose(alone.maps[0], slow[0, 0, ::4, ::4], atol=1e-3)  # only classes of the image compete


def test_the_image_tower_is_that_of_transformers(network: ClipNetwork) -> None:
    """At the size that the model was made for, where no table is interpolated."""
    pixels = torch.from_numpy(noise(32, 32).transpose(2, 0, 1).copy())[None].float()
    _, vector = network.last(network.see(pixels))
    given = (pixels / 255 - network.mean) / network.std
    hidden = network.model.vision_model(given).last_hidden_state
    patches = network.model.vision_model.post_layernorm(hidden[0, 1:])
    assert torch.allclose(vector, F.normalize(network.model.visual_projection(patches.mean(dim=0)), dim=0), atol=1e-5)


def test_texts_are_means_of_vectors_of_length_1(network: ClipNetwork) -> None:
    both = network.texts([["a cat", "the kitten"]])
    one, other = network.texts([["a cat"], ["the kitten"]])
    assert torch.allclose(both[0], F.normalize(one + other, dim=0), atol=1e-6)
    with pytest.raises(InputError, match=r"expected prompts of at most 48 tokens, .* got 102 in 'xxx"):
        network.texts([["x" * 100]])


def test_positions_are_those_of_the_model_at_its_size_and_bilinear_elsewhere() -> None:
    table = torch.cat([torch.full((1, 1), 7.0), torch.arange(4.0)[:, None]])
    assert torch.equal(positions(table, (2, 2))[0], table)
    wide = positions(table, (2, 4))[0, :, 0]
    assert wide.tolist() == [7, 0, 0.25, 0.75, 1, 2, 2.25, 2.75, 3]


def split(size: tuple[int, int] = (40, 56)) -> Dataset:
    found: Any = Scenes()
    found.labels = np.array([[True, False]] * 4)
    return found


@pytest.mark.parametrize(("height", "width"), [(3, 5), (17, 200), (64, 48)])
def test_images_of_any_size_have_maps_on_their_grid(height: int, width: int, model: Path, tmp_path: Path) -> None:
    locate = settings(model, largest=64).prepare(method_context(split(), tmp_path))
    found = locate(Sample("", noise(height, width), np.array([True, True])))
    assert isinstance(found, SeedMaps) and found.maps.shape == (2, *grid((height, width)))
    assert 0 <= float(found.maps.min()) <= float(found.maps.max()) <= 1
    assert torch.equal(found.maps, locate(Sample("", noise(height, width), np.array([True, True]))).maps)


def test_images_without_tags_show_nothing_or_what_zero_shot_presence_finds(model: Path, tmp_path: Path) -> None:
    sample, context = Sample("", noise(40, 40), np.zeros(2, dtype=bool)), method_context(split(), tmp_path)
    plain = settings(model).prepare(context)(sample)
    assert plain.classes == () and len(plain.scores) == 2 and 0 < sum(plain.scores) < 1
    found = settings(model, zero_shot=True, presence=min(plain.scores)).prepare(context)(sample)
    assert found.classes == (int(np.argmax(plain.scores)),) and found.scores == plain.scores
    assert settings(model, zero_shot=True, presence=1.0).prepare(context)(sample).classes == ()
    tagged = dataclasses.replace(sample, labels=np.array([True, False]))
    both = [settings(model, zero_shot=on).prepare(context)(tagged) for on in (False, True)]
    assert both[0].classes == both[1].classes == (0,) and torch.equal(both[0].maps, both[1].maps)


def test_prompts_and_models_are_part_of_the_fingerprint(model: Path, tmp_path: Path) -> None:
    first = settings(model).fingerprint()
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("class,prompts\nsquare,a red square\n")
    second = settings(model, prompts=str(prompts)).fingerprint_of(("x",), whole)
    prompts.write_text("class,prompts\nsquare,a square\n")
    assert len({first, second, settings(model, prompts=str(prompts)).fingerprint()}) == 3


def faulty(model: Path, folder: Path, **config: Any) -> Path:
    """A copy of the model with other settings, and without the files that are None."""
    folder.mkdir()
    for path in model.iterdir():
        if path.name not in config:
            (folder / path.name).write_bytes(path.read_bytes())
    changed = {name: value for name, value in config.items() if value is not None}
    if changed:
        content = json.loads((folder / "config.json").read_text()) | changed
        (folder / "config.json").write_text(json.dumps(content))
    return folder


def test_what_is_missing_is_told_before_the_run(model: Path, tmp_path: Path) -> None:
    splits, context = Splits(split(), None), method_context(split(), tmp_path)
    settings(model).check(splits)
    for name, method, message in (
        ("none", ClipText(), r"seeds\.model: expected the folder of a model, or its name on the hub, got nothing"),
        ("gone", ClipText(str(tmp_path / "gone")), r"seeds\.model: expected the folder of a model, or OWNER/NAME"),
        ("layers", ClipText(str(model)), rf"seeds\.layers: expected at most {BLOCKS}, .*, got 8; give --set"),
        ("long", settings(model, templates=("x" * 99 + "{}",)), "expected prompts of at most 48 tokens"),
        ("empty", settings(tmp_path), r"found no config\.json in it"),
    ):
        with pytest.raises(InputError, match=message):
            method.check(splits)
        assert name
    for name, changes, message in (
        ("siglip", {"model_type": "siglip"}, "expected a model of the type 'clip', with both towers, got 'siglip'"),
        ("weights", {"model.safetensors": None}, r"found no weights, model\.safetensors"),
        ("words", {"vocab.json": None}, "found no tokeniser"),
    ):
        with pytest.raises(InputError, match=message):
            settings(faulty(model, tmp_path / name, **changes)).check(splits)
    broken = faulty(model, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"nothing")
    for work in (lambda: settings(broken).check(splits), lambda: settings(broken).prepare(context)):
        with pytest.raises(InputError, match=r"seeds\.model: transformers cannot load the model"):
            work()
    state = load_file(model / "model.safetensors")
    save_file({name: one for name, one in state.items() if "text_model" not in name}, broken / "model.safetensors")
    for work in (lambda: settings(broken).check(splits), lambda: settings(broken).prepare(context)):
        with pytest.raises(InputError, match=r"seeds\.model: .*expected files with all weights of a CLIPModel"):
            work()
    (broken / "config.json").write_text("[")
    with pytest.raises(InputError, match=r"its config\.json is not what transformers writes"):
        settings(broken).check(splits)


def test_a_name_on_the_hub_that_cannot_be_had_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deft.backbone.from_transformers.hub_answers", lambda: False)
    with pytest.raises(InputError, match=r"seeds\.model: nobody/nothing is no folder here, and cannot be had from"):
        ClipText("nobody/nothing").check(Splits(split(), None))


def test_without_transformers_the_extra_is_named(model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uninstall("transformers", monkeypatch)
    with pytest.raises(InputError, match=r"seeds of CLIP need transformers.*pip install 'deft-wsss\[clip\]'"):
        settings(model).check(Splits(split(), None))
    with pytest.raises(InputError, match=r"pip install 'deft-wsss\[clip\]'"):
        settings(model).prepare(method_context(split(), tmp_path))


@pytest.mark.parametrize(
    "wrong", [{"templates": ("a photo",)}, {"templates": ()}, {"box": 1.5}, {"box": 1.0}, {"presence": -1.0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^ClipText\."):
        ClipText(**wrong)
