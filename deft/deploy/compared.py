"""Whether an exported graph computes what torch computes: on photographs of several odd sizes, alone and in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from deft.contracts import InputError
from deft.deploy.graphs import Graph
from deft.guards.words import first_line

Runs = Callable[[NDArray[np.uint8]], Sequence[NDArray[np.generic]]]
"""Runs an exported graph on a batch, uint8 (N, 3, H, W), and returns its outputs."""
LIMIT = 1e-3
"""Largest difference that is accepted."""
SHAPES = ((1, 37, 53), (2, 75, 101), (3, 64, 48), (1, 301, 203))
"""Numbers and sizes of photographs, most of them no multiples of any stride."""


def check(graph: Graph, run: Runs, name: str) -> float:
    """Compare an exported graph with the graph it was made from.

    Args:
        graph: in eval mode, on the CPU.
        run: runs the exported one.
        name: of the exported one, for messages.

    Returns:
        The largest difference of any output. For numbers in [0, 1] it is the absolute difference, for masks the share
        of pixels that differ.

    Raises:
        InputError: it is above :data:`LIMIT`, or the exported graph cannot be run.
    """
    worst = 0.0
    for count, height, width in SHAPES:
        pixels = np.random.default_rng(height).integers(0, 256, (count, 3, height, width), dtype=np.uint8)
        with torch.no_grad():
            expected = [found.numpy() for found in graph(torch.from_numpy(pixels))]
        try:
            found = run(pixels)
        except Exception as error:  # each runtime raises its own errors
            raise InputError(
                f"{name}: not written, because it cannot be run on {count} photographs of {height} x {width} pixels "
                f"({first_line(error)}); choose the other --format, or use deft predict"
            ) from None
        for output, one, other in zip(graph.outputs, expected, found, strict=True):
            difference = _difference(one, other)
            if not difference <= LIMIT:  # nan, too
                raise InputError(
                    f"{name}: not written, expected {output} within {LIMIT:g} of torch's, got a difference of "
                    f"{difference:.2g} on {count} photographs of {height} x {width} pixels; choose the other --format, "
                    "or use deft predict"
                )
            worst = max(worst, difference)
    return worst


def _difference(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    if one.shape != other.shape or one.dtype != other.dtype:
        return float("inf")
    if one.dtype == np.uint8:
        return float((one != other).mean())
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())
