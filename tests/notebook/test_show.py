from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import deft
from deft.contracts import InputError
from deft.notebook.show import Shown
from export_runs import exported, imported, write_photographs, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("show")
    return write_run(root / "run", write_photographs(root / "photos"))


def test_an_image_is_shown_with_the_masks_that_there_are(run: Path) -> None:
    held_out = deft.show(run, "held/out")
    assert list(held_out.pictures)[1:] == ["prediction"]
    image, mask = held_out.pictures.values()
    assert mask.shape[1] == image.shape[1] and mask.shape[0] > image.shape[0]  # with the names of its classes
    assert not np.array_equal(mask[: image.shape[0]], image)
    assert held_out._repr_html_().count("<img ") == 2


def test_a_reviewed_mask_is_shown_too(run: Path) -> None:
    name = next(iter(imported(run, exported(run, "png"), "png")))
    assert list(deft.show(run, name).pictures)[1:] == ["pseudo-mask", "reviewed mask"]


def test_an_unknown_name_is_told(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got 'held/uot' .*'held/out'"):
        deft.show(run, "held/uot")
    with pytest.raises(InputError, match=r"run\.json"):
        deft.show(tmp_path, "held/out")


def test_names_are_escaped() -> None:
    found = Shown("<script>", {'"><b>': np.zeros((4, 4, 3), np.uint8)})._repr_html_()
    assert "<script>" not in found and "<b>" not in found and "data:image/png" in found
