from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from deft.contracts import InputError
from deft.deploy.compared import SHAPES, check
from deft.deploy.graphs import ClassifierGraph, SegmentationGraph
from deft.segment.inference import Inference
from fakes import classifier, segmenter

GRAPHS = (ClassifierGraph(classifier()), SegmentationGraph(segmenter(), Inference()))


def runner(graph: torch.nn.Module, change: Any) -> Any:
    """Runs a graph and changes its outputs."""

    def run(pixels: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return change([found.numpy() for found in graph(torch.from_numpy(pixels))])

    return run


@pytest.mark.parametrize("graph", GRAPHS)
def test_equal_results_differ_by_nothing(graph: Any) -> None:
    assert check(graph, runner(graph, lambda outputs: outputs), "x.onnx") == 0


def test_the_largest_difference_is_returned() -> None:
    graph = GRAPHS[0]
    off = runner(graph, lambda outputs: [outputs[0] + np.float32(1e-5), outputs[1] - np.float32(5e-4)])
    assert check(graph, off, "x.onnx") == pytest.approx(5e-4, rel=1e-3)


@pytest.mark.parametrize(
    ("graph", "change", "told"),
    [
        (
            GRAPHS[0],
            lambda out: [out[0], out[1] + np.float32(0.002)],
            "expected maps within 0.001 .* difference of 0.002",
        ),
        (GRAPHS[0], lambda out: [out[0] * np.float32(np.nan), out[1]], "expected scores within 0.001 .* of nan"),
        (GRAPHS[0], lambda out: [out[0], out[1][..., :-1]], "expected maps within 0.001 .* of inf"),
        (GRAPHS[0], lambda out: [out[0].astype(np.float64), out[1]], "expected scores .* of inf"),
        (GRAPHS[1], lambda out: [out[0], (out[1] + 1) % 4], "expected mask within 0.001 .* difference of 1"),
    ],
)
def test_what_differs_is_refused(graph: Any, change: Any, told: str) -> None:
    with pytest.raises(InputError, match=f"x.onnx: not written, {told}"):
        check(graph, runner(graph, change), "x.onnx")


def test_what_cannot_be_run_is_refused() -> None:
    def run(pixels: np.ndarray) -> list[np.ndarray]:
        raise RuntimeError("broken kernel\nand a long trace")

    count, height, width = SHAPES[0]
    told = rf"cannot be run on {count} photographs of {height} x {width} pixels \(broken kernel\)"
    with pytest.raises(InputError, match=told):
        check(GRAPHS[0], run, "x.onnx")


def test_sizes_are_no_multiples_of_strides() -> None:
    sizes = {(height % 16, width % 16) for _, height, width in SHAPES}
    assert any(rows and columns for rows, columns in sizes)
    assert {count for count, _, _ in SHAPES} >= {1, 2, 3}
