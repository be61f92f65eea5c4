from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deft.contracts import InputError
from deft.data import check, open_data
from deft.data.opening import KINDS


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("pictures", ["KIND:PATH", "write folder:pictures"]),
        ("foldr:pictures", ["unknown kind", "nearest: 'folder'", "folder, voc, coco, yolo"]),
        ("cityscapes:pictures", ["unknown kind", "folder, voc, coco, yolo"]),
        ("voc:", ["voc:PATH", "after the colon"]),
        ("folder:/no/such/place", ["expected a folder", "does not exist", "correct the path"]),
        (f"folder:{__file__}", ["expected a folder", "is a file"]),
        (f"cvat:{__file__}", ["expected a folder", "is a file"]),
        ("labelstudoi:pictures", ["unknown kind", "nearest: 'labelstudio'"]),
        ("yolo:/no/such/data.yaml", ["does not exist", "correct the path"]),
        ("", ["KIND:PATH"]),
    ],
)
def test_a_wrong_specification_is_answered_with_the_right_one(spec: str, words: list[str]) -> None:
    for read in (open_data, check):
        with pytest.raises(InputError) as caught:
            read(spec)
        assert all(word in str(caught.value) for word in words), caught.value
        assert "\n" not in str(caught.value)


def test_a_path_that_looks_like_voc_is_answered_with_voc(voc_data: Path) -> None:
    with pytest.raises(InputError, match=f"write voc:{voc_data}"):
        open_data(str(voc_data))


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("coco", "annotations/instances_train2017.json"),
        ("yolo", "data.yaml"),
        ("cvat", "annotations.xml"),
        ("datasets", "dataset_dict.json"),
        ("imagefolder", "train/metadata.jsonl"),
        ("folder", "labels.csv"),
    ],
)
def test_a_path_without_a_kind_is_answered_with_the_kind_of_its_files(kind: str, file: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    with pytest.raises(InputError, match=f"write {kind}:{tmp_path}"):
        open_data(str(tmp_path))


def test_a_home_folder_is_found(folder_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder_data.parent))
    assert len(open_data(f"folder:~/{folder_data.name}").train) == 8


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_every_kind_says_what_is_missing_in_an_empty_folder(kind: str, tmp_path: Path) -> None:
    if kind == "datasets":
        pytest.importorskip("pyarrow")
    for spelled in (kind, kind.upper()):
        faults = check(f"{spelled}:{tmp_path}")
        assert len(faults) == 1 and not faults[0].warning and str(tmp_path) in str(faults[0])


def test_kinds_may_be_spelled_with_hyphens(tmp_path: Path) -> None:
    for kind in ("label-studio", "label_studio", "LabelStudio", "open-images"):
        assert len(check(f"{kind}:{tmp_path}")) == 1


def test_reading_labels_needs_no_torch() -> None:
    code = "import sys, deft.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
