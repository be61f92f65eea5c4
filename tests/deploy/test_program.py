from __future__ import annotations

import io
import json
import math
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deft.classify.deft import DeftHead
from deft.contracts import InputError
from deft.deploy.graphs import ClassifierGraph
from deft.deploy.program import program_file, traced
from fakes import classifier


@pytest.fixture(scope="module")
def made() -> tuple[ClassifierGraph, bytes, float]:
    graph = ClassifierGraph(classifier(DeftHead(maps=8)).requires_grad_(False)).eval()
    return graph, *program_file(graph, {"classes": '["cat"]'})


def test_a_program_runs_on_any_size_and_number_of_photographs(made: tuple[ClassifierGraph, bytes, float]) -> None:
    graph, content, difference = made
    assert difference < 1e-5
    program = torch.export.load(io.BytesIO(content)).module()
    for shape in ((1, 3, 5, 6), (3, 3, 61, 20), (1, 3, 48, 64)):
        pixels = torch.from_numpy(np.random.default_rng(shape[0]).integers(0, 256, shape, dtype=np.uint8))
        for found, expected in zip(program(pixels), graph(pixels), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_program_holds_notes_no_pickle_and_no_path(made: tuple[ClassifierGraph, bytes, float]) -> None:
    with zipfile.ZipFile(io.BytesIO(made[1])) as archive:
        names = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert names["extra/classes"] == b'["cat"]'
    assert not [name for name, content in names.items() if name.endswith((".pt", ".pkl")) and content]
    text = names["models/model.json"].decode()
    assert json.loads(text)
    assert "site-packages" not in text and "deft/" not in text


class Fixed(nn.Module):
    """A backbone that computes with the value of a size, so that its graph would hold for that size only."""

    name, stride, extra, net = "fixed", 16, 1, None

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        side = math.sqrt(int(images.shape[-1]))
        return [nn.functional.avg_pool2d(images, 16) * side if side % 2 > 1 else images]


def test_a_network_for_one_size_only_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    network: Any = nn.Module()
    network.backbone, network.head = Fixed(), classifier().head
    with pytest.raises(InputError, match=r"the classifier cannot be exported: torch\.export cannot trace 'fixed'"):
        traced(ClassifierGraph(network))
    assert capfd.readouterr() == ("", "")
