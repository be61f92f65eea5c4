from __future__ import annotations

from pathlib import Path

import pytest

from deft.data.faults import Faults
from deft.data.layouts.json_files import read_json


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_file_is_read_in_any_unicode(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes('{"狗": [1, NaN]}'.encode(encoding))
    faults = Faults()
    content = read_json(tmp_path / "a.json", faults)
    assert list(content) == ["狗"] and content["狗"][0] == 1 and faults.all == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "a.json:1: not valid JSON"),
        (b"{\n'a': 1}", "a.json:2: not valid JSON"),
        (b'{"a": "\xe9"}', "its bytes are not utf-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1" + b"0" * 10_000 + b"]", "not valid annotations"),
        (b"null", "got null"),
    ],
)
def test_what_cannot_be_read_is_one_fault(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(data)
    faults = Faults()
    assert read_json(tmp_path / "a.json", faults) is None
    assert len(faults.errors) == 1 and words in str(faults.all[0])


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    faults = Faults()
    assert read_json(tmp_path, faults) is None and "expected a file" in str(faults.all[0])
