from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image

import deft
from deft.artifacts import load_mask, read_json
from deft.contracts import InputError
from deft.data.layouts.shards import read_shard
from deft.engine.ray_engine import Call, Ray
from deft.predict.masks import masks_of, predict_folder, predict_shards
from deft.predict.photographs import open_photographs
from deft.segment.deeplab import save_network
from fakes import segmenter
from ray_fakes import OneProcess
from userfiles import save_noise, write_tar


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "segment" / "model.safetensors"
    save_network(path, segmenter(), ("cat", "cow", "dog"), "key")
    return path.parent.parent


def test_one_photograph_from_a_file_or_an_array(network: Path, own_folder: Path) -> None:
    path = own_folder / "images" / "img_00.png"
    predictor = deft.load(network)
    found = predictor.predict(path)
    assert found.classes == ("cat", "cow", "dog")
    assert set(found.found) == {("cat", "cow", "dog")[value - 1] for value in np.unique(found.mask) if value}
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert (predictor.predict(pixels).mask == found.mask).all()
    assert found.mask.shape == pixels.shape[:2]


def test_tags_bound_what_is_found(network: Path, own_folder: Path) -> None:
    predictor = deft.load(network)
    found = predictor.predict(own_folder / "images" / "img_00.png", tags=["cow"])
    assert set(found.found) <= {"cow"}
    with pytest.raises(InputError, match="'horse' is no class of this network; it knows cat, cow, dog"):
        predictor.predict(own_folder / "images" / "img_00.png", tags=["horse"])


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_what_is_no_picture_is_refused(network: Path, image: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected an image file or RGB uint8"):
        deft.load(network).predict(image)


def test_a_folder_becomes_masks_and_overlays(
    network: Path, own_folder: Path, tmp_path: Path, tree_state: Callable[[Path], str]
) -> None:
    (own_folder / "images" / "deep").mkdir()
    (own_folder / "images" / "img_00.png").rename(own_folder / "images" / "deep" / "é %1.png")
    before = tree_state(own_folder)
    assert predict_folder(network, own_folder / "images", tmp_path / "out") == 6
    masks = sorted((tmp_path / "out" / "masks").rglob("*.png"))
    overlays = sorted((tmp_path / "out" / "overlays").rglob("*.jpg"))
    assert len(masks) == len(overlays) == 6
    assert any(path.parent.name == "deep" for path in masks)
    with Image.open(masks[0]) as mask:
        assert mask.mode == "P"
    assert tree_state(own_folder) == before


def test_one_photograph_and_a_table_of_tags(network: Path, own_folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "tags.csv"
    table.write_text("image,labels\nimg_01,dog\n")
    assert predict_folder(network, own_folder / "images" / "img_01.png", tmp_path / "out", table) == 1
    assert set(np.unique(load_mask(tmp_path / "out" / "masks" / "img_01.png"))) <= {0, 3}
    table.write_text("image,labels\nimg_01,dgo\n")
    with pytest.raises(InputError, match=r"tags.csv:2: unknown class 'dgo' \(nearest: 'dog'\)"):
        predict_folder(network, own_folder / "images" / "img_01.png", tmp_path / "out", table)


def test_a_broken_photograph_does_not_stop_the_others(network: Path, own_folder: Path, tmp_path: Path) -> None:
    (own_folder / "images" / "img_02.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"5 of 6 photographs are done; these cannot be read:\n.*img_02.png"):
        predict_folder(network, own_folder / "images", tmp_path / "out")
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 5


def test_nothing_to_do_is_told(network: Path, own_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a finished run"):
        deft.load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected a photograph or a folder that holds some"):
        predict_folder(network, tmp_path / "empty", tmp_path / "out")
    with pytest.raises(InputError, match="expected another folder"):
        predict_folder(network, own_folder / "images", own_folder / "images")


def test_a_table_of_tags_may_be_json(network: Path, own_folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "tags.json"
    table.write_text('{"img_01": ["dog"]}')
    assert predict_folder(network, own_folder / "images" / "img_01.png", tmp_path / "out", table) == 1
    assert set(np.unique(load_mask(tmp_path / "out" / "masks" / "img_01.png"))) <= {0, 3}


def write_shard(path: Path, images: list[Path], tags: list[str]) -> None:
    told = "\n".join(tags).encode()
    files = [(image.stem, (("png", image.read_bytes()), ("txt", told))) for image in images]
    write_tar(path, [(f"deep/{stem}.{suffix}", content) for stem, both in files for suffix, content in both])


def test_shards_become_shards_of_the_same_masks(network: Path, own_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    images = sorted((own_folder / "images").iterdir())
    for number, part in enumerate((images[:4], images[4:])):
        write_shard(tmp_path / f"p-{number}.tar", part, ["dog", "cow"])
    spec, out = f"shards:{tmp_path}/p-{{0..1}}.tar", tmp_path / "out"
    predict_folder(network, own_folder / "images", tmp_path / "files", precision="32-true")
    done = predict_shards(network, spec, out, overlays=True, precision="32-true")
    assert (done.images, done.shards) == (6, 2)
    found = {entry.key: entry.files for path in out.glob("*.tar") for entry in read_shard(path, lambda _: True)}
    assert found == {
        f"deep/{image.stem}": {
            "png": (tmp_path / "files" / "masks" / f"{image.stem}.png").read_bytes(),
            "jpg": (tmp_path / "files" / "overlays" / f"{image.stem}.jpg").read_bytes(),
        }
        for image in images
    }
    with pytest.raises(InputError, match=r"other settings:\n  overlays: True in the folder, False now"):
        predict_shards(network, spec, out, precision="32-true")


def test_tags_in_shards_bound_what_is_found(network: Path, own_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    images = sorted((own_folder / "images").iterdir())
    write_shard(tmp_path / "p.tar", images, ["dog"])
    predict_shards(network, f"shards:{tmp_path}/p.tar", tmp_path / "out", tags_from="txt")
    (tmp_path / "tags.csv").write_text("image,labels\n" + "".join(f"deep/{image.stem},dog\n" for image in images))
    predict_shards(network, f"shards:{tmp_path}/p.tar", tmp_path / "table", tmp_path / "tags.csv")
    for out in ("out", "table"):
        for entry in read_shard(tmp_path / out / "p.tar", lambda _: True):
            with Image.open(io.BytesIO(entry.files["png"])) as mask:
                assert set(np.unique(np.array(mask))) <= {0, 3}
    write_shard(tmp_path / "p.tar", images, ["dgo"])
    with pytest.raises(InputError, match=r"none of 6 photographs can be used; .*'dgo' is no class of this network"):
        predict_shards(network, f"shards:{tmp_path}/p.tar", tmp_path / "typo", tags_from="txt")


def contents(folder: Path) -> dict[str, bytes]:
    """Files by relative path; the record of hashes is in the order in which they came."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: b"".join(sorted(path.read_bytes().splitlines())) if name == "made.sha256" else path.read_bytes()
        for name, path in found.items()
    }


def test_a_cluster_makes_the_same_files_of_a_folder(network: Path, own_folder: Path, tmp_path: Path) -> None:
    images, ray = own_folder / "images", OneProcess()
    (tmp_path / "tags.csv").write_text("image,labels\nimg_01,cow\n")
    tags = tmp_path / "tags.csv"
    assert predict_folder(network, images, tmp_path / "plain", tags) == 6
    assert predict_folder(network, images, tmp_path / "ray", tags, ray=ray) == 6  # type: ignore[arg-type]
    assert contents(tmp_path / "ray") == contents(tmp_path / "plain")
    assert ray.blocks == [[0, 1, 2, 3, 4, 5]]
    (images / "img_02.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"5 of 6 photographs are done; these cannot be read:\n.*img_02\.png"):
        predict_folder(network, images, tmp_path / "ray", tags, ray=ray)  # type: ignore[arg-type]
    work = Call.of(masks_of, run=network, tags=None, precision="32-true", max_side=None)
    with pytest.raises(InputError, match="expected the photographs that the command found, found others"):
        open_photographs(images, "another digest", work, None)


@pytest.mark.parametrize("side", [32, None])
def test_a_cluster_reads_photographs_at_the_same_size(side: int | None, network: Path, tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        save_noise(tmp_path / "photos" / f"{name}.png", (40, 60))
    write_tar(tmp_path / "p.tar", [(path.name, path.read_bytes()) for path in (tmp_path / "photos").iterdir()])
    for out, ray in (("plain", None), ("ray", cast(Ray, OneProcess()))):
        predict_folder(network, tmp_path / "photos", tmp_path / out, max_side=side, ray=ray)
        spec = f"shards:{tmp_path}/p.tar"
        predict_shards(network, spec, tmp_path / f"{out}-shards", overlays=True, max_side=side, ray=ray)
    assert contents(tmp_path / "ray") == contents(tmp_path / "plain")
    assert contents(tmp_path / "ray-shards") == contents(tmp_path / "plain-shards")
    assert read_json(tmp_path / "ray-shards" / "made-from.json")["max_side"] == side
    assert load_mask(tmp_path / "ray" / "masks" / "a.png").shape == (40, 60)
    with Image.open(tmp_path / "ray" / "overlays" / "a.jpg") as overlay:
        assert overlay.width == (side or 60)  # below it are the names of the classes


def test_a_cluster_makes_the_same_shards(network: Path, own_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    photos = sorted((own_folder / "images").iterdir())
    for shard in range(3):
        members = [(path.name, path.read_bytes()) for path in photos[2 * shard : 2 * shard + 2]]
        write_tar(tmp_path / f"p-{shard}.tar", members)
    (tmp_path / "p-1.tar").write_bytes(b"damaged")
    spec, ray = f"shards:{tmp_path}/p-*.tar", OneProcess()
    for out, how in (("plain", None), ("ray", ray)):
        with pytest.raises(InputError, match=r"all else is done; 1 shards.*\n.*p-1\.tar"):
            predict_shards(network, spec, tmp_path / out, overlays=True, ray=how)  # type: ignore[arg-type]
    assert contents(tmp_path / "ray") == contents(tmp_path / "plain")
    assert sorted(ray.blocks) == [[0], [1], [2]]
    write_tar(tmp_path / "p-1.tar", [(photos[0].name, photos[0].read_bytes())])
    done = predict_shards(network, spec, tmp_path / "ray", overlays=True, ray=ray)  # type: ignore[arg-type]
    assert (done.images, done.shards, done.all_shards) == (1, 1, 3)
    assert ray.blocks[3:] == [[1]]
