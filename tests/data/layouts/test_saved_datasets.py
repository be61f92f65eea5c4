from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deft.contracts import Dataset, InputError
from deft.data import check, open_data
from fakes import uninstall
from userfiles import picture, tags_of

pyarrow = pytest.importorskip("pyarrow")

IMAGE = {"_type": "Image"}
ANIMALS = {"names": ["cat", "dog", "cow"], "_type": "ClassLabel"}
TEXT = {"dtype": "string", "_type": "Value"}


def save(folder: Path, features: dict[str, Any], columns: dict[str, list[Any]], shards: int = 1) -> Path:
    """A split as ``save_to_disk`` writes it."""
    folder.mkdir(parents=True)
    names = [f"data-{shard:05d}-of-{shards:05d}.arrow" for shard in range(shards)]
    table = pyarrow.table(columns)
    step = -(-len(table) // shards)
    for shard, name in enumerate(names):
        part = table.slice(shard * step, step)
        with pyarrow.OSFile(str(folder / name), "wb") as file, pyarrow.ipc.new_stream(file, part.schema) as writer:
            writer.write_table(part, max_chunksize=2)
    (folder / "dataset_info.json").write_text(json.dumps({"features": features, "citation": ""}))
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "x", "_split": folder.name}
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def pictures(count: int) -> list[dict[str, Any]]:
    return [{"bytes": picture((10 * index, 0, 0)), "path": f"{index}.png"} for index in range(count)]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    root = tmp_path / "saved"
    save(
        root / "train", {"image": IMAGE, "label": ANIMALS}, {"image": pictures(5), "label": [0, 2, 1, 0, -1]}, shards=2
    )
    save(root / "test", {"image": IMAGE, "label": ANIMALS}, {"image": pictures(1), "label": [0]})
    save(root / "validation", {"image": IMAGE, "label": ANIMALS}, {"image": pictures(2), "label": [1, 1]})
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test", "validation"]}))
    return root


def faults(root: Path, options: str = "") -> list[str]:
    return [str(fault) for fault in check(f"datasets:{root}{options}") if not fault.warning]


def test_splits_classes_and_images_are_read(saved: Path) -> None:
    assert faults(saved) == []
    splits = open_data(f"datasets:{saved}")
    assert splits.val is not None and isinstance(splits.train, Dataset)
    assert splits.train.classes == splits.val.classes == ("cat", "dog", "cow")
    assert splits.train.labels.argmax(axis=1)[:4].tolist() == [0, 2, 1, 0] and not splits.train.labels[4].any()
    assert len(set(splits.train.names)) == 5 and len(splits.val) == 2
    assert [sample.image[0, 0, 0] for sample in splits.train] == [0, 10, 20, 30, 40]
    assert all(sample.mask is None for sample in splits.train) and not splits.train.scored.any()
    assert splits.train.fingerprint() == open_data(f"datasets:{saved}").train.fingerprint()
    assert splits.train.fingerprint() != splits.val.fingerprint()


def test_one_split_can_be_opened(saved: Path) -> None:
    splits = open_data(f"datasets:{saved / 'validation'}")
    assert splits.val is None and len(splits.train) == 2


@pytest.mark.parametrize(
    ("feature", "values"),
    [
        ({"feature": ANIMALS, "length": -1, "_type": "Sequence"}, [[0], [1, 0], []]),
        ({"feature": ANIMALS, "_type": "List"}, [[0], [0, 1, 1], []]),
        ([ANIMALS], [[0], [1, 0], []]),
        ({"feature": TEXT, "_type": "Sequence"}, [["cat"], ["dog", "cat"], []]),
        (
            {"feature": {"bbox": {"feature": {"dtype": "int64"}}, "category": ANIMALS}, "_type": "Sequence"},
            [{"bbox": [[1]], "category": [0]}, {"bbox": [[1], [2]], "category": [1, 0]}, {"bbox": [], "category": []}],
        ),
        ([{"label": TEXT}], [[{"label": "cat"}], [{"label": "dog"}, {"label": "cat"}], []]),
    ],
)
def test_every_kind_of_column_is_read(feature: Any, values: list[Any], tmp_path: Path) -> None:
    root = save(tmp_path / "one", {"image": IMAGE, "objects": feature}, {"image": pictures(3), "objects": values})
    assert faults(root) == []
    assert list(tags_of(open_data(f"datasets:{root}").train).values()) == [["cat"], ["cat", "dog"], []]


def test_columns_can_be_named(tmp_path: Path) -> None:
    features = {"photo": IMAGE, "other": IMAGE, "animal": TEXT}
    columns = {"photo": pictures(2), "other": pictures(2)[::-1], "animal": ["cat", None]}
    root = save(tmp_path / "one", features, columns)
    assert len(faults(root)) == 1 and "expected a column of images and one of labels, got 'photo'" in faults(root)[0]
    train = open_data(f"datasets:{root}?image=other,column=animal").train
    assert list(tags_of(train).values()) == [["cat"], []] and train[0].image[0, 0, 0] == 10
    with pytest.raises(InputError, match="expected column=NAME of the labels"):
        open_data(f"datasets:{root}?labels=animal")


def test_images_may_be_files_next_to_the_table(tmp_path: Path) -> None:
    root = save(
        tmp_path / "one",
        {"image": IMAGE, "label": TEXT},
        {"image": [{"bytes": None, "path": "a.png"}, {"bytes": None, "path": "gone.png"}], "label": ["cat", "dog"]},
    )
    (root / "a.png").write_bytes(picture((50, 0, 0)))
    train = open_data(f"datasets:{root}").train
    assert train[0].image[0, 0, 0] == 50
    with pytest.raises(InputError, match=r"row 1: expected the bytes of an image, got 'gone\.png'"):
        train[1]


def test_a_damaged_image_is_named_by_its_row(tmp_path: Path) -> None:
    broken = [*pictures(1), {"bytes": b"nothing", "path": None}]
    root = save(tmp_path / "one", {"image": IMAGE, "label": TEXT}, {"image": broken, "label": ["cat", "dog"]})
    assert len(faults(root)) == 1 and "row 1: image of 7 bytes: not an image" in faults(root)[0]


@pytest.mark.parametrize("field", [b"path", b"bytes"])
def test_a_name_of_a_field_in_no_encoding_is_one_message(field: bytes, tmp_path: Path) -> None:
    root = save(tmp_path / "one", {"image": IMAGE, "label": TEXT}, {"image": pictures(1), "label": ["cat"]})
    table = next(root.glob("*.arrow"))
    table.write_bytes(table.read_bytes().replace(field, b"\xff" * len(field)))
    with pytest.raises(InputError, match=r"(not readable|not an arrow file|expected the bytes of an image)"):
        open_data(f"datasets:{root}").train[0]


SPOILED: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: (root / "state.json").unlink(), "expected dataset_info.json and state.json"),
    (lambda root: (root / "state.json").write_text("{"), "state.json:1: not valid JSON"),
    (lambda root: (root / "state.json").write_text('{"_data_files": [{"filename": "../x"}]}'), "found none"),
    (lambda root: (root / "state.json").write_text('{"_data_files": [{"filename": "\\ud83d"}]}'), "not an arrow file"),
    (lambda root: (root / "dataset_info.json").write_text("[]"), "expected features and data files"),
    (lambda root: next(root.glob("*.arrow")).write_bytes(b"x" * 100), "not an arrow file with a column 'label'"),
    (lambda root: next(root.glob("*.arrow")).write_bytes(b""), "not an arrow file"),
    (lambda root: next(root.glob("*.arrow")).unlink(), "not an arrow file"),
    (
        lambda root: (root / "dataset_info.json").write_text(
            json.dumps({"features": {"image": IMAGE, "label": {"names": ["cat"], "_type": "ClassLabel"}}})
        ),
        "row 1: expected a class from 0 to 0, got 1 in 'label'",
    ),
]


@pytest.mark.parametrize(("spoil", "words"), SPOILED)
def test_faults_are_named_once(tmp_path: Path, spoil: Callable[[Path], object], words: str) -> None:
    root = save(tmp_path / "one", {"image": IMAGE, "label": ANIMALS}, {"image": pictures(2), "label": [0, 1]})
    spoil(root)
    assert len(faults(root)) == 1 and words in faults(root)[0], faults(root)


def test_without_a_split_to_train_on_the_splits_are_named(saved: Path) -> None:
    (saved / "dataset_dict.json").write_text('{"splits": ["test"]}')
    assert len(faults(saved)) == 1 and "expected a split named train, got ['test']" in faults(saved)[0]


def test_without_pyarrow_the_extra_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall("pyarrow", monkeypatch)
    with pytest.raises(InputError, match=r"pip install 'deft-wsss\[datasets\]'"):
        open_data(f"datasets:{saved}")
