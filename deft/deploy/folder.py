"""The networks of a run for other programs: one file, or a folder with all that is needed to use and judge them.

::

    README.md                model card
    segment.onnx             from photographs to masks (or segment.pt2)
    classifier.onnx          from photographs to class scores and maps (or classifier.pt2)
    run_onnx.py              runs it without this package
    model.safetensors        weights of the segmentation network: `deft predict` and deft.load read the folder
    classifier.safetensors   weights of the classifier
    config.json              settings of inference
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from deft import __version__
from deft.artifacts import OutFolder, atomic_write, palette
from deft.artifacts.record import run_record
from deft.classify.classifier import load_classifier
from deft.contracts import InputError
from deft.deploy.card import model_card
from deft.deploy.facts import facts_of
from deft.deploy.graphs import ClassifierGraph, Graph, SegmentationGraph
from deft.deploy.hub import check_repository, push
from deft.deploy.onnx import OPSET, needs_export, onnx_file
from deft.deploy.onnx import SUFFIX as ONNX
from deft.deploy.program import SUFFIX as PROGRAM
from deft.deploy.program import program_file
from deft.evaluate.compare import at
from deft.guards.opening import exists, read_regular
from deft.guards.output import check_out
from deft.guards.words import shown
from deft.predict.masks import inference_of, recorded_side, refuse_changed
from deft.predict.saved import CLASSIFIER, CONFIG, HUB, NETWORK, config_of
from deft.segment.deeplab import load_network
from deft.segment.inference import Inference
from deft.settings import restore

FORMATS = {"onnx": ONNX, "torch": PROGRAM}
"""Suffix of the files of each format."""
RUNNER = "run_onnx.py"
CARD = "README.md"
_USUAL = 0.15
_LARGEST = 8 * 1024**3
_INPUT = "image: uint8 (N, 3, H, W), RGB, upright, any number and size"
_MEANS = {
    "segment": "probabilities: (N, K + 1, h, w) on a grid that covers the photograph; mask: uint8 (N, H, W), 0 "
    "background, k + 1 for class k",
    "classifier": "scores: (N, K), probabilities; maps: (N, K, h, w) in [0, 1], cell i centred on pixel 4 i",
}

_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True)
class Exported:
    """What an export has written."""

    files: Mapping[str, float]
    """Names of the graphs, each with its largest difference from torch."""
    remarks: tuple[str, ...] = ()
    address: str = ""
    """Of the model on the hub, if it was pushed."""


@dataclass(frozen=True)
class _Trained:
    """The trained networks of a run."""

    run: Path
    record: Mapping[str, Any]
    classes: tuple[str, ...]
    graphs: tuple[Graph, ...]
    weights: Mapping[str, Path] = field(default_factory=dict)
    """Their files, by name in the folder."""


def export_model(run: Path, out: Path, form: str | None = None, data: str | None = None, repo: str = "") -> Exported:
    """Write the networks of a run for other programs, and compare each with torch.

    Args:
        run: a finished run.
        out: a folder, or a file (.onnx or .pt2) for one graph alone: the segmentation network, or the classifier of a
            run that has no other.
        form: ``onnx``, ``torch``, or None for that of the file, else ``onnx``.
        data: ``KIND:PATH`` of the run's data, for the contexts of its classes; None takes the one in its record.
        repo: ``OWNER/NAME`` on the hub, to which the folder is uploaded.

    Raises:
        InputError: the run has no finished network, or one of another version; the extra ``export`` is missing; a graph
            cannot be exported or computes something else; nothing can be written there; or the hub refuses. A folder
            is written only if all its graphs are right.
    """
    alone = out.suffix in FORMATS.values() and not out.is_dir()
    form = _form(out, form, alone)
    if repo:
        check_repository(repo)
        if alone:
            raise InputError(f"--push {shown(repo)}: expected a folder as --out, got the file {shown(out)}")
    if form == "onnx":
        needs_export()
    trained = _trained(run)
    remarks = [
        f"the run has no {name}: only its {trained.graphs[0].title} is exported"
        for name, kind in (("segmentation network", SegmentationGraph), ("classifier", ClassifierGraph))
        if not any(isinstance(graph, kind) for graph in trained.graphs)
    ]
    if any(isinstance(graph, SegmentationGraph) and graph.smooth_side is not None for graph in trained.graphs):
        remarks.append("the graph has PAMR where deft predict has its CRF: masks follow edges too, and differ somewhat")
    if alone:
        check_out(out, [run], folder=False)
        _refuse_existing(out)
        content, difference = _written(trained, trained.graphs[0], form)
        atomic_write(out, content)
        return Exported({out.name: difference}, tuple(remarks))
    told = _told(trained, form)
    folder = OutFolder(out, [run], told)
    card = model_card(facts_of(run, data), told, f"{HUB}{repo}" if repo else "FOLDER")
    contents: dict[str, bytes] = {}
    differences: dict[str, float] = {}
    for graph in trained.graphs:
        name = graph.file + FORMATS[form]
        contents[name], differences[name] = _written(trained, graph, form)
    contents |= {name: read_regular(path, _LARGEST) for name, path in trained.weights.items()}
    contents[CONFIG] = _json(config_of(trained.classes, _inference(trained), recorded_side(run)))
    contents[CARD] = card.encode()
    if form == "onnx":
        contents[RUNNER] = files("deft.deploy").joinpath(f"run_{trained.graphs[0].file}.template").read_bytes()
    for name in told:
        folder.write(name, contents[name])
    return Exported(differences, tuple(remarks), push(out, list(told), repo) if repo else "")


def _form(out: Path, form: str | None, alone: bool) -> str:
    of_file = next((name for name, suffix in FORMATS.items() if suffix == out.suffix), None) if alone else None
    if form is not None and of_file is not None and form != of_file:
        raise InputError(
            f"--out {shown(out)}: expected a name that ends in {FORMATS[form]} for --format {form}; change "
            "one of the two"
        )
    return form or of_file or "onnx"


def _trained(run: Path) -> _Trained:
    """Load the networks of a run.

    Raises:
        InputError: it is not finished, or has no network, or they are damaged or of another version.
    """
    record = run_record(run, "settings", "data.classes", "data.given")
    settings, classes = record["settings"], tuple(record["data"]["classes"])
    graphs: list[Graph] = []
    weights: dict[str, Path] = {}
    if settings.get("segment") is not None:
        path = _finished(run, "segment")
        network, _ = load_network(path)
        graphs.append(SegmentationGraph(_plain(network), inference_of(path)))
        weights[NETWORK] = path
    if settings.get("classifier") is not None:
        path = _finished(run, "classifier")
        head = restore(settings["classifier"].get("head"))
        graphs.append(ClassifierGraph(_plain(load_classifier(path, head))))
        weights[CLASSIFIER] = path
    if not graphs:
        raise InputError(
            f"{shown(run)}: expected a run with a segmentation network or a classifier, got one of another tool's "
            "maps with neither (segment=none); make a run with a segmentation network"
        )
    return _Trained(run, record, classes, tuple(graph.eval() for graph in graphs), weights)


def _finished(run: Path, stage: str) -> Path:
    path = run / stage / NETWORK
    if not exists(path):
        raise InputError(
            f"{shown(run)}: expected a finished run, found no {stage}/{NETWORK}; finish it with the command "
            "it was begun with"
        )
    refuse_changed(path)
    return path


def _told(trained: _Trained, form: str) -> dict[str, str]:
    """What each file of the folder is, in the order in which they are written."""
    how = f"ONNX, opset {OPSET}" if form == "onnx" else "torch.export"
    told = {f"{graph.file}{FORMATS[form]}": f"{graph.title}, {how}; {_MEANS[graph.file]}" for graph in trained.graphs}
    kinds = {NETWORK: "weights of the segmentation network", CLASSIFIER: "weights of the classifier"}
    told |= {name: kinds[name] for name in trained.weights}
    if form == "onnx":
        told[RUNNER] = f"runs {trained.graphs[0].file}{ONNX} on a photograph"
    return told | {CONFIG: "classes and settings of inference", CARD: "this text"}


def _written(trained: _Trained, graph: Graph, form: str) -> tuple[bytes, float]:
    """A graph as the content of a file, and its largest difference from torch."""
    side = recorded_side(trained.run)
    notes = {
        "deft": __version__,
        "kind": graph.title,
        "classes": json.dumps(trained.classes),
        "input": _INPUT,
        "outputs": _MEANS[graph.file],
        "max_side": str(side or 0),  # 0: photographs are read as they are
        "palette": json.dumps(palette()[: len(trained.classes) + 1].flatten().tolist()),
        "torch": torch.__version__,
    }
    if isinstance(graph, ClassifierGraph):
        notes["threshold"] = str(_threshold(trained.record))
    if form == "onnx":
        return onnx_file(graph, notes | {"opset": str(OPSET)})
    return program_file(graph, notes)


def _threshold(record: Mapping[str, Any]) -> float:
    """Background threshold of the run's seeds; IRN's for a run that has not chosen one."""
    found = at(record, "thresholds", "seeds", "threshold")
    found = at(record, "settings", "seed_threshold") if found is None else found
    return float(found) if isinstance(found, int | float) else _USUAL


def _inference(trained: _Trained) -> Inference:
    found = restore(trained.record["settings"].get("inference"))
    return found if isinstance(found, Inference) else Inference()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _refuse_existing(out: Path) -> None:
    if exists(out):
        raise InputError(f"--out {shown(out)}: expected a name that is free; remove that file, or name another")


def _plain(network: _Network) -> _Network:
    """A network with the usual memory layout: another is worth nothing to other programs."""
    return network.to(memory_format=torch.contiguous_format).requires_grad_(False)
