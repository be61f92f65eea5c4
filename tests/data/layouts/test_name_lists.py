from __future__ import annotations

from pathlib import Path

import pytest

from deft.data.faults import Faults
from deft.data.layouts.name_lists import check_classes, read_classes, read_names, read_text


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_every_editor_ends_lines_its_way(start: str, end: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes((start + end.join(["a b", "", " c ", "d\u2028e"]) + end).encode())
    faults = Faults()
    assert read_names(path, faults) == [(1, "a b"), (3, "c"), (4, "d\u2028e")] and faults.all == []


def test_what_is_no_text_is_named_with_its_line(tmp_path: Path) -> None:
    for data, line in ((b"a\nb\xff", 2), (b"a\n\nb\0", 3), ("a\n\u043a\u043e\u0442".encode("cp1251"), 2)):
        faults = Faults()
        (tmp_path / "list.txt").write_bytes(data)
        assert read_text(tmp_path / "list.txt", faults) is None
        assert [fault.line for fault in faults.all] == [line] and "UTF-8" in faults.all[0].remedy
    assert read_text(tmp_path / "none.txt", faults) is None and len(faults.all) == 2


@pytest.mark.parametrize(("encoding", "said"), [("utf-16", "UTF-16"), ("cp1252", "Windows-1252"), ("utf-8", "")])
def test_other_encodings_are_read_with_a_remark(encoding: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("b\u00e4r\nl\u00f6we\n".encode(encoding))
    faults = Faults()
    assert read_names(tmp_path / "list.txt", faults) == [(1, "b\u00e4r"), (2, "l\u00f6we")]
    assert [said in fault.what and fault.warning for fault in faults.all] == ([True] if said else [])


def test_classes_keep_their_order(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("zebra\ntraffic light\napple\n")
    faults = Faults()
    assert read_classes(tmp_path / "classes.txt", faults) == ("zebra", "traffic light", "apple") and not faults.all


def test_class_names_that_cannot_be_told_apart_or_do_not_fit_are_faults() -> None:
    faults = Faults()
    check_classes(("Cow", "cow", "Background", *(str(k) for k in range(252))), None, "labels.csv", faults)
    assert [word in fault.what for word, fault in zip(("case", "value 0", "254"), faults.all, strict=True)] == [
        True
    ] * 3
