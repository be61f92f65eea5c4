"""Numerical precision: its names (Lightning's), the fastest one of a machine, and autocast for inference.

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
"""Chosen by :func:`choose` when a run begins."""
EXACT = "32-true"
"""float32, the reference for every other precision."""

_MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
WORDS = (AUTO, EXACT, *_MIXED)
"""All values of a pipeline's ``precision``."""

_CPUINFO = Path("/proc/cpuinfo")


def choose(device: torch.device) -> str:
    """The fastest precision of a machine that does not change results noticeably, for training and inference alike.

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
    """Whether this processor has bfloat16 instructions; without them torch emulates bfloat16, slower than float32."""
    asks = [
        getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    ]  # private: a future torch may lack them
    if all(asks):
        return any(bool(ask()) for ask in asks if ask is not None)
    return bool(_flags() & {"amx_bf16", "avx512_bf16"})


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Forward passes in a precision.

    The outputs of a network may be 16-bit: call ``.float()`` on them before summing or comparing.

    Args:
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
        device: the device of the network.

    Returns:
        A context manager; that of ``32-true`` only disables an enclosing autocast.

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
    """Processor flags as Linux lists them; empty on other systems."""
    if not _CPUINFO.exists():
        return set()
    lines = _CPUINFO.read_text(errors="replace").splitlines()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
