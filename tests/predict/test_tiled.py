from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deft
from deft.artifacts import load_mask, write_json
from deft.contracts import InputError
from deft.data.raster import Channels
from deft.predict.saved import config_of
from deft.predict.tiled import Small, predict_tiles
from deft.refine.crf import DenseCrf
from deft.segment.deeplab import save_network
from deft.segment.inference import Inference
from deft.segment.tiles import Tiles
from fakes import segmenter

TILES = Tiles(size=64, overlap=32)
pytestmark = [
    pytest.mark.filterwarnings("ignore:Dataset has no geotransform"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]


def large() -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((128, 96)))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "segment" / "model.safetensors"
    save_network(path, segmenter(image=large()), ("cat", "cow", "dog"), "key")
    return path.parent.parent


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A small photograph and a larger one."""
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    Image.fromarray(large()).resize((130, 90)).save(tmp_path / "photos" / "a.png")
    Image.fromarray(large()).resize((60, 40)).save(tmp_path / "photos" / "deep" / "b.jpg")
    return tmp_path / "photos"


def test_a_folder_becomes_masks_and_overlays(
    network: Path, photos: Path, tmp_path: Path, tree_state: Callable[[Path], str]
) -> None:
    before = tree_state(photos)
    assert predict_tiles(network, photos, tmp_path / "out", tiles=TILES, precision="32-true") == 2
    assert tree_state(photos) == before
    mask = load_mask(tmp_path / "out" / "masks" / "a.png")
    found = deft.load(network, precision="32-true").predict(photos / "a.png", tiles=TILES)
    assert mask.shape == (90, 130) and np.array_equal(found.mask, mask)
    assert len(np.unique(mask)) > 2
    assert set(found.scores) == set(found.found) and all(0.25 <= score <= 1 for score in found.scores.values())
    assert load_mask(tmp_path / "out" / "masks" / "deep" / "b.png").shape == (40, 60)
    with Image.open(tmp_path / "out" / "overlays" / "a.jpg") as overlay:
        assert overlay.width == 130
    pixels = np.asarray(Image.open(photos / "a.png").convert("RGB"))
    again = deft.load(network, precision="32-true").predict(pixels, tiles=TILES)
    assert np.array_equal(again.mask, mask)
    predict_tiles(
        network, photos / "a.png", tmp_path / "out", tiles=Tiles(size=64, overlap=16, scale=0.5)
    )  # its own are replaced


def test_a_crf_is_left_out_and_that_is_said(
    network: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = []
    for crf in (None, DenseCrf(iterations=2)):
        folder = tmp_path / f"model {crf is None}"
        save_network(folder / "model.safetensors", deft.load(network).network, ("cat", "cow", "dog"))
        write_json(folder / "config.json", config_of(("cat", "cow", "dog"), Inference(crf=crf), 512))
        out = tmp_path / f"masks {crf is None}"
        predict_tiles(folder, photos / "a.png", out, tiles=TILES, precision="32-true")
        assert ("without the CRF" in capsys.readouterr().err) == (crf is not None)
        masks.append(load_mask(out / "masks" / "a.png"))
    assert np.array_equal(*masks)


def test_tags_and_a_broken_photograph(network: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "tags.csv").write_text("image,labels\na,dog\n")
    (photos / "c.jpg").write_bytes(b"\xff\xd8\xff no image")
    with pytest.raises(InputError, match=r"2 of 3 photographs are done; these cannot be read:\n.*c\.jpg"):
        predict_tiles(network, photos, tmp_path / "out", tmp_path / "tags.csv", tiles=TILES)
    assert set(np.unique(load_mask(tmp_path / "out" / "masks" / "a.png"))) <= {0, 3}
    with pytest.raises(InputError, match="'horse' is no class"):
        deft.load(network).predict(photos / "a.png", ["horse"], TILES)


def test_a_large_photograph_gets_the_same_mask_in_windows(
    network: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rasterio = pytest.importorskip("rasterio")
    predict_tiles(network, photos / "a.png", tmp_path / "small", tiles=TILES, precision="32-true")
    monkeypatch.setattr("deft.data.windows.MAX_PIXELS", 5000)
    predict_tiles(network, photos, tmp_path / "large", tiles=TILES, precision="32-true")
    with rasterio.open(tmp_path / "large" / "masks" / "a.tif") as found:
        assert np.array_equal(found.read(1), load_mask(tmp_path / "small" / "masks" / "a.png"))
        assert found.crs is None and found.tags()["CLASS_3"] == "dog"
    assert (tmp_path / "large" / "masks" / "deep" / "b.png").exists()  # which is small
    assert not list((tmp_path / "large").rglob(".part*"))
    record = (tmp_path / "large" / "made.sha256").read_text()
    assert "  masks/a.tif\n" in record
    predict_tiles(network, photos, tmp_path / "large", tiles=TILES)  # it knows that the mask is its own


def test_the_mask_of_a_geotiff_lies_where_the_image_does(network: Path, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    bands = np.random.default_rng(0).integers(0, 3000, (4, 70, 90)).astype(np.uint16)
    bands[:, :10] = 0
    transform = rasterio.transform.from_origin(500_000, 5_000_000, 10, 10)
    profile = {"driver": "GTiff", "dtype": "uint16", "count": 4, "height": 70, "width": 90, "nodata": 0}
    path = tmp_path / "scene.tif"
    with rasterio.open(path, "w", crs="EPSG:32633", transform=transform, **profile) as file:
        file.write(bands)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"0 of 1 photographs are done.*\n.*scene\.tif: expected one band or three"):
        predict_tiles(network, path, tmp_path / "out", tiles=TILES)
    predict_tiles(network, path, tmp_path / "out", tiles=TILES, channels=Channels((3, 2, 1), (0, 3000)))
    assert path.read_bytes() == before
    with rasterio.open(tmp_path / "out" / "masks" / "scene.tif") as found:
        assert (found.crs, found.transform) == (rasterio.crs.CRS.from_epsg(32633), transform)
        mask = found.read(1)
    assert (mask[:10] == 255).all()
    assert set(np.unique(mask[10:])) <= {0, 1, 2, 3, 255}
    assert ((mask[10:] == 255) == (bands[:3, 10:] == 0).all(axis=0)).all()
    with Image.open(tmp_path / "out" / "overlays" / "scene.jpg") as overlay:
        assert overlay.width == 90


@pytest.mark.parametrize("size", [(2048, 1500), (3000, 7), (5, 4)])
def test_a_small_mask_is_made_of_parts(size: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).integers(0, 4, size, dtype=np.uint8)
    small = Small(size)
    for top in range(0, size[0], 333):
        for left in range(0, size[1], 501):
            rows, columns = slice(top, min(top + 333, size[0])), slice(left, min(left + 501, size[1]))
            small.take(rows, columns, mask[rows, columns])
    height, width = small.mask.shape
    assert max(height, width) == min(1024, max(size))
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in ((height, size[0]), (width, size[1])))
    assert np.array_equal(small.mask, mask[rows][:, columns])
