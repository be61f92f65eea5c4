from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from deft.contracts import Splits
from deft.data import open_data
from deft.data.layouts.file_dataset import FileDataset
from deft.data.overview import overview


def test_each_class_is_shown_with_its_count_and_five_examples(folder_data: Path) -> None:
    splits = open_data(f"folder:{folder_data}")
    first, *lines = overview(splits).splitlines()
    without = int((~splits.train.labels.any(axis=1)).sum())
    assert first == f"3 classes, 8 training images, {without} of them without a label, 4 held out"
    assert splits.val is not None
    for k, (name, line) in enumerate(zip(splits.train.classes, lines, strict=True)):
        head, _, examples = line.partition(": ")
        count, held = int(splits.train.labels[:, k].sum()), int(splits.val.labels[:, k].sum())
        assert head.split() == [name, str(count), "images" + ",", str(held), "held", "out"]
        shown = [splits.train.names.index(example) for example in examples.split(", ")]
        assert len(shown) == min(5, count) and all(splits.train.labels[index, k] for index in shown)


def test_many_images_are_spread_and_names_are_safe_for_a_terminal() -> None:
    count = 100
    train = FileDataset(
        classes=("co\x1b[31mw", "dog"),
        names=tuple(f"n{k}\n" for k in range(count)),
        images=(Path("x"),) * count,
        labels=np.stack([np.ones(count, np.bool_), np.zeros(count, np.bool_)], axis=1),
        masks=(None,) * count,
        scored=np.zeros(count, np.bool_),
    )
    first, cow, dog = overview(Splits(train, None)).splitlines()
    assert first == "2 classes, 100 training images"
    assert cow == "  co\\x1b[31mw  100 images: n0\\n, n25\\n, n50\\n, n74\\n, n99\\n"
    assert dog == f"  {'dog':<11}  0 images"
    assert overview(Splits(replace(train, labels=~train.labels), None)).splitlines()[1].endswith("0 images")
