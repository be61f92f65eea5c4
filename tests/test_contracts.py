from __future__ import annotations

import numpy as np

from deft.contracts import Dataset, LabelMap
from deft.data import open_data


def test_label_map_names_what_it_found() -> None:
    mask = np.array([[0, 2], [255, 2]], dtype=np.uint8)
    assert LabelMap(mask, ("cat", "cow")).found == ("cow",)


def test_data_sets_keep_the_protocol() -> None:
    splits = open_data("demo:train=2,val=2,size=96")
    assert isinstance(splits.train, Dataset)
    assert isinstance(splits.val, Dataset)
