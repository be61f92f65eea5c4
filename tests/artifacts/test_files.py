from __future__ import annotations

import errno
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deft import artifacts
from deft.artifacts import BROKEN_ARRAYS, atomic_write, file_stem, load_seeds, read_arrays, whole_file
from deft.contracts import InputError, SeedMaps


def test_palette_is_vocs() -> None:
    colours = artifacts.palette()
    assert colours[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert colours[20].tolist() == [0, 64, 128]
    assert colours[255].tolist() == [224, 224, 192]
    assert len({tuple(colour) for colour in colours.tolist()}) == 256


@given(st.text(min_size=1), st.text(min_size=1))
def test_stems_are_safe_and_distinct(one: str, other: str) -> None:
    stems = file_stem(one), file_stem(other)
    assert (stems[0] == stems[1]) == (one == other)
    for stem in stems:
        assert not stem.startswith("/")
        assert all(part not in ("", ".", "..") and len(part.encode()) <= 160 for part in stem.split("/"))
        assert not set(stem) & set('\\:*?"<>|\n\0')


def test_folders_stay_and_plain_names_stay() -> None:
    assert file_stem("summer 2024/cow-1 (2)") == "summer 2024/cow-1 (2)"
    assert file_stem("../../etc/passwd") != "../../etc/passwd"
    assert ".." not in file_stem("../x").split("/")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_failed_write_leaves_the_old_file_and_names_it(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights"
    atomic_write(path, b"old")

    def full(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=os.strerror(number)) as told:
        atomic_write(path, b"new")
    assert told.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["weights"]


def test_seeds_survive_storage_within_half_a_grey_level(tmp_path: Path) -> None:
    seeds = SeedMaps((1, 4), torch.rand(2, 5, 7), (18, 27), (0.1, 0.9, 0.2, 0.3, 0.7))
    artifacts.save_seeds(tmp_path / "a" / "b.npz", seeds, "key")
    stored = artifacts.load_seeds(tmp_path / "a" / "b.npz")
    assert (stored.classes, stored.size) == (seeds.classes, seeds.size)
    assert torch.allclose(stored.maps, seeds.maps, atol=0.5 / 255 + 1e-6)
    assert np.allclose(stored.scores, seeds.scores)


def test_seeds_of_a_photograph_keep_its_size_and_others_have_no_entry_for_it(tmp_path: Path) -> None:
    maps = torch.rand(1, 5, 7)
    artifacts.save_seeds(tmp_path / "a.npz", SeedMaps((1,), maps, (18, 27), photograph=(1800, 2700)))
    artifacts.save_seeds(tmp_path / "b.npz", SeedMaps((1,), maps, (18, 27)))
    large, small = (artifacts.load_seeds(tmp_path / name) for name in ("a.npz", "b.npz"))
    assert large.photograph == large.full_size == (1800, 2700) and large.size == (18, 27)
    assert small.photograph is None and small.full_size == (18, 27)
    with np.load(tmp_path / "b.npz") as file:
        assert file.files == ["classes", "maps", "size", "scores", "made_by"]


def test_seeds_of_no_class_survive(tmp_path: Path) -> None:
    artifacts.save_seeds(tmp_path / "a.npz", SeedMaps((), torch.zeros(0, 3, 3), (9, 9)))
    assert artifacts.load_seeds(tmp_path / "a.npz").maps.shape == (0, 3, 3)


def test_broken_seeds_say_so(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match="remove the file and run again"):
        artifacts.load_seeds(tmp_path / "a.npz")


def test_masks_are_palette_pngs_that_name_their_maker(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 255], [20, 2, 0]], dtype=np.uint8)
    artifacts.save_mask(tmp_path / "m.png", mask, "abc")
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode == "P"
        assert image.info["deft-key"] == "abc"
        assert image.getpalette()[3:6] == [128, 0, 0]
    assert (artifacts.load_mask(tmp_path / "m.png") == mask).all()


def test_tensors_and_header_survive(tmp_path: Path) -> None:
    artifacts.save_tensors(tmp_path / "t.safetensors", {"w": torch.arange(3.0)}, {"classes": ["cow"], "n": 1})
    tensors, header = artifacts.load_tensors(tmp_path / "t.safetensors")
    assert tensors["w"].tolist() == [0, 1, 2]
    assert header == {"classes": ["cow"], "n": 1}
    whole = (tmp_path / "t.safetensors").read_bytes()
    artifacts.save_tensors(tmp_path / "u.safetensors", {"w": torch.arange(3.0)}, {"n": 1, "classes": ["cow"]})
    assert (tmp_path / "u.safetensors").read_bytes() == whole
    (tmp_path / "t.safetensors").write_bytes(whole[:-5])
    with pytest.raises(InputError, match="expected a safetensors file"):
        artifacts.load_tensors(tmp_path / "t.safetensors")


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    with whole_file(path, ".part-a-") as file:
        file.write(b"one\n")
        (part,) = path.parent.iterdir()
        assert part.name.startswith(".part-a-")
    assert [each.name for each in path.parent.iterdir()] == ["a.bin"]
    with pytest.raises(KeyboardInterrupt), whole_file(path) as file:
        file.write(b"two")
        raise KeyboardInterrupt
    assert [each.name for each in path.parent.iterdir()] == ["a.bin"]
    assert path.read_bytes() == b"one\n"


ARRAYS = {
    "classes": np.array([0, 1], np.int16),
    "maps": np.zeros((2, 3, 4), np.uint8),
    "size": np.array([40, 60], np.int32),
    "scores": np.array([0.5, 0.5], np.float32),
}


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("classes", np.array([[0, 1]])),
        ("classes", np.array(["cow", "dog"])),
        ("classes", np.array([0.0, 1.0])),
        ("classes", np.array([0])),
        ("maps", np.zeros((2, 3), np.uint8)),
        ("maps", np.zeros((2, 3, 4), np.float32)),
        ("maps", np.array([[["a"]]])),
        ("size", np.array(4)),
        ("size", np.array([4])),
        ("size", np.array(["4", "5"])),
        ("scores", np.array([[0.5]])),
        ("scores", np.array(["a"])),
    ],
)
def test_arrays_that_are_no_seeds_are_told(name: str, array: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **(ARRAYS | {name: array}))
    with pytest.raises(InputError, match=r"a.npz: expected stored seeds, got .*; remove the file and run again"):
        load_seeds(tmp_path / "a.npz")


def header(text: str, data: bytes = bytes(24)) -> bytes:
    """An array with this header, whatever it claims."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


@pytest.mark.parametrize(
    "array",
    [
        header("'descr': '<i2', 'fortran_order': False, 'shape': (2,), }\n"),
        header("{'descr': '<i2', 'fortran_order': False, 'shape': (2,), \n"),
        header("{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }\0\n"),
        header("{'descr': '<i2', 'fortran_order': False, 'shape': (9999999999, 99), }\n"),
        header("{'descr': '<i2', 'fortran_order': False, 'shape': (100000000, 9), }\n"),
        header("{'descr': '<i2', 'fortran_order': False, 'shape': (-1,), }\n"),
        header("{'descr': [('a', '<i2')], 'fortran_order': False, 'shape': (2,), }\n"),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }\n"),
        header("(" * 5000 + "\n"),
        b"\x93NUMPY\x09\x00",
        b"",
    ],
)
def test_a_hostile_header_of_an_array_is_told(array: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in ARRAYS:
            archive.writestr(f"{name}.npy", array)
    with pytest.raises(InputError, match=r"a.npz: expected stored seeds, got "):
        load_seeds(tmp_path / "a.npz")


def test_an_archive_without_an_array_is_broken(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", classes=ARRAYS["classes"])
    with pytest.raises(BROKEN_ARRAYS):
        read_arrays(tmp_path / "a.npz", ["maps"])


@pytest.mark.parametrize("order", "<>")
def test_text_of_numbers_that_are_no_character_is_broken(order: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for point, sound in ((0x10FFFF, True), (0x110000, False), (0xFFFFFFFF, False)):
        np.savez(path, made_by=np.array([65, point], f"{order}u4").view(f"{order}U2"), nothing=np.array("", "U0"))
        if sound:
            assert str(read_arrays(path, ["made_by", "nothing"])["made_by"][0]) == "A\U0010ffff"
        else:
            with pytest.raises(ValueError, match="made_by with characters that do not exist"):
                read_arrays(path, ["made_by"])
            assert not artifacts.carries(path, "key")


@pytest.mark.parametrize("text", ["[" * 60 + "]" * 60, '{"a":' * 400 + "1" + "}" * 400, "[" * 20_000])
def test_json_that_is_nested_too_deeply_for_recursion_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" * 40 + "]" * 40)
    artifacts.read_json(path)
    path.write_text(text)
    with pytest.raises(InputError, match="brackets nested too deeply"):
        artifacts.read_json(path)


@pytest.mark.parametrize(
    "error", [KeyError("classes"), TypeError("x"), RuntimeError("size\nmismatch"), OverflowError(), AttributeError("a")]
)
def test_weights_that_do_not_fit_are_told(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"w\.safetensors is damaged: .+; train again or copy it again"):  # noqa: SIM117
        with artifacts.told_damaged(tmp_path / "w.safetensors"):
            raise error
    with pytest.raises(InputError, match=r"^plain$"), artifacts.told_damaged(tmp_path / "w.safetensors"):
        raise InputError("plain")
    with pytest.raises(MemoryError), artifacts.told_damaged(tmp_path / "w.safetensors"):
        raise MemoryError


@pytest.mark.parametrize("name", ["\ud83d", "a\udce9.png", "cow", "牛"])
def test_records_hold_names_in_any_encoding(name: str, tmp_path: Path) -> None:
    artifacts.write_json(tmp_path / "a.json", {name: [name]})
    assert artifacts.read_json(tmp_path / "a.json") == {name: [name]}
    assert ("牛" in (tmp_path / "a.json").read_text(encoding="utf-8")) == (name == "牛")
