"""The drawn dataset: what it promises about bias, halves, labels and repeatability."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from deft.contracts import IGNORE, Dataset, InputError
from deft.data.demo.dataset import Demo, DemoSettings, open_demo


def share_at_home(data: Demo) -> float:
    return float(np.mean([usual for scene in data.scenes for usual in scene.usual]))


def test_defaults_are_opened_by_an_empty_spec() -> None:
    splits = open_demo("")
    assert isinstance(splits.train, Dataset) and isinstance(splits.val, Dataset)
    assert (len(splits.train), len(splits.val)) == (DemoSettings.train, DemoSettings.val)
    assert splits.train[0].image.shape == (DemoSettings.size, DemoSettings.size, 3)


def test_spec_sets_every_field() -> None:
    splits = open_demo(" bias=.5, train=7,val=3,size=48,seed=4 ")
    assert isinstance(splits.train, Demo)
    assert splits.train.settings == DemoSettings(bias=0.5, train=7, val=3, size=48, seed=4)
    assert open_demo("val=0").val is None


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("colour=red", "bias, train, val, size, seed"),
        ("bias", "bias, train, val, size, seed"),
        ("train=5,train=6", "twice"),
        ("bias=1.5", "0.0 to 1.0"),
        ("bias=-0.1", "0.0 to 1.0"),
        ("bias=nan", "0.0 to 1.0"),
        ("train=0", "1 to 100000"),
        ("train=2.5", "a whole number"),
        ("val=many", "a whole number"),
        ("size=8", "32 to 1024"),
        ("size=99999999999999999999", "32 to 1024"),
        ("seed=-1", "0 to 2147483647"),
    ],
)
def test_bad_specs_are_refused_with_the_way_out(spec: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        open_demo(spec)


def test_an_image_depends_on_seed_split_and_index_only() -> None:
    settings = DemoSettings(train=6, val=4, size=48)
    data, longer = Demo(settings, "train"), Demo(DemoSettings(train=9, val=4, size=48), "train")
    order = [5, 0, 3]
    drawn = {index: data[index] for index in order}
    for index in sorted(order):
        again = longer[index]
        assert again.name == drawn[index].name
        for left, right in ((again.image, drawn[index].image), (again.mask, drawn[index].mask)):
            assert left is not None and right is not None and np.array_equal(left, right)
    assert not np.array_equal(data[0].image, Demo(settings, "val")[0].image)
    assert not np.array_equal(data[0].image, Demo(DemoSettings(train=6, size=48, seed=1), "train")[0].image)


def test_what_a_caller_does_to_an_image_is_not_seen_by_the_next() -> None:
    data = Demo(DemoSettings(train=1, size=48), "train")
    first = data[0]
    kept = first.image.copy()
    first.image[:] = 0
    first.labels[:] = False
    assert np.array_equal(data[0].image, kept) and data[0].labels.any()


@pytest.mark.parametrize("bias", [0.0, 0.5, 0.9, 1.0])
def test_bias_is_the_share_of_objects_in_their_usual_context(bias: float) -> None:
    data = Demo(DemoSettings(bias=bias, train=1500), "train")
    assert share_at_home(data) == pytest.approx(bias, abs=0.03)
    assert data.labels.mean(axis=0).std() < 0.03  # no class is rare
    assert data.context_labels[:, :3].mean(axis=0) == pytest.approx([1 / 3] * 3, abs=0.05)


def test_val_has_an_aligned_and_a_conflicting_half() -> None:
    data = Demo(DemoSettings(val=40), "val")
    aligned, conflicting = data.groups["aligned"], data.groups["conflicting"]
    assert aligned.sum() == conflicting.sum() == 20 and not (aligned & conflicting).any()
    for scene, home in zip(data.scenes, aligned, strict=True):
        assert all(usual == home for usual in scene.usual)


def test_masks_contexts_and_labels_agree() -> None:
    data = Demo(DemoSettings(bias=0.5, train=120, size=64), "train")
    assert len(set(data.names)) == len(data)
    assert data.scored.all() and data.scored.shape == (len(data),)
    for index in range(len(data)):
        sample = data[index]
        assert sample.mask is not None and sample.context is not None and sample.name == data.names[index]
        assert set(np.unique(sample.mask)) - {0} == set(np.flatnonzero(sample.labels) + 1)
        assert set(np.unique(sample.context)) - {0, IGNORE} == set(np.flatnonzero(data.context_labels[index]) + 1)
        assert np.array_equal(sample.context == 0, sample.mask > 0)
        assert np.array_equal(sample.labels, data.labels[index])
        assert 1 <= sample.labels.sum() <= 3


def test_fingerprint_follows_the_settings() -> None:
    base = Demo(DemoSettings(train=3), "train")
    others = [
        Demo(DemoSettings(train=3, seed=1), "train"),
        Demo(DemoSettings(train=4), "train"),
        Demo(DemoSettings(train=3), "val"),
    ]
    assert base.fingerprint() == Demo(DemoSettings(train=3), "train").fingerprint()
    assert base.fingerprint() not in {other.fingerprint() for other in others}


def test_it_travels_to_a_worker_process() -> None:
    data = Demo(DemoSettings(train=2, size=48), "train")
    image = data[1].image
    assert np.array_equal(pickle.loads(pickle.dumps(data))[1].image, image)


def test_an_index_outside_is_an_index_error() -> None:
    data = Demo(DemoSettings(train=2, size=48), "train")
    assert np.array_equal(data[-1].image, data[1].image)
    with pytest.raises(IndexError):
        data[2]
