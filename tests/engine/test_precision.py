from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from deft.contracts import InputError
from deft.engine import precision
from deft.engine.precision import EXACT, WORDS, autocast, choose

CPU = torch.device("cpu")


@pytest.mark.parametrize(("words", "chosen"), [("bf16-mixed", True), (EXACT, False)])
def test_a_processor_gets_what_it_is_fast_in(words: str, chosen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: chosen)
    assert choose(CPU) == words
    assert words in WORDS


@pytest.mark.parametrize(("amx", "avx"), [(True, False), (False, True), (False, False)])
def test_torch_is_asked(amx: bool, avx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    assert precision.multiplies_bfloat16() == (amx or avx)


@pytest.mark.parametrize(
    ("text", "fast"),
    [("model name\t: x\nflags\t\t: fpu avx512_bf16 sse\n", True), ("flags : fpu avx512f\n", False), (None, False)],
)
def test_the_system_is_asked_where_torch_does_not_tell(
    text: str | None, fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(precision, "_CPUINFO", tmp_path / "cpuinfo")
    assert precision.multiplies_bfloat16() == fast


@pytest.mark.parametrize(("word", "kind"), [("bf16-mixed", torch.bfloat16), (EXACT, torch.float32)])
def test_networks_compute_in_the_precision_and_keep_their_weights(word: str, kind: torch.dtype) -> None:
    layer = nn.Conv2d(3, 4, 3)
    with torch.no_grad(), autocast(word, CPU):
        assert layer(torch.rand(1, 3, 8, 8)).dtype == kind
    assert layer.weight.dtype == torch.float32
    assert layer(torch.rand(1, 3, 8, 8)).dtype == torch.float32


def test_float32_inside_another_precision_is_float32() -> None:
    layer = nn.Linear(3, 4)
    with torch.no_grad(), autocast("bf16-mixed", CPU):
        with autocast(EXACT, CPU):
            assert layer(torch.rand(1, 3)).dtype == torch.float32
        assert layer(torch.rand(1, 3)).dtype == torch.bfloat16


@pytest.mark.parametrize("word", ["auto", "bf16", ""])
def test_other_words_are_refused(word: str) -> None:
    with pytest.raises(InputError, match="expected a precision of 32-true, bf16-mixed"):
        autocast(word, CPU)
