"""Negatives come from rows without tags and from a folder; whatever is tagged with a class is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.artifacts.contents import whole
from deft.contracts import InputError, Splits
from deft.data import open_data
from deft.data.examples import TaggedImages
from deft.data.transforms import TrainCrop
from deft.engine.negatives import Negatives, check_negatives, negatives_digest, with_negatives


@pytest.fixture(scope="module")
def splits(folder_data: Path) -> Splits:
    return open_data(f"folder:{folder_data}")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Three photographs, one of them in a folder of its own."""
    rng = np.random.default_rng(0)
    for name in ("rails.png", "lake.jpg", "more/sky.png"):
        path = tmp_path / "outside" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return tmp_path / "outside"


def test_rows_without_tags_and_photographs_are_negatives(splits: Splits, outside: Path) -> None:
    train = splits.train
    untagged = [name for name, tags in zip(train.names, train.labels, strict=True) if not tags.any()]
    assert untagged
    found = Negatives(train, outside)
    assert found.names == (*untagged, "lake", "more/sky", "rails")
    assert found.labels.shape == (len(found), 3) and not found.labels.any()
    assert (found[0].image == train[train.names.index(untagged[0])].image).all()
    assert (found[len(found) - 1].image == np.asarray(Image.open(outside / "rails.png"))).all()
    assert Negatives(train).names == tuple(untagged)
    with pytest.raises(IndexError):
        Negatives(train)[len(untagged)]


def test_an_example_is_a_tagged_image_and_a_random_negative(splits: Splits, outside: Path) -> None:
    examples = with_negatives(TaggedImages(splits.train, TrainCrop(32), (7, 7, 7)), outside)
    assert len(examples) == int(splits.train.labels.any(axis=1).sum())
    one, same, other = (examples.example(1, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one["image"].shape == one["negative"].shape == (3, 32, 32)
    assert bool(one["labels"].any()) and examples.name(1) in splits.train.names
    assert all(bool((one[key] == same[key]).all()) for key in one)
    assert bool((one["negative"] != other["negative"]).any())


def test_other_photographs_are_other_negatives(outside: Path) -> None:
    before = negatives_digest(outside, whole)
    assert before == negatives_digest(outside, whole) != ""
    shutil.move(outside / "rails.png", outside / "tracks.png")
    renamed = negatives_digest(outside, whole)
    (outside / "lake.jpg").write_bytes((outside / "tracks.png").read_bytes())
    assert len({before, renamed, negatives_digest(outside, whole)}) == 3
    assert negatives_digest(None, whole) == ""


def test_what_shows_no_class_is_accepted(splits: Splits, outside: Path, folder_data: Path) -> None:
    check_negatives(splits, None, "seeds.folder")
    check_negatives(splits, outside, "seeds.folder")
    (outside / "labels.csv").write_text("image,labels\nrails,railway\nlake,\n")  # no class of the data
    (outside / "notes.csv").write_text("anything at all\n")
    (outside / "notes.json").write_text("[1, 2]")
    shutil.copy(folder_data / "images" / "img_05.png", outside)  # an image of the data without tags
    check_negatives(splits, outside, "seeds.folder")


def _tagged_in(name: str, text: str) -> Callable[[Path, Path], None]:
    def spoil(outside: Path, data: Path) -> None:
        (outside / name).parent.mkdir(exist_ok=True)
        (outside / name).write_text(text)

    return spoil


def _copied(name: str, target: str) -> Callable[[Path, Path], None]:
    def spoil(outside: Path, data: Path) -> None:
        (outside / target).parent.mkdir(exist_ok=True)
        shutil.copy(data / "images" / f"{name}.png", outside / target)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_tagged_in("labels.csv", "image,labels\nrails,cat\n"), "rails .* is tagged 'cat' in labels.csv"),
        (_tagged_in("labels.csv", "image,labels\nlake,water;Cow\n"), "lake .* is tagged 'Cow'"),
        (_tagged_in("labels.json", '{"lake": ["water"], "rails": ["dog"]}'), "rails .* is tagged 'dog' in labels.json"),
        (_tagged_in("more/tags.tsv", "image\tlabels\nmore/sky\tdog\n"), "sky .* is tagged 'dog' in tags.tsv"),
        (_tagged_in("wide.csv", "image,cat,cow,dog\nlake,0,1,0\nrails,0,0,0\n"), "lake .* is tagged 'cow'"),
        (_copied("img_03", "a.png"), "a in .* is the image img_03 of the data, tagged cat, cow"),
        (_copied("img_08", "more/b.png"), "more/b in .* is the image img_08 of the data, tagged dog"),  # held out
        (_copied("img_05", "Cat/c.png"), "Cat/c in .* is in a folder 'Cat', which is a class"),
        (_copied("img_05", "deep/dog/c.png"), "deep/dog/c in .* is in a folder 'dog'"),
    ],
)
def test_tagged_images_are_refused(
    spoil: Callable[[Path, Path], None], said: str, splits: Splits, outside: Path, folder_data: Path
) -> None:
    (outside / "deep").mkdir()
    spoil(outside, folder_data)
    with pytest.raises(InputError, match=f"(?s)^seeds.folder: expected photographs that show none.*{said}"):
        check_negatives(splits, outside, "seeds.folder")


def test_the_images_of_the_data_itself_are_refused(splits: Splits, folder_data: Path) -> None:
    for folder in (folder_data, folder_data / "images"):
        with pytest.raises(InputError, match=r"\(and \d+ more\); remove what shows a class"):
            check_negatives(splits, folder, "seeds.folder")


def test_a_table_that_cannot_be_read_is_told(splits: Splits, outside: Path) -> None:
    (outside / "labels.json").write_text("{")
    with pytest.raises(InputError, match=r"labels\.json:1: not valid JSON"):
        check_negatives(splits, outside, "seeds.folder")


def test_folders_without_photographs_are_told(splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a folder of photographs .*, found none"):
        check_negatives(splits, tmp_path / "none", "seeds.folder")
    (tmp_path / "notes.txt").write_text("no image")
    for folder in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(InputError, match="that show none of the classes, found no"):
            check_negatives(splits, folder, "seeds.folder")


def test_data_without_any_is_told(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    tagged = open_data(f"folder:{make_folder(tmp_path / 'few', count=6, side=16)}")  # the one without tags is held out
    with pytest.raises(InputError, match=r"every training image has a tag.*--set seeds\.folder=FOLDER"):
        check_negatives(tagged, None, "seeds.folder")
    with pytest.raises(InputError, match="got 4 and 0"):
        with_negatives(TaggedImages(tagged.train, TrainCrop(16), (0, 0, 0)), None)
