from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deft.contracts import InputError
from deft.data import check, open_data


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("pictures", ["KIND:PATH", "write folder:pictures"]),
        ("foldr:pictures", ["unknown kind", "nearest: 'folder'", "folder, voc, coco, demo"]),
        ("cityscapes:pictures", ["unknown kind", "folder, voc, coco, demo"]),
        ("voc:", ["voc:PATH", "after the colon"]),
        ("folder:/no/such/place", ["expected a folder", "does not exist", "correct the path"]),
        (f"folder:{__file__}", ["expected a folder", "is a file"]),
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


def test_a_home_folder_is_found(folder_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder_data.parent))
    assert len(open_data(f"folder:~/{folder_data.name}").train) == 8


def test_reading_labels_needs_no_torch() -> None:
    code = "import sys, deft.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
