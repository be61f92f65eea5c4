"""Graphs as ONNX files, checked with ONNX Runtime; the only module that imports onnx, onnxscript and onnxruntime."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from deft.contracts import InputError
from deft.deploy.compared import Runs, check
from deft.deploy.graphs import Graph
from deft.deploy.program import traced

SUFFIX = ".onnx"
OPSET = 18
"""Version of ONNX's operators; the one that torch's exporter writes without converting."""


def onnx_file(graph: Graph, notes: Mapping[str, str]) -> tuple[bytes, float]:
    """A graph as the content of an ONNX file, and its largest difference from torch, see :func:`check`.

    Batch, height and width are dynamic. The file holds its weights, so that it has to be smaller than 2 GB.

    Args:
        graph: in eval mode.
        notes: stored in the file's metadata under their names.

    Raises:
        InputError: the extra ``export`` is missing, or the graph cannot be written or computes something else.
    """
    needs_export()
    import onnx

    program = traced(graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on names of dimensions and on deprecated parts of libraries
        written = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=list(graph.outputs),
            verbose=False,
        )
    if written is None:
        raise AssertionError("torch.onnx.export returns a program if it is given no file")
    model = written.model_proto
    _name_sizes(model)
    for node in model.graph.node:
        node.ClearField("metadata_props")  # notes of the exporter on its own work
    for name, text in notes.items():
        model.metadata_props.add(key=name, value=text)
    model.producer_version = torch.__version__
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content, check(graph, _runs(content, graph.outputs), graph.file + SUFFIX)


def needs_export() -> None:
    """Refuse to go on without the packages of the extra ``export``.

    Raises:
        InputError: one is missing; the message names the extra.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401 (torch's exporter uses it)
    except ImportError as error:
        raise InputError(
            f"--format onnx: expected onnx, onnxscript and onnxruntime, got {error}; "
            "pip install 'deft-wsss[export]', or use --format torch"
        ) from None


def _runs(content: bytes, outputs: tuple[str, ...]) -> Runs:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(list(outputs), {"image": pixels})


def _name_sizes(model: Any) -> None:
    """Give the symbols of the input's sizes the names N, H and W, wherever they occur."""
    graph = model.graph
    sizes = graph.input[0].type.tensor_type.shape.dim
    names = {sizes[axis].dim_param: name for axis, name in ((0, "N"), (2, "H"), (3, "W"))}
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = pattern.sub(lambda found: names[found[0]], size.dim_param)
