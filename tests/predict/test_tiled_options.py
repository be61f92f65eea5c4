from __future__ import annotations

import pytest

from deft.contracts import InputError
from deft.data.raster import Channels
from deft.predict.tiled_options import channels_of, tiles_of
from deft.segment.tiles import Tiles


def test_options_become_settings() -> None:
    assert tiles_of("auto") == Tiles()
    assert tiles_of("512") == Tiles(size=512, overlap=128)
    assert tiles_of("512, 100", "0.5", "tile") == Tiles(size=512, overlap=100, scale=0.5, context="tile")
    assert channels_of(None, None) == Channels()
    assert channels_of("4,3,2", "-1,3000.5") == Channels((4, 3, 2), (-1.0, 3000.5))
    assert channels_of("2", None) == Channels((2,))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("big",), "--tiles big: expected auto, or one or two whole numbers"),
        (("",), "--tiles : expected auto"),
        (("1,2,3",), "--tiles 1,2,3: expected auto"),
        (("512.5",), "--tiles 512.5: expected auto"),
        (("9" * 5000,), "--tiles 9999999999999999999999999999999999999999: expected auto"),
        (("٥١٢",), "--tiles ٥١٢: expected auto"),
        (("32",), "--tiles 32: expected a whole number from 64 to 8,192, got 32"),
        (("512,300",), "--tiles 512,300: expected an overlap of at most half a tile"),
        (("512,-1",), "--tiles 512,-1: expected a whole number from 0"),
        (("auto", "0"), "--scale 0: expected a number above 0 to 4"),
        (("auto", "half"), "--scale half: expected a number above 0"),
        (("auto", "nan"), "--scale nan: expected a number above 0"),
        (("auto", "1,2"), "--scale 1,2: expected a number"),
        (("auto", None, "all"), "--context all: expected photograph or tile, got 'all'"),
    ],
)
def test_a_wrong_option_is_one_message(given: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError) as error:
        tiles_of(*given)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize("bands", ["1,2", "a,b,c", "1,2,3,4", "", "1.5"])
def test_wrong_bands(bands: str) -> None:
    with pytest.raises(InputError, match=rf"^--bands {bands}: expected one or three whole numbers, such as 1,2,3$"):
        channels_of(bands, None)


@pytest.mark.parametrize("values", ["1", "1,2,3", "low,high", ""])
def test_wrong_values(values: str) -> None:
    with pytest.raises(InputError, match=rf"^--values {values}: expected two numbers, such as 0,65535$"):
        channels_of(None, values)
