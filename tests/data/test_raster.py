from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft.artifacts import palette
from deft.contracts import InputError
from deft.data.raster import Channels, mask_writer, opened_raster
from fakes import uninstall

pytestmark = [
    pytest.mark.filterwarnings("ignore:Dataset has no geotransform"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]
ALL = (slice(0, 40), slice(0, 50))


def write(path: Path, bands: np.ndarray, **how: Any) -> Path:
    """A TIFF of bands (B, H, W)."""
    rasterio = pytest.importorskip("rasterio")
    profile = {"driver": "GTiff", "dtype": bands.dtype, "count": len(bands), "height": bands.shape[1]}
    with rasterio.open(path, "w", width=bands.shape[2], **(profile | how)) as file:
        file.write(bands)
    return path


def values(count: int, kind: type = np.uint8, most: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, most, (count, 40, 50)).astype(kind)


def read(path: Path, channels: Channels | None = None) -> np.ndarray:
    with opened_raster(path, channels or Channels()) as raster:
        assert raster.size == (40, 50)
        whole = raster.window(*ALL)
        assert np.array_equal(raster.window(slice(3, 9), slice(10, 50)), whole[3:9, 10:50])
        return whole


@pytest.mark.parametrize("how", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16}, {"BIGTIFF": "YES"}])
def test_colours_are_those_of_the_file(how: dict[str, Any], tmp_path: Path) -> None:
    bands = values(3)
    path = write(tmp_path / "a.tif", bands, photometric="RGB", **how)
    assert np.array_equal(read(path), bands.transpose(1, 2, 0))


def test_grey_a_palette_and_opacity(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    grey = values(1)
    assert np.array_equal(read(write(tmp_path / "grey.tif", grey)), np.repeat(grey.transpose(1, 2, 0), 3, axis=2))
    path = write(tmp_path / "palette.tif", values(1, most=3), photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (9, 8, 7, 255), 1: (1, 2, 3, 255), 2: (250, 0, 0, 255)})
    colours = np.array([(9, 8, 7), (1, 2, 3), (250, 0, 0)], np.uint8)
    assert np.array_equal(read(path), colours[values(1, most=3)[0]])
    four = values(4)
    four[3, :5] = 0
    path = write(tmp_path / "rgba.tif", four, photometric="RGB", alpha="YES")
    assert np.array_equal(read(path), four[:3].transpose(1, 2, 0))
    with opened_raster(path, Channels()) as raster:
        there = raster.valid(*ALL)
    assert there is not None and np.array_equal(there, four[3] > 0)


def test_bands_are_named_and_values_have_a_range(tmp_path: Path) -> None:
    bands = values(5, np.uint16, 4000)
    path = write(tmp_path / "a.tif", bands)
    found = read(path, Channels((4, 1, 5), (1000, 3000)))
    expected = np.rint(255 * ((bands[[3, 0, 4]].astype(float) - 1000) / 2000).clip(0, 1))
    assert np.array_equal(found, expected.transpose(1, 2, 0))
    one = read(path, Channels((2,), (0, 4000)))
    assert (one[..., 0] == one[..., 2]).all()


def test_pixels_without_data(tmp_path: Path) -> None:
    bands = values(3)
    bands[:, 10:20] = 0
    with opened_raster(write(tmp_path / "a.tif", bands, photometric="RGB", nodata=0), Channels()) as raster:
        there = raster.valid(slice(5, 30), slice(0, 50))
    assert there is not None and np.array_equal(there, (bands > 0).any(axis=0)[5:30])
    floats = values(3).astype(np.float32)
    floats[:, 3, 4] = np.nan
    path = write(tmp_path / "f.tif", floats)
    with opened_raster(path, Channels(values=(0, 255))) as raster:
        there = raster.valid(*ALL)
        assert there is not None and not there[3, 4] and there.sum() == 40 * 50 - 1
        assert np.array_equal(raster.window(*ALL)[0], values(3)[:, 0].T)
    with opened_raster(write(tmp_path / "b.tif", values(3), photometric="RGB"), Channels()) as raster:
        assert raster.valid(*ALL) is None


@pytest.mark.parametrize(
    ("bands", "channels", "said"),
    [
        (values(5), Channels(), r"expected one band or three, got 5; name those .* with --bands"),
        (values(2), Channels(), r"expected one band or three, got 2"),
        (values(3), Channels((1, 2, 4)), r"expected bands from 1 to 3, got 4; correct --bands"),
        (values(3, np.uint16), Channels(), r"expected bands of 8 bits, got uint16; say .* --values LOW,HIGH"),
        (values(4, np.int16), Channels((1, 2, 3)), r"expected bands of 8 bits, got int16"),
        (values(1, np.float32), Channels(), r"expected bands of 8 bits, got float32"),
        (values(3, np.complex64), Channels(values=(0, 1)), r"expected bands of real numbers, got complex ones"),
    ],
)
def test_what_cannot_become_colours_is_one_fault(
    bands: np.ndarray, channels: Channels, said: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.tif", bands)
    with pytest.raises(InputError, match=r"a\.tif: " + said), opened_raster(path, channels):
        pass


@pytest.mark.parametrize("bands", [(0, 1, 2), (1, 2), (1, 2, 3, 4), (-1,)])
def test_a_wrong_choice_of_bands(bands: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"--bands: expected three bands .*, got"):
        Channels(bands)


@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_a_wrong_range_of_values(ends: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="--values: expected two numbers that rise"):
        Channels(values=ends)


@pytest.mark.parametrize("kept", [3, 60, 3000])
def test_a_damaged_file_is_one_message(kept: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", values(3), photometric="RGB", compress="deflate")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"a\.tif: damaged"), opened_raster(path, Channels()) as raster:
        raster.window(*ALL)


def test_a_size_or_a_block_that_fits_into_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tif", values(3), photometric="RGB")
    monkeypatch.setattr("deft.data.raster._LARGEST_BLOCK", 500)
    with pytest.raises(InputError, match=r"stored in blocks of 50 x .*TILED=YES"), opened_raster(path, Channels()):
        pass
    monkeypatch.setattr("deft.data.raster._MOST", 1000)
    with pytest.raises(InputError, match=r"expected at most .* billion pixels"), opened_raster(path, Channels()):
        pass


def test_a_mask_keeps_the_place_and_the_names_of_the_classes(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    transform = rasterio.transform.from_origin(500_000, 5_000_000, 0.5, 0.5)
    source = write(tmp_path / "a.tif", values(3), photometric="RGB", crs="EPSG:32633", transform=transform)
    mask = values(1, most=3)[0]
    with opened_raster(source, Channels()) as raster:
        assert raster.is_placed
        place = raster.place()
    with mask_writer(tmp_path / "mask", (40, 50), ("cat", "dog"), palette(), place) as put:
        put(slice(0, 25), slice(0, 50), mask[:25])
        put(slice(25, 40), slice(0, 30), mask[25:, :30])
        put(slice(25, 40), slice(30, 50), mask[25:, 30:])
    with rasterio.open(tmp_path / "mask") as found:
        assert np.array_equal(found.read(1), mask)
        assert (found.crs, found.transform, found.nodata) == (rasterio.crs.CRS.from_epsg(32633), transform, 255)
        assert found.colormap(1)[1] == (128, 0, 0, 255)
        assert {"CLASS_1": "cat", "CLASS_2": "dog"}.items() <= found.tags().items()
        assert found.profile["tiled"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "mask"]  # and nothing beside them
    with opened_raster(write(tmp_path / "b.tif", values(3), photometric="RGB"), Channels()) as raster:
        assert not raster.is_placed and raster.place() == {}


def test_a_mask_that_cannot_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    with pytest.raises(OSError), mask_writer(tmp_path / "none" / "mask", (4, 5), (), palette(), {}):
        pass


def test_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall("rasterio", monkeypatch)
    with pytest.raises(InputError, match=r"pip install 'deft-wsss\[geo\]'"), opened_raster(tmp_path, Channels()):
        pass


def test_more_bands_than_any_camera_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deft.data.raster._MOST_BANDS", 2)
    with pytest.raises(InputError, match=r"a\.tif: expected at most 2 bands, got 3; divide it"):
        read(write(tmp_path / "a.tif", values(3), photometric="RGB"))


def test_bands_that_are_stored_together_are_decoded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deft.data.raster._LARGEST_BLOCK", 1000)
    tiled = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    assert read(write(tmp_path / "a.tif", values(4), interleave="band", **tiled), Channels((1, 2, 3))).any()
    with pytest.raises(InputError, match="blocks of 16 x 16 pixels, which do not fit into bounded memory"):
        read(write(tmp_path / "b.tif", values(4), interleave="pixel", **tiled), Channels((1, 2, 3)))


@pytest.mark.parametrize("error", ["CPLE_AppDefinedError", "text"])
def test_errors_of_gdal_are_told(error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*given: object) -> None:
        raise UnicodeDecodeError("utf-8", b"\xb1", 0, 1, "invalid") if error == "text" else cple(1, 1, "Key 0")

    cple = importlib.import_module("rasterio._err").CPLE_AppDefinedError
    monkeypatch.setattr("deft.data.raster._palette", fails)
    with pytest.raises(InputError, match=r"a\.tif: damaged, or stored in a way that is not read"):
        read(write(tmp_path / "a.tif", values(3), photometric="RGB"))
