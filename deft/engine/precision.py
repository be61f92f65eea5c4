"""The numbers a network computes with: Lightning's words, what a machine is fastest in, and autocast for inference.

``32-true`` is float32 throughout. ``bf16-mixed`` keeps weights, statistics and losses in float32 and multiplies in
bfloat16, which has float32's range and 8 bits of mantissa: it needs no scaling of the loss. ``16-mixed`` multiplies in
float16, which does, and which large activations leave: ``auto`` never chooses it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from deft.contracts import InputError

AUTO = "auto"
"""Stands for what :func:`choose` finds."""
EXACT = "32-true"
"""float32: what every other precision is compared with."""

_MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
WORDS = (AUTO, EXACT, *_MIXED)
"""All that a pipeline may be given."""

_CPUINFO = Path("/proc/cpuinfo")


def choose(device: torch.device) -> str:
    """The precision that a machine computes fastest in without harm, training and reading maps alike.

    Args:
        device: the device of the run.

    Returns:
        ``bf16-mixed`` on GPUs from Ampere on and on processors that multiply bfloat16 themselves (AMX or AVX-512
        BF16); else ``32-true``.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and multiplies_bfloat16()
    return "bf16-mixed" if fast else EXACT


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16; without them torch imitates them, slower than float32."""
    asks = [
        getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    ]  # private, so that any torch may lack them
    if all(asks):
        return any(bool(ask()) for ask in asks if ask is not None)
    return bool(_flags() & {"amx_bf16", "avx512_bf16"})


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Forward passes in a precision.

    What comes out of a network may be in 16 bits: call ``.float()`` on it before anything is summed or compared.

    Args:
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
        device: the device of the network.

    Returns:
        A context; that of ``32-true`` does nothing, except inside another, which it switches off.

    Raises:
        InputError: another word; ``auto`` has to be resolved with :func:`choose` before.
    """
    if precision == EXACT:
        return torch.autocast(device.type, enabled=False)
    if precision not in _MIXED:
        raise InputError(
            f"expected a precision of {', '.join((EXACT, *_MIXED))}, got {precision!r}; replace {AUTO!r} by what "
            "deft.engine.precision.choose finds"
        )
    return torch.autocast(device.type, dtype=_MIXED[precision])


def _flags() -> set[str]:
    """What Linux says the processor can do; empty on other systems."""
    if not _CPUINFO.exists():
        return set()
    lines = _CPUINFO.read_text(errors="replace").splitlines()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
