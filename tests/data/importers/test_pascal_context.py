from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.cli.main import main
from deft.contracts import InputError
from deft.data import check, open_data
from deft.data.importers.pascal_context import import_contexts, read_context_names
from deft.data.layouts.voc import VOC_CLASSES

CLASSES = ("cat", "cow", "dog")
NAMES = ("cow", "sky", "Cat", "tall grass", "dog", "water")
WRITTEN = ("SegmentationContext", "context_classes.txt", "context_labels.csv")
NEW = {0: 255, 1: 0, 2: 1, 3: 0, 4: 2, 5: 0, 6: 3, 255: 255}
"""Value of a mask to the value it must become."""


def write_release(root: Path, images: list[str], side: int = 16) -> tuple[Path, Path]:
    """Masks of all values, palette and grey in turn, and the list of names."""
    masks = root / "masks"
    masks.mkdir(parents=True)
    for index, image in enumerate(images):
        rng = np.random.default_rng(index)
        shown = rng.choice(list(NEW), size=1 + index % 4, replace=False)
        picture = Image.fromarray(rng.choice(shown, size=(side, side)).astype(np.uint8))
        if index % 2:
            picture.putpalette([(37 * value) % 256 for value in range(768)])
        picture.save(masks / f"{image}.png")
    names = root / "names.txt"
    names.write_text("".join(f"{value}: {name}\n" for value, name in enumerate(NAMES, 1)))
    return masks, names


@pytest.fixture
def bare_voc(own_voc: Path) -> Path:
    """A ``voc:`` folder of 6 images without contexts."""
    shutil.rmtree(own_voc / "SegmentationContext")
    (own_voc / "context_classes.txt").unlink()
    (own_voc / "context_labels.csv").unlink()
    return own_voc


def test_contexts_come_back_through_voc(
    bare_voc: Path, tmp_path: Path, tree_state: Callable[[Path], str], capsys: pytest.CaptureFixture[str]
) -> None:
    images = [f"img_{index:02d}" for index in range(5)]  # the last image has no mask
    masks, names = write_release(tmp_path / "release", [*images, "of_another_year"])
    before = tree_state(tmp_path / "release"), tree_state(bare_voc / "JPEGImages")
    assert main(["import-contexts", str(masks), str(names), str(bare_voc)]) == 0
    said = capsys.readouterr()
    assert "3 contexts of 5 images" in said.out and "cow, Cat, dog" in said.out and "left out: 1 masks" in said.out
    assert "5/5" in said.err
    assert (tree_state(tmp_path / "release"), tree_state(bare_voc / "JPEGImages")) == before
    assert not list(bare_voc.glob(".part-*"))
    splits = open_data(f"voc:{bare_voc}")
    assert splits.val is not None and not [fault for fault in check(splits) if "Context" in fault.file]
    seen = 0
    for part in (splits.train, splits.val):
        assert part.contexts == ("sky", "tall grass", "water") and part.context_labels is not None
        for sample, labels in zip(part, part.context_labels, strict=True):
            if sample.name not in images:
                assert sample.context is None and not labels.any()
                continue
            given = np.array(Image.open(masks / f"{sample.name}.png"))
            wanted = np.vectorize(NEW.get)(given)
            np.testing.assert_array_equal(sample.context, wanted)
            assert labels.tolist() == [bool((wanted == value).any()) for value in (1, 2, 3)]
            seen += int(labels.sum())
    assert seen >= 3


def test_a_folder_apart_takes_all_masks(tmp_path: Path) -> None:
    masks, names = write_release(tmp_path, ["2008_000002", "2008_000003"])
    done = import_contexts(masks, names, tmp_path / "deep" / "out", CLASSES)
    assert (done.images, done.left_out) == (2, 0)
    assert sorted(path.name for path in (tmp_path / "deep" / "out").iterdir()) == list(WRITTEN)


def test_one_context_of_two_words_alone_in_the_table_is_read_as_one(bare_voc: Path, tmp_path: Path) -> None:
    masks, names = write_release(tmp_path / "release", [])
    Image.fromarray(np.full((16, 16), 4, np.uint8)).save(masks / "img_00.png")
    import_contexts(masks, names, bare_voc, CLASSES)
    train = open_data(f"voc:{bare_voc}").train
    assert train.context_labels is not None
    assert train.context_labels[0].tolist() == [False, True, False]


def test_spellings_of_objects(tmp_path: Path) -> None:
    masks, names = write_release(tmp_path, [])
    Image.fromarray(np.array([[1, 2, 3, 4, 5]], np.uint8)).save(masks / "a.png")
    names.write_text("potted plant\ntable\ntv/monitor\nTV monitor\ntables\n")
    done = import_contexts(masks, names, tmp_path / "out", VOC_CLASSES)
    assert done.contexts == ("tables",)
    assert np.array(Image.open(tmp_path / "out" / "SegmentationContext" / "a.png")).tolist() == [[0, 0, 0, 0, 1]]


@pytest.mark.parametrize(
    "text",
    [
        "1: sky\n2: tall grass\n",
        "1 sky\r\n2 tall grass\r\n",
        "\ufeffsky\n\ntall grass",
        "0: background\n1: sky\n2: tall grass\n",
        "background\nsky\ntall grass\n",
    ],
)
def test_ways_to_write_the_names(text: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(text, encoding="utf-8", newline="")
    assert read_context_names(tmp_path / "names.txt") == ("sky", "tall grass")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected one name per line"),
        ("0: background\n", "expected names of the values"),
        ("0: sky\n1: grass\n", r"names\.txt:1: expected number 1, got '0: sky'"),
        ("1: sky\n3: grass\n", r"names\.txt:2: expected number 2"),
        ("1: sky\ngrass\n", r"names\.txt:2: expected 'NUMBER: NAME'"),
        ("sky\n2: grass\n", r"names\.txt:2: expected only a name"),
        ("1: sky\n2: sky\n", r"names\.txt:2: 'sky' is already in line 1"),
        ("1: sky\n2: Sky\n", "differ only in case"),
        ("1: sky\n2: background\n", "is not a class"),
        ("1: sky;cloud\n", "contains ';'"),
        ("".join(f"{value}: name {value}\n" for value in range(1, 256)), "at most 254"),
        ("1: sk\0y\n", "zero byte"),
    ],
)
def test_broken_names_are_refused(text: str, said: str, tmp_path: Path) -> None:
    masks, names = write_release(tmp_path, ["a"])
    names.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        import_contexts(masks, names, tmp_path / "out", CLASSES)
    assert str(caught.value).startswith(str(names)) and "; " in str(caught.value)
    assert not (tmp_path / "out").exists()


def paint(masks: Path, mode: str, value: int) -> None:
    Image.new(mode, (4, 4), value).save(masks / "b.png")


def cleared(masks: Path) -> None:
    for file in masks.iterdir():
        file.unlink()


def renamed(masks: Path) -> None:
    for file in masks.iterdir():
        file.rename(file.with_suffix(".mat"))


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "value without a name": (lambda m: paint(m, "L", 7), r"b\.png: expected values 0 to 6.*names\.txt.*got 7; "),
    "colours": (lambda m: paint(m, "RGB", 1), r"b\.png: expected a mask with one channel.*colour image \(RGB\); "),
    "no picture": (lambda m: (m / "b.png").write_bytes(b"hello"), r"b\.png: .*; "),
    "two masks of one image": (
        lambda m: shutil.copy(m / "a.png", m / "a.PNG"),
        r"masks: expected one PNG for each image, got 2 for 'a'; ",
    ),
    "other files": (renamed, r"masks: expected PNGs.*got 2 x \.mat; "),
    "empty folder": (cleared, "masks: expected PNGs.*got no file; "),
    "no folder": (shutil.rmtree, "masks: expected a folder of PNGs, got nothing; "),
    "names of objects alone": (
        lambda m: (m.parent / "names.txt").write_text("cat\ncow\n"),
        r"names\.txt: expected names besides the object classes.*; ",
    ),
    "no names": (lambda m: (m.parent / "names.txt").unlink(), r"names\.txt: cannot be opened.*; "),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_what_cannot_be_used_is_refused_and_leaves_nothing(fault: str, tmp_path: Path) -> None:
    masks, names = write_release(tmp_path, ["a", "c"])
    spoil, said = SPOILED[fault]
    spoil(masks)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=said):
        import_contexts(masks, names, tmp_path / "out", CLASSES)
    assert not list((tmp_path / "out").iterdir())


def test_a_file_for_a_folder_is_refused(tmp_path: Path) -> None:
    masks, names = write_release(tmp_path, ["a"])
    with pytest.raises(InputError, match=r"names\.txt: expected a folder of PNGs, got a file"):
        import_contexts(names, names, tmp_path / "out", CLASSES)
    with pytest.raises(InputError, match=r"expected a path through folders, got .*names\.txt, a file"):
        import_contexts(masks, names, names, CLASSES)


@pytest.mark.parametrize("name", WRITTEN)
def test_nothing_that_exists_is_overwritten(name: str, own_voc: Path, tmp_path: Path) -> None:
    masks, names = write_release(tmp_path / "release", ["img_00"])
    out = tmp_path / "out"
    out.mkdir()
    (own_voc / name).rename(out / name)
    with pytest.raises(InputError, match=rf"out/{name}: already exists"):
        import_contexts(masks, names, out, CLASSES)
    assert [path.name for path in out.iterdir()] == [name]


def test_masks_of_other_images_are_refused(bare_voc: Path, tmp_path: Path) -> None:
    masks, names = write_release(tmp_path / "release", ["2008_000002"])
    with pytest.raises(InputError, match=r"expected PNGs named after the images in .*JPEGImages.*'2008_000002'; "):
        import_contexts(masks, names, bare_voc, CLASSES)
    assert main(["import-contexts", str(masks), str(names), str(bare_voc)]) == 2
