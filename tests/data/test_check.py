from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.contracts import InputError
from deft.data import check, open_data
from deft.data.check import MASKS


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def without_labels(root: Path) -> None:
    (root / "labels.csv").unlink()


def json_with(text: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        without_labels(root)
        (root / "labels.json").write_text(text, encoding="utf-8")

    return spoil


ROWS = '{\n"img_00": ["cat"], "img_01": ["cow"],\n"img_02": ["dog"], "img_03": ["cat", "cow"],\n'

# What is spoilt in a sound folder; where the fault is named; a word of the message.
FAULTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "unknown class": (lambda r: replace(r / "labels.csv", "cat;cow", "cat;cwo"), "labels.csv:5", "nearest: 'cow'"),
    "wrong case": (lambda r: replace(r / "labels.csv", "img_00,cat", "img_00,Cat"), "labels.csv:2", "nearest: 'cat'"),
    "label without image": (lambda r: append(r / "labels.csv", "img_0,cow\n"), "labels.csv:8", "no image 'img_0'"),
    "image without row": (lambda r: replace(r / "labels.csv", "img_02,dog\n", ""), "labels.csv", "'img_02' has no row"),
    "two rows of one image": (lambda r: append(r / "labels.csv", "img_00,dog\n"), "labels.csv:8", "line 2"),
    "no header": (lambda r: replace(r / "labels.csv", "image,labels\n", ""), "labels.csv:1", "'image,labels'"),
    "labels parted by commas": (lambda r: replace(r / "labels.csv", "cat;cow", "cat,cow"), "labels.csv:5", "';'"),
    "one column": (lambda r: replace(r / "labels.csv", "img_05,", "img_05"), "labels.csv:7", "columns"),
    "no name": (lambda r: append(r / "labels.csv", ",cow\n"), "labels.csv:8", "no image"),
    "open quote": (lambda r: replace(r / "labels.csv", "img_02", '"img_02'), "labels.csv:4", "quote"),
    "empty table": (lambda r: (r / "labels.csv").write_text("image,labels\n"), "labels.csv", "no rows"),
    "no text": (lambda r: (r / "labels.csv").write_bytes(b"image,labels\na,c\xe1\xe9\xe1\n"), "labels.csv:2", "UTF-8"),
    "a workbook": (lambda r: (r / "labels.csv").write_bytes(b"PK\x03\x04" + bytes(90)), "labels.csv", "Excel"),
    "no labels at all": (without_labels, "folder", "labels.csv"),
    "broken json": (json_with(ROWS + '"img_04": ["cow" "dog"], "img_05": []}'), "labels.json:4", "JSON"),
    "json without lists": (json_with(ROWS + '"img_04": "cow", "img_05": []}'), "labels.json:4", "list of labels"),
    "json of one image twice": (
        json_with(ROWS + '"img_04": [], "img_05": [],\n"img_00": ["dog"]}'),
        "labels.json:5",
        "line 2",
    ),
    "json list": (json_with('["img_00"]'), "labels.json:1", "object"),
    "duplicate class": (lambda r: append(r / "classes.txt", "cat\n"), "classes.txt:4", "line 1"),
    "classes alike but for case": (lambda r: append(r / "classes.txt", "Cow\n"), "classes.txt:4", "case"),
    "background as a class": (lambda r: append(r / "classes.txt", "background\n"), "classes.txt:4", "value 0"),
    "255 classes": (
        lambda r: append(r / "classes.txt", "".join(f"class{k}\n" for k in range(252))),
        "classes.txt:255",
        "254",
    ),
    "empty class list": (lambda r: (r / "classes.txt").write_text("\n"), "classes.txt", "empty"),
    "unknown image held out": (lambda r: append(r / "val.txt", "img_99\n"), "val.txt:3", "no image 'img_99'"),
    "image held out twice": (lambda r: append(r / "val.txt", "img_05\n"), "val.txt:3", "line 2"),
    "all held out": (
        lambda r: (r / "val.txt").write_text("".join(f"img_0{k}\n" for k in range(6))),
        "val.txt",
        "left to train",
    ),
    "name of two images": (
        lambda r: shutil.copy(r / "images/img_00.png", r / "images/img_00.bmp"),
        "labels.csv:2",
        "suffix",
    ),
    "no images": (lambda r: shutil.rmtree(r / "images"), "folder", "images"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_label_faults_are_named_with_file_line_and_remedy(
    fault: str, own_folder: Path, tree_state: Callable[[Path], str]
) -> None:
    spoil, place, word = FAULTS[fault]
    spoil(own_folder)
    before = tree_state(own_folder)
    spec = f"folder:{own_folder}"
    found = [str(one) for one in check(spec) if not one.warning]
    named = [text for text in found if place in text.split(": ")[0] and word in text]
    assert named, "\n".join(found)
    assert all("; " in text and "\n" not in text for text in found)
    with pytest.raises(InputError) as caught:
        open_data(spec)
    assert caught.value.args[0].splitlines()[0] in found
    assert tree_state(own_folder) == before


def small_mask(root: Path) -> None:
    Image.fromarray(np.zeros((4, 16), np.uint8)).save(root / "masks/img_01.png")


def wrong_value(root: Path) -> None:
    Image.fromarray(np.full((16, 16), 9, np.uint8)).save(root / "masks/img_01.png")


def colour_mask(root: Path) -> None:
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(root / "masks/img_01.png")


def jpeg_mask(root: Path) -> None:
    Image.open(root / "masks/img_01.png").convert("L").save(root / "masks/img_01.jpg")


def half(name: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[: len(data) // 2])

    return spoil


FILE_FAULTS: dict[str, tuple[Callable[[Path], None], str, str, bool]] = {
    "mask of another size": (small_mask, "masks/img_01.png", "16 x 4", True),
    "colour mask": (colour_mask, "masks/img_01.png", "colour image", True),
    "jpeg mask": (jpeg_mask, "masks/img_01.jpg", "PNG", True),
    "empty image": (lambda r: (r / "images/img_01.png").write_bytes(b""), "images/img_01.png", "empty", True),
    "iphone image": (lambda r: (r / "images/x.heic").write_bytes(b"ftypheic"), "labels.csv", "'x'", True),
    "image cut short": (half("images/img_01.png"), "images/img_01.png", "truncated", False),
    "mask cut short": (half("masks/img_01.png"), "masks/img_01.png", "", True),
    "value beyond the classes": (wrong_value, "masks/img_01.png", "got 9", True),
}


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_faults_of_files_are_named(fault: str, own_folder: Path, tree_state: Callable[[Path], str]) -> None:
    spoil, place, word, in_headers = FILE_FAULTS[fault]
    spoil(own_folder)
    before = tree_state(own_folder)
    for full in (True, False) if in_headers else (True,):
        found = [str(one) for one in check(f"folder:{own_folder}", full=full) if not one.warning]
        assert any(place in text.split(": ")[0] and word in text for text in found), found
    assert tree_state(own_folder) == before


def test_all_faults_are_named_and_not_only_the_first(own_folder: Path) -> None:
    half("images/img_00.png")(own_folder)
    half("images/img_02.png")(own_folder)
    small_mask(own_folder)
    replace(own_folder / "labels.csv", "cat;cow", "cat;cwo")
    errors = [fault for fault in check(f"folder:{own_folder}") if not fault.warning]
    assert [Path(fault.file).name for fault in errors] == ["labels.csv", "img_00.png", "img_01.png", "img_02.png"]


@pytest.mark.parametrize("full", [True, False])
def test_sound_data_has_no_faults_and_progress_reaches_the_end(
    full: bool, folder_data: Path, voc_data: Path, tree_state: Callable[[Path], str]
) -> None:
    for kind, root in (("folder", folder_data), ("voc", voc_data)):
        before, steps = tree_state(root), []
        assert check(f"{kind}:{root}", full, lambda done, total, steps=steps: steps.append((done, total))) == []
        assert steps == [(done, 12) for done in range(1, 13)]
        assert check(open_data(f"{kind}:{root}"), full) == []
        assert tree_state(root) == before


def test_what_is_odd_but_usable_is_a_warning(own_folder: Path) -> None:
    append(own_folder / "classes.txt", "zebra\n")
    append(own_folder / "labels.csv", "img_00,cat\n")
    replace(own_folder / "labels.csv", "img_03,cat;cow", "img_03,cat")
    Image.fromarray(np.full((16, 16), 1, np.uint16)).save(own_folder / "images" / "img_05.png")
    Image.fromarray(np.full((16, 16), 255, np.uint8)).save(own_folder / "masks" / "img_01.png")
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(own_folder / "masks" / "stranger.png")
    found = check(f"folder:{own_folder}")
    assert all(fault.warning for fault in found)
    text = "\n".join(str(fault) for fault in found)
    for word in ("'zebra' has no training", "line 2", "shows 'cow'", "looks black", "means ignore", "stranger.png"):
        assert word in text
    assert len(open_data(f"folder:{own_folder}").train) == 4


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 9\n"


def test_pointers_in_place_of_images_are_one_fault(own_folder: Path) -> None:
    for k in range(3):
        (own_folder / "images" / f"img_0{k}.png").write_text(LFS.format(k))
    for full in (True, False):
        [fault] = [one for one in check(f"folder:{own_folder}", full) if not one.warning]
        assert "3 files are without contents, left as pointers by git-LFS" in fault.what
        assert "git lfs pull" in fault.remedy


@pytest.mark.parametrize("full", [True, False])
def test_labels_that_cannot_teach_and_copies_are_told(full: bool, own_folder: Path) -> None:
    (own_folder / "labels.csv").write_text(
        "image,labels\nimg_00,cat;cow\nimg_01,cat;cow;dog\nimg_02,cat\nimg_03,cat\nimg_04,cow\nimg_05,\n"
    )
    shutil.copy(own_folder / "images/img_00.png", own_folder / "images/img_01.png")
    shutil.copy(own_folder / "images/img_02.png", own_folder / "images/img_04.png")
    found = [one.what for one in check(f"folder:{own_folder}", full) if "the mask shows" not in one.what]
    assert found == [
        "class 'cat' is on every training image, and there is nothing to tell it from",
        "class 'dog' is on a single training image",
        "1 image is the same file as another, such as 'img_00' and 'img_01' "
        "(with different labels in 1 case, such as 'img_00' and 'img_01')",
        "1 held-out image is the same file as a training image, such as 'img_02' and 'img_04'",
    ]
    assert all(one.warning for one in check(f"folder:{own_folder}", full))


def test_many_faults_are_told_short_with_the_command_that_tells_all(own_folder: Path) -> None:
    text = (own_folder / "labels.csv").read_text()
    (own_folder / "labels.csv").write_text(
        text.replace(",cat", ",horse").replace(",cow", ",hen").replace(",dog", ",ox")
    )
    append(own_folder / "labels.csv", "a,cow\nb,cow\nc,cow\n")
    with pytest.raises(InputError, match=r"and \d+ more: `deft check folder:"):
        open_data(f"folder:{own_folder}")


def paint(root: Path, values: np.ndarray, *names: str) -> None:
    for path in (root / "masks").glob("*.png"):
        if not names or path.stem in names:
            Image.fromarray(values.astype(np.uint8)).save(path)


def errors(root: Path, full: bool = False, masks: int = MASKS) -> list[str]:
    return [str(fault) for fault in check(f"folder:{root}", full=full, masks=masks) if not fault.warning]


def test_what_all_masks_have_in_common_is_one_fault_a_split_before_a_run(own_folder: Path) -> None:
    paint(own_folder, np.full((16, 16), 7))
    train, val = errors(own_folder)
    assert f"{own_folder}/masks/img_00.png: expected values 0 to 3 and 255, got 7 (and 3 more masks like it)" in train
    assert f"{own_folder}/masks/img_04.png: expected values 0 to 3 and 255, got 7 (and 1 more mask like it)" in val
    assert len(errors(own_folder, full=True)) == 6
    paint(own_folder, np.zeros((16, 8)))
    train, val = errors(own_folder)
    assert "the mask is 8 x 16 pixels, its image 16 x 16 (and 3 more masks like it)" in train
    paint(own_folder, np.zeros((16, 16)))
    assert errors(own_folder) == []
    paint(own_folder, np.full((16, 16), 4), "img_02")
    (only,) = errors(own_folder)
    assert only.startswith(f"{own_folder}/masks/img_02.png: expected values 0 to 3 and 255, got 4; ")


@pytest.mark.parametrize("full", [True, False])
def test_masks_of_nothing_but_ignore_are_a_fault_if_all_are(full: bool, own_folder: Path) -> None:
    paint(own_folder, np.full((16, 16), 255), "img_00", "img_01", "img_02")
    assert errors(own_folder, full) == []
    paint(own_folder, np.full((16, 16), 255), "img_03")
    (only,) = errors(own_folder, full)
    assert only.startswith(f"{own_folder}/masks/img_00.png: no value but 255, which means ignore, as in all 4 masks; ")


def test_so_many_masks_are_decoded_evenly_spread(own_folder: Path) -> None:
    paint(own_folder, np.full((16, 16), 9), "img_01", "img_02")
    assert errors(own_folder, masks=2) == errors(own_folder, masks=0) == []  # the first and the last, or none
    assert len(errors(own_folder, masks=4)) == 1 and len(errors(own_folder, full=True, masks=0)) == 2
