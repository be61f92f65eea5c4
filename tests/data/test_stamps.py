from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft.data import open_data
from deft.data.layouts.file_dataset import FileDataset
from deft.data.stamps import digest_of_tags, stamp


@pytest.fixture
def data(voc_data: Path) -> FileDataset:
    train = open_data(f"voc:{voc_data}").train
    assert isinstance(train, FileDataset)
    return train


def test_the_digest_is_of_what_is_known_of_the_images_and_of_nothing_else(data: FileDataset) -> None:
    assert digest_of_tags(data).hexdigest() == digest_of_tags(replace(data)).hexdigest()
    elsewhere = replace(data, images=tuple(Path("/elsewhere") / path.name for path in data.images))
    assert digest_of_tags(elsewhere).digest() == digest_of_tags(data).digest()


@pytest.mark.parametrize("part", ["classes", "contexts", "names", "labels", "scored", "context_labels", "groups"])
def test_every_part_counts(part: str, data: FileDataset) -> None:
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
    assert digest_of_tags(replace(data, **{part: changes[part]})).digest() != digest_of_tags(data).digest()


def test_names_of_any_bytes_have_digests_of_their_own(data: FileDataset) -> None:
    odd = [replace(data, names=(name, *data.names[1:])) for name in ("\udcff", "\udcfe", "猫")]
    assert len({digest_of_tags(one).digest() for one in [*odd, data]}) == 4


def test_a_file_is_known_by_name_size_and_time_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for path in (tmp_path / "one.png", tmp_path / "a" / "one.png"):
        path.write_bytes(b"1234")
        os.utime(path, ns=(5, 7))
    one = tmp_path / "one.png"
    assert stamp(one) == stamp(tmp_path / "a" / "one.png") == b"b'one.png',4,7;"
    os.utime(one, ns=(5, 8))
    assert stamp(one) == b"b'one.png',4,8;"
    one.write_bytes(b"12345")
    os.utime(one, ns=(5, 7))
    assert stamp(one) == b"b'one.png',5,7;"


def test_no_file_and_one_that_is_gone_differ(tmp_path: Path) -> None:
    assert stamp(None) == b"none;"
    assert stamp(tmp_path / "gone.png") == b"missing;"
