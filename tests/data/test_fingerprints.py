from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft.contracts import Dataset
from deft.data import open_data
from deft.data.fingerprints import taught, truth_fingerprint
from deft.data.layouts.file_dataset import FileDataset

TAUGHT = {"classes", "names", "labels"}
ONLY_SCORED = {"contexts", "scored", "context_labels", "groups"}


@pytest.fixture
def data(voc_data: Path) -> FileDataset:
    train = open_data(f"voc:{voc_data}").train
    assert isinstance(train, FileDataset)
    return train


def by_name(paths: Sequence[Path], strict: bool = True) -> list[str]:
    """Digests that are as good as any here, and need no file."""
    return [path.name for path in paths]


def test_what_is_taught_can_be_told_image_by_image(data: FileDataset) -> None:
    found = taught(data, by_name)
    assert found.classes == ("cat", "cow", "dog")
    assert found.contents == tuple(path.name for path in data.images)
    assert list(found.tags.items())[:4] == [("img_00", (0,)), ("img_01", (1,)), ("img_02", (2,)), ("img_03", (0, 1))]
    assert found.to_json()["images"]["img_03"] == ["img_03.jpg", [0, 1]]
    assert found.fingerprint == taught(replace(data), by_name).fingerprint


@pytest.mark.parametrize("part", sorted(TAUGHT | ONLY_SCORED))
def test_every_part_is_in_one_of_the_two(part: str, data: FileDataset) -> None:
    def turned(array: Any) -> Any:
        changed = array.copy()
        changed.flat[0] = not changed.flat[0]
        return changed

    changes: dict[str, Any] = {
        "classes": ("horse", *data.classes[1:]),
        "contexts": data.contexts[::-1],
        "names": ("another", *data.names[1:]),
        "labels": turned(data.labels),
        "scored": turned(data.scored),
        "context_labels": turned(data.context_labels),
        "groups": {"night": np.zeros(len(data), dtype=bool)},
    }
    other = replace(data, **{part: changes[part]})
    assert (taught(other, by_name).fingerprint != taught(data, by_name).fingerprint) == (part in TAUGHT)
    assert (truth_fingerprint(other, by_name) != truth_fingerprint(data, by_name)) == (part in ONLY_SCORED)


def test_a_mask_belongs_to_its_image(data: FileDataset) -> None:
    swapped = replace(data, masks=(data.masks[1], data.masks[0], *data.masks[2:]))
    fewer = [replace(data, masks=(None, *data.masks[1:])), replace(data, masks=(*data.masks[:-1], None))]
    assert len({truth_fingerprint(one, by_name) for one in (data, swapped, *fewer)}) == 4


def test_names_of_any_bytes_have_digests_of_their_own(data: FileDataset) -> None:
    odd = [replace(data, names=(name, *data.names[1:])) for name in ("\udcff", "\udcfe", "猫")]
    assert len({taught(one, by_name).fingerprint for one in [*odd, data]}) == 4


def test_a_data_set_that_does_not_know_its_files_has_its_own_word() -> None:
    data = open_data("demo:train=2,val=0,size=64").train

    class Own:
        classes, contexts, names, labels = data.classes, data.contexts, data.names, data.labels
        context_labels, groups, scored = data.context_labels, data.groups, data.scored
        word = "1"

        def fingerprint(self) -> str:
            return self.word

        def __len__(self) -> int:
            return len(data)

        def __getitem__(self, index: int) -> object:
            return data[index]

    own = Own()
    assert isinstance(own, Dataset)
    before = truth_fingerprint(own)
    assert taught(own).fingerprint == "1" and taught(own).contents == ("1",)
    assert taught(own).to_json()["images"][data.names[0]][0] == ""
    own.word = "2"
    assert taught(own).fingerprint == "2" and truth_fingerprint(own) != before
