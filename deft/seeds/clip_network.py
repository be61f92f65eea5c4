"""CLIP (Radford et al., 2021, arXiv:2103.00020) with both towers, for maps: any size of image, and what maps need.

Models come through transformers, from a folder as it writes them or from the hub, with weights as safetensors. Only the
modules of such a model are used; the order of computation is here, because maps need attention weights, the output of
the last block's first norm, and its gradients.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deft.backbone.from_transformers import from_transformers
from deft.contracts import InputError
from deft.engine.precision import autocast
from deft.engine.pretrained import check_weights, load_whole, weight_files
from deft.guards.opening import exists, read_regular
from deft.guards.words import first_line, shown
from deft.seeds.caa import attend

NEEDS = "seeds of CLIP need"
"""Begin of the message where transformers is missing."""
_WORDS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Seen:
    """What the image tower saw, up to the last block."""

    size: tuple[int, int]
    """Patches (h, w)."""
    tokens: Tensor
    """Input of the last block, (1, h w + 1, C); the first token is the class token."""
    weights: Tensor
    """Attention between patches, the mean over heads and the last blocks, float32 (h w, h w)."""


class ClipNetwork:
    """A loaded model in eval mode; its functions may be called by several threads."""

    def __init__(self, model: Any, tokenizer: Any, layers: int, precision: str) -> None:
        """Wrap the model.

        Args:
            model: transformers' CLIPModel.
            tokenizer: its tokeniser.
            layers: how many of the last blocks give attention weights.
            precision: numerical precision of the image tower.

        Raises:
            InputError: the model has fewer blocks.
        """
        self.model: Any = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.vision: Any = self.model.vision_model
        self.blocks: Sequence[Any] = list(self.vision.encoder.layers)
        self.layers, self.precision = layers, precision
        check_layers(layers, len(self.blocks))
        where = self.device
        self.mean, self.std = (torch.tensor(each, device=where).view(3, 1, 1) for each in (_MEAN, _STD))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        found: torch.device = self.model.logit_scale.device
        return found

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return int(self.vision.embeddings.patch_embedding.stride[0])

    @torch.no_grad()
    def texts(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """A vector of length 1 for each group of prompts: the mean of theirs, each of length 1; (n, D).

        Raises:
            InputError: a prompt is longer than the text tower reads.
        """
        every = [text for group in prompts for text in group]
        check_lengths(self.tokenizer, every, self.model.config.text_config.max_position_embeddings)
        given = self.tokenizer(every, padding=True, return_tensors="pt")
        tokens = {name: given[name].to(self.device) for name in ("input_ids", "attention_mask")}
        pooled = self.model.text_model(**tokens).pooler_output
        vectors = F.normalize(self.model.text_projection(pooled).float(), dim=-1)
        owner = torch.tensor([place for place, group in enumerate(prompts) for _ in group], device=self.device)
        sums = torch.zeros(len(prompts), vectors.shape[1], device=self.device).index_add_(0, owner, vectors)
        return F.normalize(sums, dim=-1)

    @torch.no_grad()
    def see(self, pixels: Tensor) -> Seen:
        """Compute all blocks but the last, of which only the attention weights.

        Args:
            pixels: (1, 3, H, W) in 0..255, sides multiples of :attr:`patch`.
        """
        embeddings = self.vision.embeddings
        with autocast(self.precision, pixels.device):
            patches = embeddings.patch_embedding((pixels / 255 - self.mean) / self.std)
            size = (patches.shape[-2], patches.shape[-1])
            tokens = torch.cat([embeddings.class_embedding.view(1, 1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
            tokens = self.vision.pre_layrnorm(tokens + positions(embeddings.position_embedding.weight, size))
            weights = torch.zeros(size[0] * size[1], size[0] * size[1], device=pixels.device)
            for number, block in enumerate(self.blocks[:-1]):
                kept = weights if number >= len(self.blocks) - self.layers else None
                tokens = self._block(block, tokens, block.layer_norm1(tokens), kept)
            last = self.blocks[-1]
            query, key, _ = self._heads(last.self_attn, last.layer_norm1(tokens))
            attend(query, key, None, weights, 1 / self.layers)
        return Seen(size, tokens, weights)

    def last(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """Compute the last block, with gradients of the image's vector where they are enabled.

        Returns:
            Output of the block's first norm, (1, h w + 1, C), which the gradients are of; and the image's vector of
            length 1, (D,), made of its patches.
        """
        block = self.blocks[-1]
        with autocast(self.precision, seen.tokens.device):
            normed = block.layer_norm1(seen.tokens).detach().requires_grad_(torch.is_grad_enabled())
            tokens = self._block(block, seen.tokens, normed, None)
            patches = self.vision.post_layernorm(tokens[:, 1:])
            vector = self.model.visual_projection(patches.mean(dim=1))[0].float()
        return normed, F.normalize(vector, dim=0)

    def _block(self, block: Any, tokens: Tensor, normed: Tensor, weights: Tensor | None) -> Tensor:
        """Output of a block; the attention between patches is added to ``weights``, if there are any."""
        query, key, value = self._heads(block.self_attn, normed)
        if weights is None:
            attended = F.scaled_dot_product_attention(query[None], key[None], value[None], scale=1.0)[0]
        else:
            found = attend(query, key, value, weights, 1 / self.layers)
            attended = value if found is None else found
        joined = attended.transpose(0, 1).flatten(1)[None]
        tokens = tokens + block.self_attn.out_proj(joined)
        added: Tensor = tokens + block.mlp(block.layer_norm2(tokens))
        return added

    @staticmethod
    def _heads(attention: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled queries, keys and values of the heads, (A, N + 1, C) each."""
        query, key, value = (
            layer(tokens)[0].unflatten(-1, (attention.num_heads, -1)).transpose(0, 1)
            for layer in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        return query * attention.scale, key, value

    def probabilities(self, vector: Tensor, texts: Tensor) -> Tensor:
        """Softmax over texts (n, D) of their similarity to the image's vector (D,), scaled as CLIP learned; (n,)."""
        found: Tensor = (self.model.logit_scale.exp() * (texts @ vector)).softmax(dim=0)
        return found


def positions(table: Tensor, size: tuple[int, int]) -> Tensor:
    """The table of positions (1 + n n, C) for a grid of patches (h, w): (1, 1 + h w, C), bilinear as in CLIP-ES."""
    side = round((len(table) - 1) ** 0.5)
    cells = table[1:].T.reshape(1, -1, side, side)
    if size != (side, side):
        cells = F.interpolate(cells, size=size, mode="bilinear", align_corners=False)
    return torch.cat([table[:1], cells[0].flatten(1).T])[None]


def check_folder(folder: Path, field: str) -> None:
    """Refuse a folder without a CLIP model, its weights and its tokeniser.

    Args:
        folder: as transformers writes it.
        field: the setting that names it, for messages.

    Raises:
        InputError: says what is missing.
    """
    where = f"{field}: {shown(folder)}"
    if not exists(folder / "config.json"):
        raise InputError(f"{where}: expected a model as transformers writes it, found no config.json in it")
    try:
        kind = json.loads(read_regular(folder / "config.json", 10_000_000)).get("model_type")
    except (ValueError, AttributeError, RecursionError):
        raise InputError(
            f"{where}: its config.json is not what transformers writes; download the model again"
        ) from None
    if kind != "clip":
        raise InputError(f"{where}: expected a model of the type 'clip', with both towers, got {str(kind)[:60]!r}")
    weight_files(folder, field)
    if not any(all(exists(folder / name) for name in names) for names in _WORDS):
        raise InputError(f"{where}: found no tokeniser, tokenizer.json or vocab.json with merges.txt; add its files")


def check_fit(folder: Path, field: str, layers: int, texts: Sequence[str]) -> None:
    """Refuse settings and prompts that do not go with a model, and one without all weights, of which none is read.

    Raises:
        InputError: transformers is missing or cannot read its settings; weights are missing; the image tower has fewer
            blocks than ``layers``; or a text is longer than the text tower reads.
    """
    config = _loaded(from_transformers("CLIPConfig", NEEDS), folder, field, "settings")
    check_weights(from_transformers("CLIPModel", NEEDS), config, folder, field, NEEDS)
    check_layers(layers, config.vision_config.num_hidden_layers)
    check_lengths(load_tokenizer(folder, field), texts, config.text_config.max_position_embeddings)


def check_layers(layers: int, blocks: int) -> None:
    """Refuse more layers than the image tower has blocks."""
    if layers > blocks:
        raise InputError(
            f"seeds.layers: expected at most {blocks}, the blocks of the image tower, got {layers}; give "
            f"--set seeds.layers={blocks}"
        )


def load_tokenizer(folder: Path, field: str) -> Any:
    """The tokeniser of a folder.

    Raises:
        InputError: transformers is missing, or cannot load it.
    """
    return _loaded(from_transformers("CLIPTokenizer", NEEDS), folder, field, "tokeniser")


def load_clip(folder: Path, field: str, layers: int, precision: str, where: torch.device) -> ClipNetwork:
    """The model of a folder.

    Args:
        folder: as transformers writes it.
        field: the setting that names it, for messages.
        layers: as for :class:`ClipNetwork`.
        precision: likewise.
        where: the device that computes.

    Raises:
        InputError: transformers is missing, or cannot load it; or it has fewer blocks, or not all weights.
    """
    model = load_whole(from_transformers("CLIPModel", NEEDS), folder, field, NEEDS)
    return ClipNetwork(model.float().to(where), load_tokenizer(folder, field), layers, precision)


def check_lengths(tokenizer: Any, texts: Sequence[str], most: int) -> None:
    """Refuse prompts that are longer than the text tower reads.

    Raises:
        InputError: names the first one.
    """
    for text, tokens in zip(texts, tokenizer(list(texts))["input_ids"], strict=True):
        if len(tokens) > most:
            raise InputError(
                f"expected prompts of at most {most} tokens, which the text tower reads, got {len(tokens)} in "
                f"{text[:60]!r}; shorten it"
            )


def _loaded(kind: Any, folder: Path, field: str, what: str) -> Any:
    try:
        return kind.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # of any kind, from several libraries
        raise InputError(
            f"{field}: transformers cannot load the {what} of {shown(folder)} ({shown(first_line(error))}); download "
            "it again"
        ) from None
