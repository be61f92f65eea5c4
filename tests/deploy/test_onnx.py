from __future__ import annotations

import builtins
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from deft.backbone import Views
from deft.classify.classifier import load_classifier
from deft.classify.deft import DeftHead
from deft.contracts import InputError
from deft.deploy.folder import Exported
from deft.deploy.graphs import ClassifierGraph, SegmentationGraph
from deft.deploy.onnx import OPSET, needs_export, onnx_file
from deft.refine.crf import DenseCrf
from deft.refine.pamr import Pamr
from deft.segment.deeplab import load_network
from deft.segment.inference import Inference
from fakes import classifier, segmenter

INPUT = ["N", 3, "H", "W"]


def graph_of(trained: Path, name: str) -> Any:
    if name == "segment":
        return SegmentationGraph(load_network(trained / "segment" / "model.safetensors")[0], Inference())
    return ClassifierGraph(load_classifier(trained / "classifier" / "model.safetensors", DeftHead(maps=8)))


@pytest.mark.parametrize("name", ["segment", "classifier"])
def test_onnxruntime_computes_what_torch_does(name: str, trained: Path, exported: tuple[Path, Exported]) -> None:
    out, done = exported
    assert done.files[f"{name}.onnx"] < 1e-4
    session = onnxruntime.InferenceSession(out / f"{name}.onnx", providers=["CPUExecutionProvider"])
    graph = graph_of(trained, name)
    for shape in ((1, 3, 5, 6), (2, 3, 61, 20), (1, 3, 160, 90)):
        pixels = np.random.default_rng(shape[2]).integers(0, 256, shape, dtype=np.uint8)
        with torch.no_grad():
            expected = graph(torch.from_numpy(pixels))
        found = session.run(list(graph.outputs), {"image": pixels})
        np.testing.assert_allclose(found[0], expected[0].numpy(), atol=1e-4)
        np.testing.assert_allclose(found[1], expected[1].numpy(), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [SegmentationGraph, ClassifierGraph])
def test_a_frozen_backbone_is_written_with_its_views_and_pamr(kind: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # Each of PAMR's means, at each distance, is written anew: as many as it has would take most of a minute.
    monkeypatch.setattr("deft.deploy.graphs.Pamr", partial(Pamr, iterations=2, distances=(1, 3)))
    views, inference = Views(64, (1.5,), False, 2, 1, 8), Inference(crf=DenseCrf(), crf_side=40)
    graph = kind(segmenter(views=views), inference) if kind is SegmentationGraph else kind(classifier(views=views))
    content, difference = onnx_file(graph, {})
    assert difference < 1e-4
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert (
        "Resize" not in {node.op_type for node in onnx.load_from_string(content).graph.node} or kind.file == "segment"
    )
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3, 90, 47), dtype=np.uint8)
    with torch.no_grad():
        expected = graph(torch.from_numpy(pixels))
    for found, other in zip(session.run(list(graph.outputs), {"image": pixels}), expected, strict=True):
        np.testing.assert_allclose(found, other.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("segment", {"probabilities": ["N", 4], "mask": ["N", "H", "W"]}),
        ("classifier", {"scores": ["N", 3], "maps": ["N", 3]}),
    ],
)
def test_a_file_says_what_it_takes_and_gives(
    name: str, outputs: dict[str, list[Any]], exported: tuple[Path, Exported]
) -> None:
    session = onnxruntime.InferenceSession(exported[0] / f"{name}.onnx", providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(uint8)", INPUT)
    assert {each.name: each.shape[: len(outputs[each.name])] for each in session.get_outputs()} == outputs
    notes = session.get_modelmeta().custom_metadata_map
    assert json.loads(notes["classes"]) == ["cat", "cow", "dog"]
    assert json.loads(notes["palette"])[:6] == [0, 0, 0, 128, 0, 0]
    assert (notes["opset"], notes["max_side"]) == ("18", "1024")
    model = onnx.load(exported[0] / f"{name}.onnx")
    assert [(each.domain, each.version) for each in model.opset_import] == [("", OPSET)]


@pytest.mark.parametrize("name", ["segment", "classifier"])
def test_a_file_names_no_file_of_this_machine(name: str, exported: tuple[Path, Exported]) -> None:
    content = (exported[0] / f"{name}.onnx").read_bytes()
    assert b"site-packages" not in content
    assert b"deft/" not in content


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_extra_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any, **others: Any) -> Any:
        if name.split(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {missing!r}")
        return real(name, *more, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=rf"got No module named '{missing}'; pip install 'deft-wsss\[export\]'"):
        needs_export()
