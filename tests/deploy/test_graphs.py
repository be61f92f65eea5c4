from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from deft.backbone import Views, frozen_net
from deft.classify.deft import DeftHead
from deft.classify.frozen_deft import FrozenDeftHead
from deft.classify.linear import BackgroundHead, LinearHead
from deft.classify.readings import READINGS
from deft.classify.sma import SmaHead
from deft.contracts import Sample
from deft.deploy.graphs import ClassifierGraph, SegmentationGraph
from deft.engine.features import seen_pixels, seen_size
from deft.engine.head import Head
from deft.refine.crf import DenseCrf
from deft.refine.pamr import Pamr
from deft.refine.pixel_adaptive import propagate
from deft.seeds.cam import Cam
from deft.seeds.frozen import FrozenCam
from deft.segment.inference import Inference
from fakes import Scenes, classifier, method_context, noise, segmenter

VIEWS = [Views(64, (1.5,), False, 1, 1, 8), Views(64, (1.0, 0.6), True, 2, 1, 4)]
SIZES = [(75, 101), (37, 53), (64, 64), (300, 201), (9, 90)]
HEADS = [
    LinearHead(),
    LinearHead(stretched=True),
    BackgroundHead(),
    SmaHead(deft=DeftHead(maps=8), hierarchical=False),
    *(DeftHead(maps=8, map=reading()) for reading in READINGS.values()),
]


def batch(*images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image in images]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("max_side", "views"), [(2048, None), (48, None), *((2048, views) for views in VIEWS)])
def test_masks_are_those_of_inference_at_one_scale_without_flip(
    size: tuple[int, int], max_side: int, views: Views | None
) -> None:
    network = segmenter(views=views)
    image = np.kron(noise(size[0] // 8 + 1, size[1] // 8 + 1), np.ones((8, 8, 1), np.uint8))[: size[0], : size[1]]
    inference = Inference(scales=(1.0,), flip=False, max_side=max_side)
    with torch.no_grad():
        probabilities, mask = SegmentationGraph(network, inference)(batch(image))
    expected = inference.probabilities(network, image)
    torch.testing.assert_close(probabilities[0], expected, atol=2e-3, rtol=0)  # a pixel may be rounded otherwise
    found = inference.predict(network, image, ("cat", "cow", "dog")).mask
    assert mask.dtype == torch.uint8
    assert (mask[0].numpy() != found).mean() < 0.005
    assert len(np.unique(found)) > 1 or min(size) < 16


@pytest.mark.parametrize("size", SIZES[:4])
def test_where_the_inference_has_a_crf_the_graph_has_pamr(size: tuple[int, int]) -> None:
    network, image = segmenter(views=VIEWS[0]), noise(*size)
    inference = Inference(scales=(1.0,), flip=False, crf=DenseCrf(), crf_side=48)
    with torch.no_grad():
        probabilities, mask = SegmentationGraph(network, inference)(batch(image))
    coarse = replace(inference, crf=None).probabilities(network, image)
    grid = seen_size(size, min(48, max(size)), 1)
    small = seen_pixels(image, grid).float() / 255
    fine = F.interpolate(coarse[None], grid, mode="bilinear", align_corners=False)[0]
    expected = propagate(fine, Pamr().weights(small), Pamr().distances, Pamr().iterations)
    torch.testing.assert_close(probabilities[0], expected, atol=5e-3, rtol=0)  # a pixel may be rounded otherwise
    assert mask.shape[1:] == size


@pytest.mark.parametrize("views", VIEWS)
@pytest.mark.parametrize("head", [LinearHead(), FrozenDeftHead()])
def test_a_frozen_backbones_maps_and_scores_are_those_of_its_seeds(head: Head, views: Views, tmp_path: Path) -> None:
    network = classifier(head, views=views)
    frozen_net(network.backbone).mean.fill_(0.1)
    locate = FrozenCam().prepare(method_context(Scenes(), tmp_path, network=network))
    for size in SIZES[:3]:
        image = noise(*size)
        with torch.no_grad():
            scores, maps = ClassifierGraph(network)(batch(image))
        expected = locate(Sample("", image, np.ones(3, dtype=np.bool_)))
        torch.testing.assert_close(maps[0], expected.maps, atol=2e-3, rtol=0)  # a pixel may be rounded otherwise
        np.testing.assert_allclose(scores[0].numpy(), expected.scores, atol=1e-3)


def test_grids_have_the_sizes_of_inference_at_every_size() -> None:
    graph, inference = SegmentationGraph(segmenter(), Inference()), Inference(scales=(1.0,), flip=False)
    seen: list[tuple[int, int]] = []

    def coarse(images: torch.Tensor) -> torch.Tensor:
        seen.append((images.shape[-2], images.shape[-1]))
        return torch.zeros(1, 4, 1, 1)

    graph.network.coarse = coarse  # type: ignore[method-assign]
    for side in (500, 333):
        graph.side = graph.network.side = side
        for height in range(1, 700, 23):
            graph(torch.zeros(1, 3, height, 384, dtype=torch.uint8))
            assert seen.pop() == inference._size(graph.network, (height, 384), 1.0)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: f"{type(head).__name__} {getattr(head, 'map', '')}")
def test_maps_and_scores_are_those_of_seeds_at_one_scale_without_flips(head: Head) -> None:
    network = classifier(head)
    for size in SIZES[:3]:
        image = noise(*size)
        with torch.no_grad():
            scores, maps = ClassifierGraph(network)(batch(image))
        expected = Cam(scales=(1.0,), flip=False)(network, image, np.ones(3, dtype=np.bool_))
        torch.testing.assert_close(maps[0], expected.maps, atol=1e-4, rtol=0)
        np.testing.assert_allclose(scores[0].numpy(), expected.scores, atol=1e-5)


@pytest.mark.parametrize("graph", [SegmentationGraph(segmenter(), Inference()), ClassifierGraph(classifier(HEADS[-1]))])
def test_photographs_of_a_batch_do_not_mix(graph: torch.nn.Module) -> None:
    images = [noise(40, 56), noise(40, 56)[::-1].copy()]
    with torch.no_grad():
        together = graph(batch(*images))
        for index, image in enumerate(images):
            for found, alone in zip(together, graph(batch(image)), strict=True):
                torch.testing.assert_close(found[index], alone[0], atol=1e-5, rtol=0)
