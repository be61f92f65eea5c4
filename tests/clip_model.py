"""A small model of CLIP's architecture with random weights, and a tokeniser of letters, as transformers stores them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from deft.backbone.from_transformers import from_transformers
from deft.contracts import InputError

PATCH = 8
BLOCKS = 3


def write_clip(folder: Path) -> Path:
    """Write the model; skips the test where transformers cannot be imported."""
    try:
        kinds = {name: from_transformers(name, "tests need") for name in ("CLIPConfig", "CLIPModel", "CLIPTokenizer")}
    except InputError as error:
        pytest.skip(str(error))
    letters = [chr(code) for code in range(33, 127)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tower = {"hidden_size": 24, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": BLOCKS}
    text = {**tower, "vocab_size": len(words), "max_position_embeddings": 48, "bos_token_id": 0, "eos_token_id": 1}
    vision = {**tower, "image_size": 32, "patch_size": PATCH}
    config = kinds["CLIPConfig"](
        text_config={**text, "pad_token_id": 1}, vision_config=vision, projection_dim=16, initializer_factor=4.0
    )
    torch.manual_seed(0)
    kinds["CLIPModel"](config).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')
    return folder
