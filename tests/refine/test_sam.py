"""Masks of a small random model of SAM's architecture, where transformers is installed; else a message says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from deft.contracts import InputError
from deft.refine.sam import Sam, pipeline
from fakes import noise, uninstall


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of SAM's architecture with random weights, as transformers stores it."""
    transformers = pytest.importorskip("transformers")
    try:
        pipeline()
    except InputError as error:
        pytest.skip(str(error))
    vision = transformers.SamVisionConfig(
        hidden_size=16,
        output_channels=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=64,
        patch_size=16,
        mlp_dim=16,
        global_attn_indexes=[1],
        window_size=2,
        num_pos_feats=8,
    )
    prompts = transformers.SamPromptEncoderConfig(
        hidden_size=16, image_size=64, patch_size=16, mask_input_channels=4, image_embedding_size=4
    )
    decoder = transformers.SamMaskDecoderConfig(
        hidden_size=16,
        mlp_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        attention_downsample_rate=2,
        iou_head_depth=2,
        iou_head_hidden_dim=16,
    )
    config = transformers.SamConfig(
        vision_config=vision.to_dict(), prompt_encoder_config=prompts.to_dict(), mask_decoder_config=decoder.to_dict()
    )
    folder = tmp_path_factory.mktemp("sam")
    transformers.SamModel(config).save_pretrained(folder)
    transformers.SamImageProcessor(
        size={"longest_edge": 64},
        pad_size={"height": 64, "width": 64},
        mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    ).save_pretrained(folder)
    return folder


def test_a_model_gives_masks_of_the_size_of_the_image(model: Path) -> None:
    settings = Sam(str(model), points=4, batch=8, quality=0.0, stability=0.0)
    settings.check()
    found = settings.load()(noise(40, 56))
    assert found.size == (40, 56)
    for index in range(len(found.classes)):
        assert found.mask(index).shape == (40, 56) and found.mask(index).dtype == np.bool_
    assert set(found.classes) <= {""}


def test_models_that_cannot_be_loaded_are_told(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"refine\.masks\.model: expected the folder of a model"):
        Sam().check()
    with pytest.raises(InputError, match=r"found no config\.json"):
        Sam(str(tmp_path)).check()
    (tmp_path / "config.json").write_text('{"model_type": "sam"}')
    for work in (Sam(str(tmp_path)).check, Sam(str(tmp_path)).load):
        with pytest.raises(InputError, match=r"refine\.masks\.model: .*(found no weights|transformers cannot load)"):
            work()
    for name, content, message in (
        ("config.json", '{"model_type": "resnet"}', r"cannot load .* \(its type is 'resnet'\); name a model for mask"),
        ("config.json", "[", r"refine\.masks\.model: transformers cannot load .*; name a model for mask generation"),
        ("model.safetensors", "nothing", r"refine\.masks\.model: transformers cannot load the model of"),
        ("preprocessor_config.json", None, r"refine\.masks\.model: transformers cannot load .*; name a model for mask"),
    ):
        folder = tmp_path / f"{len(message)} {name}"
        shutil.copytree(model, folder)
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_text(content)
        with pytest.raises(InputError, match=message):
            Sam(str(folder)).check()


def test_a_model_without_all_of_its_weights_is_refused(model: Path, tmp_path: Path) -> None:
    state = load_file(model / "model.safetensors")
    folder = shutil.copytree(model, tmp_path / "part")
    save_file({name: one for name, one in state.items() if "mask_decoder" not in name}, folder / "model.safetensors")
    for work in (Sam(str(folder)).check, Sam(str(folder)).load):
        with pytest.raises(
            InputError, match=r"all weights of a SamModel, got files without \d+ of them \(mask_decoder\."
        ):
            work()


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall("transformers", monkeypatch)
    for work in (pipeline, Sam("facebook/sam-vit-base").check, Sam("facebook/sam-vit-base").load):
        with pytest.raises(InputError, match=r"need transformers.*pip install 'deft-wsss\[sam\]'"):
            work()


@pytest.mark.parametrize("settings", [{"points": 0}, {"quality": 1.5}, {"batch": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"^Sam\."):
        Sam(**settings)
