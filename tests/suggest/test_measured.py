"""Measurements of all training images, kept beside the review."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import deft.suggest.measured as module
from deft.artifacts import RunFolder, load_mask, load_seeds
from deft.contracts import InputError
from deft.runner.recorded import read_record
from deft.runner.verify import verify
from deft.stages.context import Run
from deft.suggest.measured import Measured, measured


def opened(folder: Path, *, threshold: float | None = None) -> Run:
    pipeline, splits, _ = read_record(folder)
    if threshold is not None:
        pipeline = replace(pipeline, seed_threshold=threshold)
    return Run(pipeline, splits, RunFolder(folder, {}, own=False))


def refuse(*_: object) -> Measured:
    raise AssertionError("measured again")


def test_it_counts_what_the_run_has_stored(run: Path) -> None:
    work = opened(run)
    found = measured(work)
    assert found.network and found.area.shape == (8, 4) and found.disagree.max() > 0
    for index, path in enumerate(work.map_files()):
        stored = load_seeds(path)
        coarse = load_mask(work.files("masks", work.train, ".png")[index])[::4, ::4]
        shares = np.bincount(coarse.ravel(), minlength=4) / coarse.size
        assert found.area[index] == pytest.approx(shares, abs=1e-6)
        tags = np.flatnonzero(work.train.labels[index])
        probability = np.mean([stored.scores[k] for k in tags]) if len(tags) else 1
        assert found.typical[index] == pytest.approx(probability)


def test_it_measures_again_only_what_has_changed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measured(opened(run))
    with monkeypatch.context() as patched:
        patched.setattr(module, "_measure", refuse)
        again = measured(opened(run))
        assert (again.wrong == first.wrong).all() and again.network
        with pytest.raises(AssertionError, match="measured again"):
            measured(opened(run, threshold=0.9))
    assert measured(opened(run, threshold=0.9)).area[:, 0].sum() > first.area[:, 0].sum()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"x" * 300])
def test_a_damaged_file_is_measured_again(run: Path, content: bytes) -> None:
    first = measured(opened(run))
    (run / "review" / "suggest.npz").write_bytes(content)
    assert (measured(opened(run)).wrong == first.wrong).all()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("wrong", np.full((8, 4), "a")),
        ("wrong", np.zeros((7, 4), np.float32)),
        ("typical", np.full(8, np.nan, np.float32)),
        ("network", np.array([True, False])),
        ("made_by", np.array("another")),
    ],
)
def test_other_arrays_are_measured_again(run: Path, name: str, array: np.ndarray) -> None:
    first = measured(opened(run))
    path = run / "review" / "suggest.npz"
    with np.load(path) as stored:
        content = {**stored, name: array}
    np.savez_compressed(path, **content)
    again = measured(opened(run))
    assert (again.wrong == first.wrong).all() and (again.typical == first.typical).all() and again.network is True


def test_a_run_that_stopped_after_its_masks_is_measured_without_a_network(run: Path) -> None:
    (run / "segment" / "stage.json").unlink()
    found = measured(opened(run))
    assert not found.network and (found.disagree == 0).all() and (found.seen == 0).all()
    assert found.wrong.sum() > 0


def test_a_run_without_masks_is_told(run: Path) -> None:
    (run / "masks" / "stage.json").unlink()
    with pytest.raises(InputError, match=r"expected a run with pseudo-masks, found none; finish it"):
        measured(opened(run))


def test_what_is_kept_is_no_foreign_file_of_the_run(run: Path) -> None:
    measured(opened(run))
    assert verify(run).wrong == ()
