from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deft import artifacts
from deft.artifacts import InUseError, RunFolder, Stage, atomic_write, claim, file_stem
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


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights"
    atomic_write(path, b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["weights"]


def test_seeds_survive_storage_within_half_a_grey_level(tmp_path: Path) -> None:
    seeds = SeedMaps((1, 4), torch.rand(2, 5, 7), (18, 27), (0.1, 0.9, 0.2, 0.3, 0.7))
    artifacts.save_seeds(tmp_path / "a" / "b.npz", seeds, "key")
    stored = artifacts.load_seeds(tmp_path / "a" / "b.npz")
    assert (stored.classes, stored.size) == (seeds.classes, seeds.size)
    assert torch.allclose(stored.maps, seeds.maps, atol=0.5 / 255 + 1e-6)
    assert np.allclose(stored.scores, seeds.scores)


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


def test_a_stage_keeps_what_was_made_and_forgets_what_was_made_of_something_else(tmp_path: Path) -> None:
    stage = Stage("seeds", tmp_path / "seeds", "one")
    with pytest.raises(RuntimeError), stage.making():
        (stage.folder / "a.npz").write_text("half")
        raise RuntimeError
    assert not stage.done
    with stage.making() as notes:
        assert (stage.folder / "a.npz").exists()
        notes["images"] = 3
    assert stage.done
    assert stage.record["images"] == 3
    other = Stage("seeds", tmp_path / "seeds", "two")
    assert not other.done
    with other.making():
        assert not (other.folder / "a.npz").exists()


def test_a_stage_is_taken_over_only_under_its_key(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = Stage("seeds", tmp_path / "theirs" / "seeds", "one")
    with done.making():
        (done.folder / "a.npz").write_text("x")
    assert not Stage("seeds", tmp_path / "mine" / "seeds", "two").adopt((tmp_path / "theirs",))
    mine = Stage("seeds", tmp_path / "mine" / "seeds", "one")
    assert mine.adopt((tmp_path / "nowhere", tmp_path / "theirs"))
    assert mine.done
    assert (mine.folder / "a.npz").read_text() == "x"


def test_what_is_taken_over_is_stored_once_and_changed_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = Stage("seeds", tmp_path / "theirs" / "seeds", "one")
    with done.making():
        (done.folder / "a.npz").write_text("x")
        (done.folder / ".part-1").write_text("half")
    mine = Stage("seeds", tmp_path / "mine" / "seeds", "one")
    assert mine.adopt((tmp_path / "theirs",))
    assert sorted(path.name for path in mine.folder.iterdir()) == ["a.npz", "stage.json"]
    assert (mine.folder / "a.npz").samefile(done.folder / "a.npz")
    atomic_write(mine.folder / "a.npz", b"y")
    assert (done.folder / "a.npz").read_text() == "x"


def test_a_disk_without_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError("no links here")

    (tmp_path / "mine").mkdir()
    done = Stage("seeds", tmp_path / "theirs" / "seeds", "one")
    with done.making():
        (done.folder / "a.npz").write_text("x")
    monkeypatch.setattr("deft.artifacts.os.link", refuse)
    mine = Stage("seeds", tmp_path / "mine" / "seeds", "one")
    assert mine.adopt((tmp_path / "theirs",))
    assert (mine.folder / "a.npz").read_text() == "x"
    assert not (mine.folder / "a.npz").samefile(done.folder / "a.npz")


def test_a_claim_is_held_by_one(tmp_path: Path) -> None:
    with claim(tmp_path / "a.lock"), pytest.raises(InUseError, match="in use by process"), claim(tmp_path / "a.lock"):
        pass
    with claim(tmp_path / "a.lock"):
        pass


def test_a_run_that_just_begins_elsewhere_is_no_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / ".part-123").write_text("{")
    RunFolder(tmp_path, {"a": 1}).close()


def test_other_settings_are_refused_with_what_differs(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run", {"settings": {"lr": 0.3}}).close()
    RunFolder(tmp_path / "run", {"settings": {"lr": 0.1, "seed": 0}}).close()  # nothing was made: the folder is free
    atomic_write(tmp_path / "run" / "seeds" / "train" / "a.npz", b"work")
    with pytest.raises(InputError, match=r"settings.lr: 0.1 in the folder, 0.2 now"):
        RunFolder(tmp_path / "run", {"settings": {"lr": 0.2, "seed": 0}})
    RunFolder(tmp_path / "run", {"settings": {"lr": 0.1, "seed": 0}}).close()


def test_an_empty_round_does_not_occupy_the_run_it_is_in(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run", {"settings": {"lr": 0.3}}).close()
    RunFolder(tmp_path / "run" / "round-0", {"settings": {"lr": 0.3}}).close()
    RunFolder(tmp_path / "run", {"settings": {"lr": 0.1}}).close()
    atomic_write(tmp_path / "run" / "round-0" / "seeds" / "train" / "a.npz", b"work")
    with pytest.raises(InputError, match=r"settings.lr: 0.1 in the folder, 0.2 now"):
        RunFolder(tmp_path / "run", {"settings": {"lr": 0.2}})


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("mine")
    with pytest.raises(InputError, match="empty folder or an earlier run"):
        RunFolder(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_small_disk_is_told_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make room"):
        RunFolder(tmp_path / "run", {}, needed_bytes=2**62)


def test_a_second_process_is_refused_and_the_first_unharmed(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run", {"a": 1})
    code = "from deft.artifacts import RunFolder\nfrom pathlib import Path\n"
    code += f"RunFolder(Path({str(tmp_path / 'run')!r}), {{'a': 1}})"
    second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert second.returncode != 0
    assert f"in use by process {os.getpid()}" in second.stderr
    first.close()
    third = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert third.returncode == 0, third.stderr
