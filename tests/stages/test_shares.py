"""A share is the images of a split, a file for each, and the function that makes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from deft.artifacts import load_mask, load_seeds, read_arrays, save_seeds
from deft.contracts import InputError, Sample, SeedMaps
from deft.engine.share import HERE
from deft.recipes import cam, irn
from deft.seedmaps import to_mask, upsample
from deft.segment.deeplab import save_network
from deft.segment.inference import Inference
from deft.stages.context import Run
from deft.stages.shares import locating, masking, predicting, refining
from fakes import begun, segmenter
from short import tiny

Begin = Callable[..., Run]
PLAIN = dataclasses.replace(tiny(cam(), "segment=none", "precision=32-true"), seed_threshold=0.5)


def upper_half(classes: tuple[int, ...]) -> SeedMaps:
    """Classes that fill the upper half of an image of 64 x 64."""
    maps = torch.zeros(len(classes), 16, 16)
    maps[:, :8] = 1
    return SeedMaps(classes, maps, (64, 64))


def stored(run: Run) -> list[SeedMaps]:
    """Seeds of the training images, as a finished stage leaves them; one image has none of any class."""
    paths = run.files("seeds", run.train, ".npz", "train")
    for index, path in enumerate(paths):
        save_seeds(path, upper_half(() if index == 5 else (index % 3,)))
    begun(run.out.path, "seeds", state="done")
    return [load_seeds(path) for path in paths]


def test_masks_are_made_of_maps_alone(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    def unread(self: object, index: int) -> Sample:
        raise InputError("an image was read")

    run = begin(PLAIN)
    maps = stored(run)
    run.statistics("seeds")  # a run looks at all images before the first mask
    monkeypatch.setattr(type(run.train), "__getitem__", unread)
    stage = run.out.stage("masks", "key")
    with stage.making():
        HERE.make(masking(run, stage))
    for index, path in enumerate(run.files("masks", run.train, ".png")):
        expected = to_mask(upsample(maps[index]), maps[index].classes, 0.5)
        assert np.array_equal(load_mask(path), expected)
        assert set(np.unique(expected)) == ({0} if index == 5 else {0, index % 3 + 1})
        assert (expected[:29] > 0).all() == (index != 5) and not expected[32:].any()


def test_what_is_there_is_kept(begin: Begin) -> None:
    run = begin(PLAIN)
    stored(run)
    kept, *_ = run.files("masks", run.train, ".png")
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"kept")
    share = masking(run, run.out.stage("masks", "key"))
    assert share.missing() == list(range(1, len(run.train)))
    HERE.make(share)
    assert kept.read_bytes() == b"kept"
    assert share.missing() == []


def test_seeds_are_made_of_both_splits_and_one_that_cannot_be_is_left_out(begin: Begin) -> None:
    run = begin(PLAIN)
    missing = run.val.names[1]

    def locate(sample: Sample) -> SeedMaps | None:
        assert sample.mask is None  # the truth is not shown
        return None if sample.name == missing else upper_half(tuple(np.flatnonzero(sample.labels).tolist()))

    train, val = (locating(run, run.out.stage("seeds", "the key"), locate, part) for part in ("train", "val"))
    assert (train.title, val.title) == ("seeds (train)", "seeds (val)")
    assert train.folder == val.folder == run.out.path / "seeds"
    HERE.make(train)
    HERE.make(val)
    for part, data in run.parts():
        for index, path in enumerate(run.files("seeds", data, ".npz", part)):
            assert path.exists() == (data.names[index] != missing)
            if path.exists():
                assert load_seeds(path).classes == tuple(np.flatnonzero(data.labels[index]))
                assert str(read_arrays(path, ["made_by"])["made_by"]) == "the key"


def test_refined_maps_are_made_of_stored_seeds(begin: Begin) -> None:
    run = begin(dataclasses.replace(PLAIN, refine=irn().refine))
    seeds = stored(run)
    seen: list[str] = []

    def refine(sample: Sample, given: SeedMaps) -> SeedMaps:
        seen.append(sample.name)
        return dataclasses.replace(given, maps=given.maps.flip(1))

    share = refining(run, run.out.stage("refined", "key"), refine)
    HERE.make(share)
    assert sorted(seen) == sorted(run.train.names)
    for before, path in zip(seeds, run.map_files(), strict=True):
        assert torch.equal(load_seeds(path).maps, before.maps.flip(1))


def test_predictions_are_those_of_the_stored_network(begin: Begin) -> None:
    inference = Inference(scales=(1.0,), flip=False)
    run, network = begin(dataclasses.replace(PLAIN, inference=inference)), segmenter()
    save_network(run.out.path / "segment" / "model.safetensors", network, run.train.classes, "key")
    share = predicting(run, run.out.stage("predictions", "key"), "val")
    HERE.make(share)
    for index, path in enumerate(run.files("predictions", run.val, ".png", "val")):
        expected = inference.predict(network, run.val[index].image, run.val.classes)
        assert np.array_equal(load_mask(path), expected.mask)
