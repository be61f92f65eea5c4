from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deft.artifacts.contents import whole
from deft.contracts import InputError, ReadsFiles, Splits
from deft.data import open_data
from deft.seedmaps import upsample
from deft.seeds.external import External
from deft.settings import key_of
from fakes import method_context
from userfiles import write_maps


@pytest.fixture(scope="module")
def splits(folder_data: Path) -> Splits:
    return open_data(f"folder:{folder_data}")


def refused(method: External, splits: Splits) -> str:
    with pytest.raises(InputError) as told:
        method.check(splits)
    return str(told.value)


def test_archives_and_pictures_say_the_same(splits: Splits, tmp_path: Path) -> None:
    data = splits.train
    archives = External(str(write_maps(tmp_path / "a", data)))
    pictures = External(str(write_maps(tmp_path / "b", data, "png")))
    assert isinstance(archives, ReadsFiles)
    for method in (archives, pictures):
        method.check(splits)  # nothing of val is there: it is left alone
    one, two = (method.prepare(method_context(data, tmp_path)) for method in (archives, pictures))
    for index in range(len(data)):
        sample = data[index]
        a, b = one(sample), two(sample)
        assert a is not None and b is not None
        assert a.classes == b.classes == tuple(np.flatnonzero(sample.labels))
        assert torch.allclose(a.maps, b.maps, atol=1e-6)
        assert a.size == (64, 64) and a.maps.shape[1:] == (16, 16) and a.scores == ()


def test_every_fourth_pixel_of_a_full_map_is_read(splits: Splits, tmp_path: Path) -> None:
    data = splits.train
    seeds = External(str(write_maps(tmp_path, data))).prepare(method_context(data, tmp_path))(data[0])
    assert seeds is not None and data[0].mask is not None
    truth = (data[0].mask == 1).astype(np.float32)
    assert torch.equal(seeds.maps[0], torch.from_numpy(truth[::4, ::4].copy()))
    found = upsample(seeds)[0] > 0.5
    assert (found.numpy() == truth.astype(bool)).mean() > 0.97


@pytest.mark.parametrize("resolution", [(7, 9), (16, 16), (64, 64), (130, 200)])
def test_any_resolution_lands_in_its_place(splits: Splits, tmp_path: Path, resolution: tuple[int, int]) -> None:
    """A ramp to the right stays one, whatever it was drawn on."""
    data = splits.train
    ramp = np.broadcast_to((np.arange(resolution[1]) + 0.5) / resolution[1], resolution)
    np.savez(tmp_path / "img_00.npz", classes=np.array([0]), maps=ramp[None].astype(np.float64))
    maps = External(str(tmp_path), normalise=False)(data[0], data.classes).maps[0]
    expected = (torch.arange(0, 64, 4) + 0.5) / 64 if resolution != (16, 16) else torch.from_numpy(ramp[0].copy())
    assert torch.allclose(maps[5, 1:-1], expected[1:-1].float(), atol=0.02)
    assert torch.allclose(maps, maps[:1].expand_as(maps), atol=1e-6)


def test_normalised_maps_reach_one_and_know_no_scale(splits: Splits, tmp_path: Path) -> None:
    data = splits.train
    folders = [write_maps(tmp_path / str(scale), data, scale=scale) for scale in (1.0, 40.0)]
    maps = [External(str(folder))(data[3], data.classes).maps for folder in folders]
    assert torch.allclose(*maps)
    assert torch.equal(maps[0].amax(dim=(1, 2)), torch.ones(2))
    np.savez(tmp_path / "img_00.npz", classes=["cat"], maps=np.full((1, 8, 8), -3.0))
    assert not External(str(tmp_path))(data[0], data.classes).maps.any()


def test_maps_as_they_are_must_lie_in_0_to_1(splits: Splits, tmp_path: Path) -> None:
    data = splits.train
    np.savez(tmp_path / "img_00.npz", classes=["cat"], maps=np.full((1, 8, 8), 0.25))
    as_is = External(str(tmp_path), normalise=False)
    assert torch.allclose(as_is(data[0], data.classes).maps, torch.tensor(0.25))
    np.savez(tmp_path / "img_00.npz", classes=["cat"], maps=np.full((1, 8, 8), 51, np.uint8))
    assert torch.allclose(as_is(data[0], data.classes).maps, torch.tensor(0.2))
    np.savez(tmp_path / "img_00.npz", classes=["cat"], maps=np.full((1, 8, 8), 2.5))
    with pytest.raises(InputError, match=r"img_00.npz: expected maps in 0 to 1, got 2.5 to 2.5"):
        as_is(data[0], data.classes)
    np.savez(tmp_path / "img_00.npz", classes=["cat"], maps=np.full((1, 8, 8), np.nan))
    with pytest.raises(InputError, match="expected finite values"):
        External(str(tmp_path))(data[0], data.classes)


def test_what_is_missing_is_named_before_anything_is_made(splits: Splits, tmp_path: Path) -> None:
    method = External(str(write_maps(tmp_path, splits.train)))
    (tmp_path / "img_01.npz").unlink()
    np.savez(tmp_path / "img_03.npz", classes=["cat"], maps=np.ones((1, 8, 8)))
    message = refused(method, splits)
    assert "no maps of image 'img_01'" in message
    assert "img_03.npz: image 'img_03' is tagged 'cow' but has no map for it" in message
    for index in range(8):
        (tmp_path / f"img_{index:02d}.npz").unlink(missing_ok=True)
    assert refused(method, splits).endswith("... and 2 more")
    pictures = External(str(write_maps(tmp_path, splits.train, "png")))
    pictures.check(splits)
    (tmp_path / "img_03" / "cow.png").unlink()
    assert "img_03/cow.png: image 'img_03' is tagged 'cow'" in refused(pictures, splits)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"classes": ["cat"]}, "expected arrays classes and maps"),
        ({"classes": ["cat"], "maps": np.ones((2, 4, 4))}, r"expected maps (1, h, w)"),
        ({"classes": ["cat"], "maps": np.ones((1, 4, 4), np.int64)}, "expected maps of float or uint8, got int64"),
        ({"classes": ["horse"], "maps": np.ones((1, 4, 4))}, "'horse' among its classes; they are cat, cow, dog"),
        ({"classes": [3], "maps": np.ones((1, 4, 4))}, "'3' among its classes"),
        ({"classes": ["cat", "cat"], "maps": np.ones((2, 4, 4))}, "a class twice"),
        ({"classes": np.array([{}], dtype=object), "maps": np.ones((1, 4, 4))}, "expected arrays classes and maps"),
        (b"no archive", "expected arrays classes and maps"),
    ],
)
def test_archives_that_are_none_are_refused(splits: Splits, tmp_path: Path, content: object, words: str) -> None:
    method = External(str(write_maps(tmp_path, splits.train)))
    path = tmp_path / "img_00.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        assert isinstance(content, dict)
        np.savez(path, **content)
    message = refused(method, splits)
    assert message.startswith(str(path)) and words in message


@pytest.mark.parametrize(
    "maps", [np.array([[[b""]]]), np.array([[["0.5"]]]), np.ones((1, 4, 4)) * 1j, np.ones((1, 4, 4), bool)]
)
def test_an_archive_that_was_changed_after_the_check_is_one_message(splits: Splits, tmp_path: Path, maps: Any) -> None:
    method = External(str(write_maps(tmp_path, splits.train)))
    method.check(splits)
    np.savez(tmp_path / "img_00.npz", classes=["cat"], maps=maps)
    with pytest.raises(InputError) as told:
        method(splits.train[0], splits.train.classes)
    assert str(told.value) == (
        f"{tmp_path / 'img_00.npz'}: expected maps of float or uint8, got {maps.dtype}; convert them"
    )


def test_pictures_that_are_not_grey_and_two_sources_are_refused(splits: Splits, tmp_path: Path) -> None:
    method = External(str(write_maps(tmp_path, splits.train, "png")))
    Image.new("RGB", (8, 8)).save(tmp_path / "img_00" / "cat.png")
    assert "expected 8-bit grey, got mode RGB" in refused(method, splits)
    (tmp_path / "img_00" / "cat.png").write_bytes(b"no picture")
    assert "expected a PNG" in refused(method, splits)
    np.savez(tmp_path / "img_00.npz", classes=["cat"], maps=np.ones((1, 8, 8)))
    assert "an archive and a folder of PNGs" in refused(method, splits)


def test_a_held_out_split_has_all_its_maps_or_none(splits: Splits, tmp_path: Path) -> None:
    assert splits.val is not None
    method = External(str(write_maps(tmp_path, splits.train)))
    read = method.prepare(method_context(splits.train, tmp_path))
    assert read(splits.val[0]) is None
    write_maps(tmp_path, splits.val)
    method.check(splits)
    assert read(splits.val[0]) is not None
    (tmp_path / f"{splits.val.names[0]}.npz").unlink()
    assert f"no maps of image '{splits.val.names[0]}'" in refused(method, splits)


def test_a_changed_file_changes_the_fingerprint(
    splits: Splits, tmp_path: Path, tree_state: Callable[[Path], str]
) -> None:
    method = External(str(write_maps(tmp_path, splits.train)))
    state, before = tree_state(tmp_path), method.fingerprint()
    method.prepare(method_context(splits.train, tmp_path))(splits.train[0])
    assert method.fingerprint() == before and tree_state(tmp_path) == state
    os.utime(tmp_path / "img_00.npz", ns=(1, 1))
    assert method.fingerprint() == before
    (tmp_path / "img_00.npz").write_bytes((tmp_path / "img_00.npz").read_bytes() + b"1")
    written = method.fingerprint()
    (tmp_path / "img_01.npz").rename(tmp_path / "img_99.npz")
    assert len({before, written, method.fingerprint()}) == 3


def test_files_of_some_images_are_known_apart_from_others(splits: Splits, tmp_path: Path) -> None:
    maps = write_maps(write_maps(tmp_path / "maps", splits.train), splits.val)
    method, names = External(str(maps)), (splits.train.names, splits.val.names)
    before = [method.fingerprint_of(one, whole) for one in names]
    held_out = maps / f"{names[1][0]}.npz"
    held_out.write_bytes(held_out.read_bytes() + b"1")
    after = [method.fingerprint_of(one, whole) for one in names]
    assert before[0] == after[0] and before[1] != after[1]
    moved = External(str(maps.rename(tmp_path / "elsewhere")) + "/")
    assert [moved.fingerprint_of(one, whole) for one in names] == after
    assert key_of("seeds", method) == key_of("seeds", moved) != key_of("seeds", replace(moved, normalise=False))


@pytest.mark.parametrize("folder", ["", "/nowhere"])
def test_no_folder_is_told(splits: Splits, folder: str) -> None:
    assert "--set seeds.folder=MAPS" in refused(External(folder), splits)
