"""Runs on a cluster end with the bytes of runs without one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest

from deft.artifacts import load_seeds, read_json, write_json
from deft.cli.main import main
from deft.contracts import InputError
from deft.engine import threads
from deft.engine.ray_engine import Call
from deft.pipeline import Pipeline
from deft.recipes import RECIPES
from deft.recipes.finding import chosen as chosen_by_words
from deft.runner.on_ray import OnRay, open_share
from deft.runner.run import run
from ray_fakes import OneProcess
from short import tiny

WORDS = {"amn": ("amn",), "rounds": ("cda", "segment=none"), "masks": ("cam", "segment=none")}
WORDS["small"] = ("cam", "segment=none", "max_side=40", "threads=2", "seed_threshold=0.3")
"""Recipes of the runs, with settings: every kind of share, a run of two rounds, and short ones."""


def chosen(name: str) -> tuple[str, Pipeline]:
    recipe, *settings = WORDS[name]
    return recipe, tiny(RECIPES[recipe](), *settings, "precision=32-true", steps=4)


def on_ray(name: str, data: str) -> OnRay:
    """The engine of one of these runs, without a cluster."""
    return OnRay(cast(Any, OneProcess()), Call.of(chosen, name=name), data, WORDS[name][0])


def files(folder: Path) -> dict[str, bytes]:
    """Contents of a run's files of images and networks."""
    kinds = (".npz", ".png", ".safetensors")
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.suffix in kinds}
    return {name: path.read_bytes() for name, path in found.items()}


@pytest.mark.parametrize(("name", "shares"), [("amn", 8), ("rounds", 10), ("small", 3)])
def test_every_file_has_the_bytes_of_a_run_without_ray(
    name: str, shares: int, folder_data: Path, tmp_path: Path
) -> None:
    data = f"folder:{folder_data}"
    run(chosen(name)[1], data, tmp_path / "plain")
    engine = on_ray(name, data)
    run(chosen(name)[1], data, tmp_path / "ray", engine=engine)
    assert files(tmp_path / "ray") == files(tmp_path / "plain")
    blocks = cast(OneProcess, engine.ray).blocks
    assert len(blocks) == shares and all(blocks)


def test_a_run_goes_on_where_it_stopped(folder_data: Path, tmp_path: Path) -> None:
    data, out = f"folder:{folder_data}", tmp_path / "run"
    run(chosen("masks")[1], data, out)
    before = files(out)
    for name in ("seeds", "masks"):
        record = read_json(out / name / "stage.json")
        record.pop("files", None)
        write_json(out / name / "stage.json", {**record, "state": "begun"})
    gone = sorted((out / "seeds" / "train").glob("*.npz"))[2:5]
    for path in gone:
        path.unlink()
    engine = on_ray("masks", data)
    run(chosen("masks")[1], data, out, engine=engine)
    assert cast(OneProcess, engine.ray).blocks == [[2, 3, 4]]  # masks are all there
    assert files(out) == before


def begun_run(data: str, out: Path, name: str = "masks") -> list[dict[str, Any]]:
    """The arguments by which a worker opens each share of a run, whose files are made."""
    seen: list[Call] = []

    class Noted(OneProcess):
        def map(self, call: Call, items: Any, **more: Any) -> Any:
            seen.append(call)
            return super().map(call, items, **more)

    run(chosen(name)[1], data, out, engine=OnRay(cast(Any, Noted()), Call.of(chosen, name=name), data, "cam"))
    return [dict(call.arguments) for call in seen]


def test_a_worker_refuses_what_is_not_the_run(folder_data: Path, make_folder: Any, tmp_path: Path) -> None:
    given, *_ = begun_run(f"folder:{folder_data}", tmp_path / "run")
    make = open_share(**given)
    assert make([0, 3]) == 2  # they are there
    (tmp_path / "run" / "seeds" / "train" / "img_03.npz").unlink()
    assert make([0, 3]) == 2
    assert (tmp_path / "run" / "seeds" / "train" / "img_03.npz").exists()

    with pytest.raises(InputError, match="put the run folder on storage that every machine sees"):
        open_share(**{**given, "folder": str(tmp_path / "elsewhere" / "seeds")})
    with pytest.raises(InputError, match="expected the recipe of the run, got one with other settings"):
        open_share(**{**given, "chosen": Call.of(chosen, name="amn"), "name": "amn"})
    with pytest.raises(InputError, match="expected the recipe other, as where the command runs, got cam"):
        open_share(**{**given, "name": "other"})
    with pytest.raises(InputError, match="expected the data of the run, with images 8, got"):
        open_share(**{**given, "data": "demo:train=6,val=2,size=96"})
    other = make_folder(tmp_path / "other")
    shutil.move(other / "images" / "img_01.png", other / "images" / "img_011.png")
    table = (other / "labels.csv").read_text().replace("img_01,", "img_011,")
    (other / "labels.csv").write_text(table)
    with pytest.raises(InputError, match="expected the images of the run in the same order, got others"):
        open_share(**{**given, "data": f"folder:{other}"})


def test_a_worker_reads_small_photographs_and_no_file_for_its_digest(
    folder_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    train, val, masks = begun_run(f"folder:{folder_data}", out, "small")
    assert [Path(one["folder"]).relative_to(out).as_posix() for one in (train, val, masks)] == [
        *("seeds", "seeds/val", "masks")
    ]
    before = files(out)

    def unwanted(*given: object, **more: object) -> None:
        raise AssertionError("a worker read files for their digests")

    contents = (out / "contents.json").read_bytes() if (out / "contents.json").exists() else b""
    monkeypatch.setattr("deft.artifacts.contents.Contents.__call__", unwanted)
    for one, part, suffix in ((train, "seeds/train", "npz"), (val, "seeds/val", "npz"), (masks, "masks", "png")):
        path = sorted((out / part).glob(f"*.{suffix}"))[1]
        path.unlink()
        with threads.computing(threads.Choice(1, "as a worker"), tell=False):
            assert open_share(**one)([1]) == 1
        assert path.exists()
    assert files(out) == before
    assert ((out / "contents.json").read_bytes() if (out / "contents.json").exists() else b"") == contents
    made = load_seeds(sorted((out / "seeds" / "train").glob("*.npz"))[1])
    assert made.size == (40, 40) and made.photograph == (64, 64)


OWN_RECIPE = """from dataclasses import dataclass, replace

import numpy as np
import torch

import deft
from deft.recipes import cam
from short import tiny


@dataclass(frozen=True)
class Bright:
    level: float = 0.5

    @property
    def learning(self):
        return None

    def prepare(self, context):
        def locate(sample):
            height, width = sample.image.shape[:2]
            classes = tuple(int(k) for k in np.flatnonzero(sample.labels))
            grey = torch.from_numpy(sample.image[::4, ::4].mean(axis=2) / 255).float()
            maps = [(grey * self.level * (k + 1)).clamp(0, 1) for k in classes]
            return deft.SeedMaps(classes, torch.stack(maps) if maps else torch.zeros(0, *grey.shape), (height, width))

        return locate


def recipe():
    return tiny(replace(cam(), seeds=Bright()), "segment=none", "precision=32-true", steps=2)
"""
OWN_DATA = """from deft import ImageDataset, Splits, open_data


def part(data):
    return ImageDataset(data.classes, data.labels, lambda i: data[i].image, mask=lambda i: data[i].mask, version="1")


def drawn(count: int = 8):
    demo = open_data(f"demo:train={count},val=2,size=64")
    return Splits(part(demo.train), part(demo.val))
"""


def test_recipes_methods_and_data_of_own_files_are_loaded_by_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_recipe.py").write_text(OWN_RECIPE)
    (tmp_path / "my_data.py").write_text(OWN_DATA)
    monkeypatch.chdir(tmp_path)
    words = ["run", "my_recipe.py", "--data", "my_data.py:drawn?count=6"]
    assert main([*words, "--out", "plain"]) == 0
    monkeypatch.setattr("deft.engine.ray_engine.Ray", lambda address: nullcontext(OneProcess()))
    assert main([*words, "--out", "ray", "--engine", "ray"]) == 0
    assert files(tmp_path / "ray") == files(tmp_path / "plain")

    name, _ = chosen_by_words("my_recipe.py", False, [])
    given: dict[str, Any] = {"title": "seeds (train)", "folder": str(tmp_path / "plain" / "seeds"), "files": ""}
    given |= {"chosen": Call.of(chosen_by_words, recipe="my_recipe.py", paper=False, settings=[]), "name": name}
    given |= {"data": "my_data.py:drawn?count=6"}
    with pytest.raises(InputError, match="expected the images of the run in the same order"):
        open_share(**given)
    (tmp_path / "my_data.py").write_text(OWN_DATA + "# changed\n")
    with pytest.raises(InputError, match="expected the Python file that the run was made with, got a changed one"):
        open_share(**given)
    (tmp_path / "my_recipe.py").write_text(OWN_RECIPE + "# changed\n")
    with pytest.raises(InputError, match=r"expected the recipe my_recipe \(.*have the same file on every machine"):
        open_share(**given)
    (tmp_path / "my_recipe.py").unlink()
    with pytest.raises(InputError, match=r"my_recipe\.py: expected a Python file, found no file"):
        open_share(**given)


@pytest.mark.slow
def test_a_run_on_a_real_cluster(tmp_path: Path) -> None:
    """The whole command: own files, workers of their own, the bytes of the run without Ray."""
    (tmp_path / "my_recipe.py").write_text(OWN_RECIPE)
    (tmp_path / "my_data.py").write_text(OWN_DATA)
    words = ["-m", "deft", "run", "my_recipe.py", "--data", "my_data.py:drawn?count=12"]
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    for out, more in (("plain", []), ("ray", ["--engine", "ray"])):
        done = subprocess.run(
            [sys.executable, *words, "--out", out, *more], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert files(tmp_path / "ray") == files(tmp_path / "plain")
