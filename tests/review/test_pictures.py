"""Pictures for the page: sizes, layers, thumbnails that are kept up to a bound, photographs that EXIF turns."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.contracts import InputError
from deft.export.source import PREDICTIONS, PSEUDO
from deft.review.pictures import Kept, Pictures
from deft.review.serve import opened
from deft.review.session import Session
from export_runs import write_photographs, write_run


def pixels(content: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(content)))


@pytest.fixture(scope="module")
def pictures(made: Path) -> Pictures:
    return Pictures(opened(made))


def test_layers_are_palette_pngs_of_the_runs_masks(pictures: Pictures) -> None:
    source = pictures.session.source
    own = source.mask(PSEUDO, pictures.session.item(3))
    for name in ("mask", "pseudo", "refined"):
        content = pictures.layer(3, name)
        assert Image.open(io.BytesIO(content)).mode == "P"
        assert (pixels(content) == own).all()
    seeds = pixels(pictures.layer(3, "seeds"))
    assert 0 < np.count_nonzero(seeds != own) < own.size / 2
    assert (pixels(pictures.layer(9, "network")) == source.mask(PREDICTIONS, pictures.session.item(9))).all()


@pytest.mark.parametrize(("number", "name"), [(0, "network"), (9, "pseudo"), (9, "refined"), (0, "../x"), (0, "")])
def test_layers_that_there_are_not_are_told(pictures: Pictures, number: int, name: str) -> None:
    with pytest.raises(InputError, match=r"has no"):
        pictures.layer(number, name)


def test_photographs_and_thumbnails_look_like_the_photograph(pictures: Pictures) -> None:
    item = pictures.session.item(0)
    photograph = pictures.session.source.parts["train"][item.index].image.astype(int)
    for content in (pictures.photograph(0), pictures.thumbnail(0)):
        assert Image.open(io.BytesIO(content)).format == "JPEG"
        assert np.abs(pixels(content) - photograph).mean() < 8
    covered = pixels(pictures.thumbnail(0, with_mask=True)).astype(int)
    mask = pictures.session.mask(0)
    away = np.abs(covered - photograph).mean(axis=-1)
    assert away[mask > 0].mean() > 3 * away[:8].mean()


def test_a_thumbnail_follows_its_mask(session: Session) -> None:
    pictures = Pictures(session)
    before = pictures.thumbnail(0, with_mask=True)
    session.draw(0, 0, np.full((64, 64), 2, np.uint8), "fill")
    assert pictures.thumbnail(0, with_mask=True) != before
    assert pictures.thumbnail(0) == pictures.thumbnail(0)
    session.move(0, 1, -1)
    assert pictures.thumbnail(0, with_mask=True) == before


def test_superpixels_are_labels_in_the_bytes_of_colours(pictures: Pictures) -> None:
    coded = pixels(pictures.superpixels(0, 50)).astype(int)
    labels = coded[..., 0] + 256 * coded[..., 1] + 65536 * coded[..., 2]
    assert labels.shape == (64, 64)
    assert (np.unique(labels) == np.arange(labels.max() + 1)).all()


def test_photographs_are_upright_like_their_masks(tmp_path: Path) -> None:
    data = write_photographs(tmp_path / "data")
    session = opened(write_run(tmp_path / "run", data))
    pictures = Pictures(session)
    for number, item in enumerate(session.gallery.items):
        height, width = session.gallery.size(number)
        assert (height, width) == session.mask(number).shape
        assert pixels(pictures.photograph(number)).shape == (height, width, 3)
        assert pixels(pictures.layer(number, "mask")).shape == (height, width)
        assert pixels(pictures.thumbnail(number)).shape == (height, width, 3), item.name


def test_large_photographs_are_edited_small_and_their_thumbnails_are_smaller(tmp_path: Path) -> None:
    data = write_photographs(tmp_path / "data")
    Image.new("RGB", (2600, 1300), "green").save(data / "images" / "a.jpg")
    mask = np.zeros((1300, 2600), np.uint8)
    mask[:, 1300:] = 1
    run = write_run(tmp_path / "run", data)
    session = opened(run)
    number = [item.name for item in session.gallery.items].index("a")
    session.draw(number, 0, np.ones((1024, 2048), np.uint8), "fill")
    assert session.mask(number).shape == (1300, 2600)
    pictures = Pictures(session)
    assert pixels(pictures.photograph(number)).shape == (1024, 2048, 3)
    assert pixels(pictures.layer(number, "mask")).shape == (1024, 2048)
    assert pixels(pictures.thumbnail(number, with_mask=True)).shape == (128, 256, 3)


def test_a_photograph_that_cannot_be_read_is_told(run: Path, tmp_path: Path) -> None:
    data = write_photographs(tmp_path / "data")
    session = opened(write_run(tmp_path / "other", data))
    (data / "images" / "a.jpg").write_bytes(b"no picture")
    number = [item.name for item in session.gallery.items].index("a")
    for look in (Pictures(session).photograph, Pictures(session).thumbnail):
        with pytest.raises(InputError, match=r"a\.jpg"):
            look(number)


def test_only_so_many_bytes_are_kept() -> None:
    kept, made = Kept(most=100), []

    def make(name: str, size: int) -> bytes:
        def making() -> bytes:
            made.append(name)
            return b"x" * size

        return kept.get(name, making)

    for name in ("a", "b", "a", "c", "a", "b"):  # c drives out b, which was not asked for again
        assert len(make(name, 40)) == 40
    assert made == ["a", "b", "c", "b"]
    assert len(make("large", 1000)) == 1000
    assert make("a", 40)
    assert made[-2:] == ["large", "a"]
