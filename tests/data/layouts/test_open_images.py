from __future__ import annotations

from pathlib import Path

import pytest

from deft.contracts import InputError
from deft.data import check, open_data
from userfiles import save_noise, tags_of

HEADER = "ImageID,Source,LabelName,Confidence\n"
ROWS = """000a,verification,/m/01yrx,1
000a,verification,/m/0bt9lr,0
000b,machine,/m/0bt9lr,0.9
000b,machine,/m/01yrx,0.4
000c,verification,/m/01yrx,0
ffff,verification,/m/01yrx,1
"""
NAMES = "LabelName,DisplayName\n/m/01yrx,Cat\n/m/0bt9lr,Dog\n/m/0zzzz,Zebra\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("000a", "000b", "000c", "000e"):
        save_noise(tmp_path / "oi" / "train" / f"{name}.jpg")
    save_noise(tmp_path / "oi" / "validation" / "000d.jpg")
    save_noise(tmp_path / "oi" / "test" / "000f.jpg")
    (tmp_path / "oi" / "oidv6-train-annotations-human-imagelabels.csv").write_text(HEADER + ROWS)
    (tmp_path / "oi" / "validation-annotations-human-imagelabels.csv").write_text(HEADER + "000d,v,/m/0bt9lr,1\n")
    (tmp_path / "oi" / "test-annotations-human-imagelabels.csv").write_text(HEADER + "000f,v,/m/0bt9lr,1\n")
    (tmp_path / "oi" / "oidv7-class-descriptions.csv").write_text(NAMES)
    return tmp_path / "oi"


def faults(root: Path, warnings: bool = False) -> list[str]:
    return [str(fault) for fault in check(f"openimages:{root}") if fault.warning == warnings]


def test_labels_that_are_likely_or_verified_count(root: Path) -> None:
    assert faults(root) == []
    splits = open_data(f"openimages:{root}")
    assert tags_of(splits.train) == {"train/000a": ["Cat"], "train/000b": ["Dog"], "train/000c": []}
    assert splits.val is not None and tags_of(splits.val) == {"validation/000d": ["Dog"]}
    assert not splits.train.scored.any()
    assert any("1 of 6 images have no row, e.g. 'train/000e'" in text for text in faults(root, warnings=True))


def test_descriptions_may_have_no_header_or_be_absent(root: Path) -> None:
    table = root / "oidv7-class-descriptions.csv"
    table.write_text(NAMES.partition("\n")[2])
    assert open_data(f"openimages:{root}").train.classes == ("Cat", "Dog")
    table.unlink()
    assert open_data(f"openimages:{root}").train.classes == ("/m/01yrx", "/m/0bt9lr")


def test_the_classes_to_use_can_be_listed(root: Path) -> None:
    (root / "classes.txt").write_text("Zebra\nDog\n")
    train = open_data(f"openimages:{root}").train
    assert train.classes == ("Zebra", "Dog") and train.labels.astype(int).tolist() == [[0, 0], [0, 1], [0, 0]]


def test_images_in_one_folder_are_split_by_the_tables(root: Path) -> None:
    (root / "images").mkdir()
    for file in [*(root / "train").iterdir(), *(root / "validation").iterdir()]:
        file.rename(root / "images" / file.name)
    (root / "train").rmdir()
    splits = open_data(f"open-images:{root}")
    assert splits.val is not None and (splits.train.names, splits.val.names) == (("000a", "000b", "000c"), ("000d",))


def test_boxes_are_labels_too_and_the_confidence_may_be_absent(tmp_path: Path) -> None:
    save_noise(tmp_path / "x1.jpg")
    (tmp_path / "train-annotations-bbox.csv").write_text("ImageID,LabelName,XMin,XMax\nx1,Cat,0,0.5\nx1,Dog,0,1\n")
    assert tags_of(open_data(f"openimages:{tmp_path}").train) == {"x1": ["Cat", "Dog"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "expected a table with the columns ImageID and LabelName"),
        (HEADER + "000a,v,/m/01yrx,sure\n", ".csv:2: expected a label and its confidence"),
        (HEADER + "000a,v,,1\n", ".csv:2: expected a label and its confidence"),
        (HEADER + "000a,v,/m/01yrx\n", ".csv:2: expected 4 columns, got 3"),
        (HEADER + '000a,v,"/m/01yrx,1\n', ".csv:2: not a table in UTF-8 from here on"),
        (HEADER + "ffff,v,/m/01yrx,1\n", "no row is of one of the 6 images, 1 are of others"),
        (HEADER + "000a,v,/m/01yrx,0\n", "expected labels with a confidence of 0.5 and more, found none"),
        ("\udcff" + HEADER, "not a table in UTF-8"),
    ],
)
def test_faults_are_named_once(root: Path, text: str, words: str) -> None:
    for other in root.glob("*.csv"):
        other.unlink()
    (root / "labels.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert any(words in said for said in faults(root)), faults(root)


def test_there_are_no_options(root: Path) -> None:
    with pytest.raises(InputError, match="expected no options"):
        open_data(f"openimages:{root}?empty=drop")
