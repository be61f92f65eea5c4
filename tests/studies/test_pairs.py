from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deft.contracts import InputError
from deft.data import open_data
from deft.metrics import class_by_context
from deft.studies.pairs import AT_LEAST, context_labels, find_pairs


@pytest.fixture(scope="module")
def pasture(make_voc: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """45 images, 30 of them for training: dogs always on grass, cows on a road in two of three, cats on both."""
    return make_voc(tmp_path_factory.mktemp("data") / "voc", count=45, side=32)


def test_pairs_have_enough_images_and_correct_counts(pasture: Path) -> None:
    train = open_data(f"voc:{pasture}").train
    present = context_labels(train)
    table = class_by_context(train.labels, present, train.classes, train.contexts)
    pairs = {pair.name: pair for pair in find_pairs(train, present, table)}
    assert set(pairs) == {"dog, grass", "cow, road", "cow, grass", "cat, grass"}  # the third is a pair of the paper
    assert next(iter(pairs)) == "dog, grass"
    for pair in pairs.values():
        slow = [
            index
            for index in range(len(train))
            if train.labels[index, pair.row] and train[index].context is not None and present[index, pair.column]
        ]
        assert np.flatnonzero(pair.together).tolist() == slow
        assert len(slow) >= AT_LEAST
        assert (pair.together | pair.apart).sum() == train.labels[:, pair.row].sum()


def test_context_masks_replace_a_missing_table(pasture: Path, tmp_path: Path) -> None:
    told = context_labels(open_data(f"voc:{pasture}").train)
    shutil.copytree(pasture, tmp_path / "voc")
    (tmp_path / "voc" / "context_labels.csv").unlink()
    np.testing.assert_array_equal(context_labels(open_data(f"voc:{tmp_path / 'voc'}").train), told)
    shutil.rmtree(tmp_path / "voc" / "SegmentationContext")
    with pytest.raises(InputError, match=r"context_labels\.csv or SegmentationContext"):
        context_labels(open_data(f"voc:{tmp_path / 'voc'}").train)
