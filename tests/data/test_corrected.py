"""A dataset as its review left it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deft.contracts import Dataset, OfFiles
from deft.data import open_data
from deft.data.corrected import CorrectedData, corrected_data
from deft.data.fingerprints import taught, truth_fingerprint
from deft.data.working_size import working_size


class Rendered:
    """A dataset that is more than the protocol asks for in nothing."""

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self.classes, self.contexts, self.names, self.labels = data.classes, data.contexts, data.names, data.labels
        self.context_labels, self.scored, self.groups = data.context_labels, data.scored, data.groups

    def fingerprint(self) -> str:
        return "rendered"

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Any:
        return self._data[index]


@pytest.fixture(params=[lambda data: data, Rendered], ids=["files", "rendered"])
def data(request: pytest.FixtureRequest, voc_data: Path) -> Dataset:
    made: Callable[[Dataset], Dataset] = request.param
    return made(open_data(f"voc:{voc_data}").train)


def test_what_changes_nothing_is_the_dataset_itself(data: Dataset) -> None:
    assert corrected_data(data, (), {}) is data
    assert corrected_data(data, ("stranger",), {"stranger": ["cat"], data.names[0]: ["cat"]}) is data


def test_rejected_images_are_gone_and_tags_are_others(data: Dataset) -> None:
    found = corrected_data(data, [data.names[2], data.names[5]], {data.names[3]: ["dog"], data.names[4]: []})
    kept = [0, 1, 3, 4, 6, 7]
    assert found.names == tuple(data.names[index] for index in kept) and len(found) == 6
    assert found.labels[2].tolist() == [False, False, True] and not found.labels[3].any()
    assert (found.labels[[0, 1, 4, 5]] == data.labels[[0, 1, 6, 7]]).all()
    assert found.context_labels is not None and data.context_labels is not None
    assert (found.context_labels == data.context_labels[kept]).all() and (found.scored == data.scored[kept]).all()
    for index, place in enumerate(kept):
        sample, before = found[index], data[place]
        assert sample.name == before.name and (sample.image == before.image).all()
        assert (sample.labels == found.labels[index]).all()
        assert sample.mask is not None and before.mask is not None and (sample.mask == before.mask).all()
        assert isinstance(found, CorrectedData) and found.size_of(index) == before.full_size
    assert (data.labels[3] == [True, True, False]).all()  # the dataset's own


def test_keys_change_with_images_and_tags(data: Dataset) -> None:
    given = [
        data,
        corrected_data(data, [data.names[2]], {}),
        corrected_data(data, [data.names[3]], {}),
        corrected_data(data, [], {data.names[3]: ["dog"]}),
    ]
    assert len({taught(each).fingerprint for each in given}) == 4
    assert len({each.fingerprint() for each in given}) == 4
    assert taught(given[1]).tags.keys() == set(data.names) - {data.names[2]}
    assert len({truth_fingerprint(each) for each in given[:2]}) == 2


def test_it_is_read_small_and_without_masks(voc_data: Path) -> None:
    given = open_data(f"voc:{voc_data}").train
    found = corrected_data(given, [given.names[0]], {given.names[1]: ["dog"]})
    assert isinstance(found, CorrectedData) and isinstance(found, OfFiles)
    bare = found.without_truth()
    assert bare[0].mask is None and (bare.labels == found.labels).all()
    small = working_size(found, 32)
    assert small is not found and small[0].image.shape[:2] == (32, 32) and small[0].full_size == (64, 64)
    assert small[0].labels.tolist() == [False, False, True]
    assert working_size(found, 64) is found
