from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.contracts import InputError
from deft.data.images import read_image
from deft.data.scaling import FILTER
from deft.data.upright import turn_for
from deft.data.windows import InMemory, OnDisk, Turned, is_large, opened, scaled_window


def smooth(height: int, width: int) -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def with_orientation(path: Path, image: np.ndarray, orientation: int, kind: str) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(
        path, format=kind, exif=exif, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {})
    )
    return path


@pytest.mark.parametrize("orientation", range(2, 9))
def test_windows_of_a_turned_photograph_are_those_of_the_upright_one(orientation: int) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    turn = turn_for(orientation)
    assert turn is not None
    upright = np.asarray(Image.fromarray(stored).transpose(turn))
    windows = Turned(InMemory(stored), turn)
    assert windows.size == upright.shape[:2]
    for rows, columns in ((slice(0, 2), slice(1, 4)), (slice(3, 5), slice(0, 5)), (slice(1, 2), slice(4, 5))):
        assert np.array_equal(windows.window(rows, columns), upright[rows, columns])


def test_windows_of_a_file_of_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    windows = OnDisk(io.BytesIO(pixels.tobytes()), (6, 5))
    assert np.array_equal(windows.window(slice(2, 6), slice(1, 4)), pixels[2:6, 1:4])
    assert np.array_equal(windows.window(slice(0, 6), slice(0, 5)), pixels)


@pytest.mark.parametrize("size", [(90, 70), (45, 35), (61, 33), (180, 100), (23, 17)])
def test_a_scaled_window_is_that_of_the_scaled_photograph(size: tuple[int, int]) -> None:
    image = smooth(90, 70)
    whole = scaled_window(InMemory(image), size, slice(0, size[0]), slice(0, size[1]))
    reference = np.asarray(Image.fromarray(image).resize(size[::-1], FILTER, reducing_gap=2.0)).astype(int)
    assert np.abs(whole - reference).max() <= 6  # where blocks are averaged first, Pillow cuts them otherwise
    for top, left in ((0, 0), (size[0] // 3, size[1] // 2), (size[0] - 9, size[1] - 8)):
        rows, columns = slice(top, top + 9), slice(left, left + 8)
        part = scaled_window(InMemory(image), size, rows, columns).astype(int)
        assert np.abs(part - whole[rows, columns]).max() <= 1  # of rounding


def test_blocks_are_averaged_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    image = smooth(400, 300)
    rows, columns = slice(3, 30), slice(0, 25)
    whole = scaled_window(InMemory(image), (40, 30), rows, columns)
    seen: list[int] = []

    class Watched(InMemory):
        def window(self, rows: slice, columns: slice) -> np.ndarray:
            seen.append(rows.stop - rows.start)
            return super().window(rows, columns)

    monkeypatch.setattr("deft.data.windows._READ", 300 * 20)
    assert np.array_equal(scaled_window(Watched(image), (40, 30), rows, columns), whole)
    assert max(seen) == 20 and len(seen) > 10


def test_a_photograph_is_decoded_once_and_small_if_no_more_is_wanted(tmp_path: Path) -> None:
    path = with_orientation(tmp_path / "a.jpg", smooth(160, 240), 6, "JPEG")
    with opened(path) as photograph:
        assert photograph.size == photograph.windows.size == (240, 160)
        assert not photograph.is_large and photograph.raster is None
        assert np.array_equal(photograph.windows.window(slice(0, 240), slice(0, 160)), read_image(path))
    with opened(path, 0.25) as photograph:
        assert (photograph.size, photograph.windows.size) == ((240, 160), (60, 40))
        assert photograph.view((60, 40), slice(0, 60), slice(0, 40)).shape == (60, 40, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_a_large_photograph_is_decoded_into_a_file(
    kind: str, orientation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rasterio")
    path = with_orientation(tmp_path / f"a.{kind.lower()}", smooth(300, 200), orientation, kind)
    upright = read_image(path).astype(int)
    assert not is_large(path)
    monkeypatch.setattr("deft.data.windows.MAX_PIXELS", 50_000)
    assert is_large(path)
    with opened(path) as photograph:
        assert photograph.is_large
        assert photograph.size == upright.shape[:2]
        found = photograph.windows.window(slice(0, upright.shape[0]), slice(0, upright.shape[1]))
    assert np.abs(found - upright).max() <= (2 if kind == "JPEG" else 0)  # decoders round colours differently


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "I;16", "CMYK"])
def test_large_photographs_of_other_modes(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rasterio")
    image = Image.fromarray(smooth(60, 50))
    if mode == "RGBA":
        image.putalpha(Image.fromarray(smooth(60, 50)[..., 0] // 86 * 127))
    elif mode == "I;16":
        image = Image.fromarray(smooth(60, 50)[..., 0].astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path)
    expected = read_image(path).astype(int)
    monkeypatch.setattr("deft.data.windows.MAX_PIXELS", 100)
    with opened(path) as photograph:
        found = photograph.windows.window(slice(0, 60), slice(0, 50))
    assert np.abs(found - expected).max() <= (2 if mode == "CMYK" else 1)


@pytest.mark.parametrize("damage", ["half", "nothing behind the header", "bytes in the middle"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_damaged_large_photograph_is_one_message(
    kind: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rasterio")
    path = tmp_path / "a.bin"
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format=kind)
    content = path.read_bytes()
    broken = {
        "half": content[: len(content) // 2],
        "nothing behind the header": content[:700],
        "bytes in the middle": content[: len(content) // 2] + b"\xff\xd9" * 200 + content[len(content) // 2 + 400 :],
    }
    path.write_bytes(broken[damage])
    monkeypatch.setattr("deft.data.windows.MAX_PIXELS", 100)
    with pytest.raises(InputError, match=r"a\.bin: (damaged|not an image)"), opened(path):
        pass


def test_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(smooth(30, 20)).save(tmp_path / "a.png")
    Image.fromarray(smooth(30, 20)).save(tmp_path / "a.bmp")
    monkeypatch.setattr("deft.data.windows.MAX_PIXELS", 100)
    monkeypatch.setattr("deft.data.windows._LARGEST", 500)
    with pytest.raises(InputError, match="got 20 x 30; save it as a tiled TIFF"), opened(tmp_path / "a.png"):
        pass
    monkeypatch.setattr("deft.data.images.MAX_PIXELS", 100)
    with pytest.raises(InputError, match="expected at most"), opened(tmp_path / "a.bmp"):
        pass
