from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deft.contracts import InputError
from deft.data import check, open_data
from userfiles import save_noise, tags_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("train/a", "train/in/b", "train/c", "validation/d"):
        save_noise(tmp_path / "data" / f"{name}.png")
    return tmp_path / "data"


def faults(root: Path, warnings: bool = False, options: str = "") -> list[str]:
    return [str(fault) for fault in check(f"imagefolder:{root}{options}") if fault.warning == warnings]


def lines(*records: dict[str, Any]) -> str:
    return "\n".join(json.dumps(record) for record in records) + "\n"


def write(root: Path, train: str, val: str, suffix: str) -> None:
    (root / "train" / f"metadata.{suffix}").write_text(train)
    (root / "validation" / f"metadata.{suffix}").write_text(val)


EXPECTED = {"a": ["cat"], "c": [], "in/b": ["cat", "dog"]}


@pytest.mark.parametrize(
    ("suffix", "train", "val"),
    [
        ("csv", 'file_name,label\na.png,cat\nin/b.png,"[""cat"", ""dog""]"\nc.png,\n', "file_name,label\nd.png,dog\n"),
        ("csv", "file_name,extra,tags\na.png,1,cat\nin/b.png,2,cat;dog\nc.png,3,\n", "file_name,tags\nd.png,dog\n"),
        (
            "csv",
            "file_name,classes\na.png,cat\nin/b.png,\"['cat', 'dog']\"\nc.png,[]\n",
            "file_name,classes\nd.png,dog\n",
        ),
        (
            "jsonl",
            lines(
                {"file_name": "a.png", "labels": ["cat"]},
                {"file_name": "in/b.png", "labels": ["dog", "cat"], "more": {}},
                {"file_name": "c.png", "labels": []},
            ),
            lines({"file_name": "d.png", "labels": ["dog"]}),
        ),
        (
            "jsonl",
            lines(
                {"file_name": "a.png", "objects": {"bbox": [[1, 2, 3, 4]], "categories": ["cat"]}},
                {"file_name": "in/b.png", "objects": [{"category": "dog"}, {"category": "cat"}]},
                {"file_name": "c.png", "objects": {"bbox": [], "categories": []}},
            ),
            lines({"file_name": "d.png", "objects": {"bbox": [], "categories": ["dog"]}}),
        ),
    ],
)
def test_labels_are_read_from_every_kind_of_metadata(root: Path, suffix: str, train: str, val: str) -> None:
    write(root, train, val, suffix)
    assert faults(root) == []
    splits = open_data(f"imagefolder:{root}")
    assert splits.val is not None and splits.val.classes == splits.train.classes == ("cat", "dog")
    assert tags_of(splits.train) == EXPECTED and tags_of(splits.val) == {"d": ["dog"]}
    assert not splits.train.scored.any() and splits.train[0].mask is None


def test_numbers_are_positions_in_the_list_of_classes(root: Path) -> None:
    write(root, "file_name,label\na.png,0\nin/b.png,0;1\nc.png,\n", "file_name,label\nd.png,1.0\n", "csv")
    assert any("classes are numbers" in text for text in faults(root, warnings=True))
    (root / "classes.txt").write_text("cat\ndog\n")
    splits = open_data(f"imagefolder:{root}")
    assert splits.val is not None and tags_of(splits.train) == EXPECTED and tags_of(splits.val) == {"d": ["dog"]}


def test_without_metadata_folders_are_labels(tmp_path: Path) -> None:
    for name in ("train/cat/a", "train/dog/b", "test/cat/c", "val/dog/d"):
        save_noise(tmp_path / f"{name}.png")
    splits = open_data(f"imagefolder:{tmp_path}")
    assert tags_of(splits.train) == {"cat/a": ["cat"], "dog/b": ["dog"]}
    assert splits.val is not None and tags_of(splits.val) == {"dog/d": ["dog"]}


def test_one_folder_with_its_table_is_all_for_training(root: Path) -> None:
    (root / "train" / "metadata.csv").write_text("file_name,kind\na.png,cat\nin/b.png,dog\nc.png,cat\n")
    splits = open_data(f"imagefolder:{root / 'train'}")
    assert splits.val is None and tags_of(splits.train) == {"a": ["cat"], "c": ["cat"], "in/b": ["dog"]}


def test_a_table_in_a_folder_below_is_of_that_folder(root: Path) -> None:
    (root / "train" / "metadata.csv").write_text("file_name,label\na.png,cat\nc.png,cat\n")
    (root / "train" / "in" / "metadata.csv").write_text("file_name,label\nb.png,dog\n")
    assert tags_of(open_data(f"imagefolder:{root / 'train'}").train)["in/b"] == ["dog"]


def test_the_column_can_be_named(root: Path) -> None:
    (root / "train" / "metadata.csv").write_text("file_name,animal,size\na.png,cat,1\nin/b.png,dog,2\nc.png,cat,2\n")
    named = faults(root / "train")
    assert len(named) == 1 and "expected a column of labels, got 'animal', 'size'" in named[0]
    data = open_data(f"imagefolder:{root / 'train'}?column=animal").train
    assert tags_of(data)["in/b"] == ["dog"]
    with pytest.raises(InputError, match="expected column=NAME"):
        open_data(f"imagefolder:{root}?columns=animal")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("metadata.csv", "name,label\na.png,cat\n", "metadata.csv:2: expected a column file_name"),
        ("metadata.csv", "file_name,label\na.png,cat\nc.png,a,b\n", "metadata.csv:3: expected 2 columns, got 3"),
        ("metadata.csv", 'file_name,label\na.png,"cat\n', "metadata.csv:2: not valid CSV"),
        ("metadata.csv", "file_name,label\na.png,[cat\n", "metadata.csv:2: expected labels"),
        ("metadata.csv", "file_name,label\nx.png,cat\n", "no image 'x.png'"),
        ("metadata.csv", "file_name,label\na.png,cat\n", "image 'c' has no row"),
        ("metadata.csv", "file_name,label\n,cat\n", "metadata.csv:2: expected the name of an image file"),
        ("metadata.jsonl", '{"file_name": "a.png", "label": "cat"}\n[1]\n', "metadata.jsonl:2: expected a JSON object"),
        ("metadata.jsonl", '{"file_name": "a.png", "label": {"x": 1}}\n', "expected objects with categories"),
        ("metadata.jsonl", '{"file_name": 5, "label": "cat"}\n', "expected the name of an image file, got 5"),
        ("other.csv", "", "expected metadata.csv, metadata.jsonl or one folder for each label, 'a' is in none"),
    ],
)
def test_faults_are_named(root: Path, name: str, text: str, words: str) -> None:
    (root / "train" / name).write_text(text)
    assert any(words in said for said in faults(root / "train")), faults(root / "train")
