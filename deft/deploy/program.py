"""Graphs traced by torch.export, for sizes that are known when they run, and written as .pt2 files.

A .pt2 file is an archive of weights as plain bytes and of a graph as JSON: it needs torch and nothing of this package.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from deft.backbone import traceable
from deft.contracts import InputError
from deft.deploy.compared import Runs, check
from deft.deploy.graphs import Graph
from deft.guards.words import first_line

SUFFIX = ".pt2"
_TRACED = (2, 3, 75, 101)
"""Shape of the batch that graphs are traced with; any other does as well."""


def traced(graph: Graph) -> ExportedProgram:
    """The operations of a graph for any number and size of photographs.

    Raises:
        InputError: the network computes with Python's numbers, so that its graph would hold for one size only.
    """
    size = {0: Dim("N", min=1), 2: Dim("H", min=graph.least_side), 3: Dim("W", min=graph.least_side)}
    pixels = torch.zeros(_TRACED, dtype=torch.uint8)
    try:
        with torch.no_grad(), traceable(), _silent():
            program = torch.export.export(graph, (pixels,), dynamic_shapes=(size,))
    except Exception as error:  # torch raises errors of many classes here, and some of backbones' own
        raise InputError(
            f"the {graph.title} cannot be exported: torch.export cannot trace {graph.network.backbone.name!r} for "
            f"photographs of any size ({first_line(error)}); use the network with deft predict, "
            "or train with another backbone"
        ) from None
    program.example_inputs = None  # they would be stored as a pickle
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names files of this machine
    return program


@contextmanager
def _silent() -> Iterator[None]:
    """Within, nothing is logged or printed: torch prints whole graphs with what it cannot trace."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def program_file(graph: Graph, notes: Mapping[str, str]) -> tuple[bytes, float]:
    """A graph as the content of a .pt2 file, and its largest difference from torch, see :func:`check`.

    Args:
        graph: in eval mode.
        notes: stored in the file under their names.

    Raises:
        InputError: the graph cannot be traced, or computes something else.
    """
    program = traced(graph)
    file = io.BytesIO()
    torch.export.save(program, file, extra_files=dict(notes))
    content = file.getvalue()
    return content, check(graph, _runs(content), graph.file + SUFFIX)


def _runs(content: bytes) -> Runs:
    module = torch.export.load(io.BytesIO(content)).module()

    def run(pixels: Any) -> list[Any]:
        with torch.no_grad():
            return [found.numpy() for found in module(torch.from_numpy(pixels))]

    return run
