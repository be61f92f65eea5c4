"""Every dataset and every head of the package keeps what the contracts promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.classify.sma import SmaHead
from deft.contracts import IGNORE, Dataset, HidesTruth, LabelMap, SeedMaps, Splits
from deft.data import open_data
from deft.data.examples import without_truth
from fakes import rng
from userfiles import write_coco

CHANNELS = (4, 6, 8)


@pytest.fixture(scope="module", params=["folder", "voc", "coco", "demo"])
def spec(
    request: pytest.FixtureRequest, folder_data: Path, voc_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """One dataset of each kind, as the command line names it."""
    match request.param:
        case "folder":
            return f"folder:{folder_data}"
        case "voc":
            return f"voc:{voc_data}"
        case "coco":
            pytest.importorskip("pycocotools")
            return f"coco:{write_coco(tmp_path_factory.mktemp('data') / 'coco')}"
    return "demo:train=6,val=4,size=64"


def parts(splits: Splits) -> list[Dataset]:
    assert splits.val is not None
    return [splits.train, splits.val]


def test_what_a_data_set_says_is_what_its_samples_hold(spec: str) -> None:
    for data in parts(open_data(spec)):
        assert isinstance(data, Dataset)
        count, known = len(data), len(data.classes)
        assert count > 1 and known > 1
        assert len(set(data.names)) == len(data.names) == count
        assert (data.labels.shape, data.labels.dtype) == ((count, known), bool)
        assert (data.scored.shape, data.scored.dtype) == ((count,), bool)
        assert all((members.shape, members.dtype) == ((count,), bool) for members in data.groups.values())
        if data.context_labels is None:
            assert data.contexts == ()
        else:
            assert (data.context_labels.shape, data.context_labels.dtype) == ((count, len(data.contexts)), bool)
        for index in range(count):
            sample = data[index]
            assert sample.name == data.names[index]
            assert sample.labels.tolist() == data.labels[index].tolist()
            assert sample.image.dtype == np.uint8 and sample.image.ndim == 3 and sample.image.shape[2] == 3
            assert (sample.mask is not None) == data.scored[index]
            for truth, names in ((sample.mask, data.classes), (sample.context, data.contexts)):
                if truth is not None:
                    assert (truth.dtype, truth.shape) == (np.uint8, sample.image.shape[:2])
                    assert set(np.unique(truth)) <= {*range(len(names) + 1), IGNORE}


def test_fingerprints_are_of_what_is_in_a_split(spec: str) -> None:
    first, again = (tuple(data.fingerprint() for data in parts(open_data(spec))) for _ in range(2))
    assert first == again
    assert first[0] != first[1]
    assert all(int(digest, 16) > 0 for digest in first)


def test_hiding_the_truth_hides_nothing_else(spec: str) -> None:
    for data in parts(open_data(spec)):
        bare = without_truth(data)
        assert (bare is data) == spec.startswith("demo:")  # which draws a mask with its image
        assert (bare is data) != isinstance(data, HidesTruth)
        assert (bare.names, bare.classes) == (data.names, data.classes)
        one, same = data[1], bare[1]
        assert same.mask is None or bare is data
        assert np.array_equal(one.image, same.image) and np.array_equal(one.labels, same.labels)


def test_what_lacks_a_part_of_a_data_set_is_none() -> None:
    data = open_data("demo:train=2,val=2,size=64").train

    class Unscored:
        classes, contexts, names, labels = data.classes, data.contexts, data.names, data.labels
        context_labels, groups, fingerprint = data.context_labels, data.groups, data.fingerprint

        def __len__(self) -> int:
            return len(data)

        def __getitem__(self, index: int) -> object:
            return data[index]

    assert not isinstance(Unscored(), Dataset)
    assert not isinstance(Unscored(), HidesTruth)
    Unscored.scored = data.scored  # type: ignore[attr-defined]
    assert isinstance(Unscored(), Dataset)


@pytest.mark.parametrize("settings", [LinearHead(), DeftHead(maps=4), SmaHead(DeftHead(maps=4))])
def test_every_head_scores_maps_and_learns(settings: LinearHead | DeftHead | SmaHead) -> None:
    torch.manual_seed(0)
    maps = [torch.randn(4, channels, side, side) for channels, side in zip(CHANNELS, (20, 10, 5), strict=True)]
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]])
    if isinstance(settings, SmaHead):
        head = settings.build_on(CHANNELS, 3)
        terms = head.loss_of_maps(maps, labels, 1, rng())
    else:
        head = settings.build(CHANNELS[-1], 3)
        terms = head.loss(maps[-1], labels, 1, rng())
    assert terms and all(term.shape == () and term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in head.parameters())
    with torch.no_grad():
        logits, activation = head.logits(maps[-1]), head.activation(maps[-1])
        seeds = torch.stack([head.combine(one) for one in activation])
    assert logits.shape == (4, 3)
    assert activation.shape == (4, activation.shape[1], 3, 5, 5) and activation.min() >= 0
    assert seeds.shape == (4, 3, 5, 5) and seeds.min() >= 0 and seeds.max() <= 1
    listed = [id(parameter) for group, _ in head.groups() for parameter in group]
    assert sorted(listed) == sorted(id(parameter) for parameter in head.parameters() if parameter.requires_grad)


def test_label_map_names_what_it_found() -> None:
    mask = np.array([[3, 2], [IGNORE, 2]], dtype=np.uint8)
    assert LabelMap(mask, ("cat", "cow", "dog")).found == ("cow", "dog")
    assert LabelMap(np.full((1, 2), IGNORE, dtype=np.uint8), ("cat",)).found == ()
    assert LabelMap(mask, ("cat", "cow", "dog")).scores == {}


def test_seeds_of_which_no_classifier_was_asked_have_no_scores() -> None:
    assert SeedMaps((1,), torch.zeros(1, 2, 2), (8, 8)).scores == ()
