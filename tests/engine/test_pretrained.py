"""Weights of a small random CLIP, some of them missing, renamed or of another shape."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from clip_model import write_clip
from deft.backbone.from_transformers import from_transformers
from deft.contracts import InputError
from deft.engine.pretrained import check_weights, load_whole, weight_files

FIELD, NEEDS = "seeds.model", "tests need"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


def check(folder: Path) -> None:
    config = from_transformers("CLIPConfig", NEEDS).from_pretrained(str(folder))
    check_weights(from_transformers("CLIPModel", NEEDS), config, folder, FIELD, NEEDS)


def load(folder: Path) -> torch.nn.Module:
    found: torch.nn.Module = load_whole(from_transformers("CLIPModel", NEEDS), folder, FIELD, NEEDS)
    return found


def copy(model: Path, folder: Path, state: dict[str, Tensor]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_bytes((model / "config.json").read_bytes())
    save_file(state, folder / "model.safetensors")
    return folder


def test_a_whole_model_is_loaded_as_it_is_and_says_nothing(
    model: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    level = logging.getLogger("transformers").level
    check(model)
    state = load_file(model / "model.safetensors")
    assert all(torch.equal(state[name], one) for name, one in load(model).state_dict().items() if name in state)
    assert capfd.readouterr().err == "" and not caplog.records
    assert logging.getLogger("transformers").level == level


def test_names_that_transformers_knows_and_weights_that_it_does_not_need_are_allowed(
    model: Path, tmp_path: Path
) -> None:
    state = load_file(model / "model.safetensors")
    ids = {"text_model.embeddings.position_ids": torch.arange(48)[None], "classifier.weight": torch.ones(3, 24)}
    for name, other in (
        ("more", state | ids),
        ("prefix", {f"clip.{key}": one for key, one in state.items()}),
        ("half", {key: one.half() for key, one in state.items()}),
    ):
        check(copy(model, tmp_path / name, other))
        assert torch.allclose(load(tmp_path / name).state_dict()["logit_scale"], state["logit_scale"], atol=1e-2)


def test_a_model_without_all_of_its_weights_is_refused_by_its_headers_and_when_it_is_loaded(
    model: Path, tmp_path: Path
) -> None:
    state = load_file(model / "model.safetensors")
    without = {name: one for name, one in state.items() if not name.startswith("text_")}
    for name, other, message in (
        ("tower", without, r"got files without 53 of them \(text_model\.[^ ]+, .*, \.\.\.\); download"),
        (
            "wrapped",
            {f"module.{key}": one for key, one in state.items()},
            r"got files without 110 of them \(logit_scale, .*\) and with 110 .* \(module\.logit_scale, ",
        ),
        (
            "shape",
            state | {"logit_scale": torch.ones(3)},
            r"got files with another shape of 1 \(logit_scale\); download",
        ),
    ):
        folder = copy(model, tmp_path / name, other)
        for work in (check, load):
            with pytest.raises(
                InputError, match=rf"^seeds\.model: .*{name}: expected files with all weights of a CLIPModel, {message}"
            ):
                work(folder)


def test_an_index_names_the_files(model: Path, tmp_path: Path) -> None:
    state = load_file(model / "model.safetensors")
    folder = copy(model, tmp_path / "parts", {"logit_scale": state.pop("logit_scale")})
    (folder / "model.safetensors").rename(folder / "b.safetensors")
    save_file(state, folder / "a.safetensors")
    index = folder / "model.safetensors.index.json"
    places = {name: "a.safetensors" for name in state} | {"logit_scale": "b.safetensors"}
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert weight_files(folder, FIELD) == [folder / "a.safetensors", folder / "b.safetensors"]
    check(folder)
    load(folder)
    (folder / "b.safetensors").unlink()
    with pytest.raises(InputError, match=r"b\.safetensors: cannot be opened"):
        check(folder)
    for content in ("[]", "{}", '{"weight_map": {"a": 1}}'):
        index.write_text(content)
        with pytest.raises(InputError, match=r"expected an index as transformers writes it"):
            check(folder)
    index.unlink()
    with pytest.raises(InputError, match=r"^seeds\.model: .*parts: found no weights, model\.safetensors"):
        weight_files(folder, FIELD)


def test_files_that_cannot_be_read_are_told(model: Path, tmp_path: Path) -> None:
    folder = copy(model, tmp_path / "broken", {})
    (folder / "model.safetensors").write_bytes(b"nothing")
    for work in (check, load):
        with pytest.raises(
            InputError, match=r"^seeds\.model: transformers cannot load the model of .*; download it again"
        ):
            work(folder)
