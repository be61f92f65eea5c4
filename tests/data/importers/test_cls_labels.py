from __future__ import annotations

import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deft.contracts import InputError
from deft.data.faults import Faults
from deft.data.importers.cls_labels import import_cls_labels, read_cls_labels, voc_name
from deft.data.labels import read_label_csv

CLASSES = ("cat", "traffic light", "dog")
LABELS = {
    "2007_000032": np.array([1, 0, 1], dtype=np.float32),
    "2007_000033": np.array([0, 0, 0], dtype=np.float32),
    "a b": np.array([0, 1, 0], dtype=np.float32),
}


def npy(payload: bytes, dtype: str = "|O", shape: str = "()") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload


def as_array(value: object) -> np.ndarray:
    array = np.empty((), dtype=object)
    array[()] = value
    return array


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
@pytest.mark.parametrize("keys", [str, int])
def test_the_table_is_read_as_numpy_writes_it(protocol: int, keys: Callable[[str], object], tmp_path: Path) -> None:
    labels = {keys(f"200700003{index}"): row for index, row in enumerate(LABELS.values())}
    path = tmp_path / "cls_labels.npy"
    path.write_bytes(npy(pickle.dumps(as_array(labels), protocol=protocol)))
    found = read_cls_labels(path)
    assert list(found) == list(labels)
    for key, row in labels.items():
        np.testing.assert_array_equal(found[key], row.astype(bool))


def test_what_numpy_save_writes_today_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", LABELS)  # type: ignore[arg-type]
    assert [row.tolist() for row in read_cls_labels(tmp_path / "a.npy").values()] == [
        row.astype(bool).tolist() for row in LABELS.values()
    ]


def test_what_python_2_wrote_is_read(tmp_path: Path) -> None:
    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value  # SHORT_BINSTRING, which Python 3 never writes

    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt" + text(b"b") + b"tR"
    kind = b"cnumpy\ndtype\n(" + text(b"f4") + b"I0\nI1\ntR(I3\n" + text(b"<") + b"NNNI-1\nI-1\nI0\ntb"
    row = array + b"(I1\n(I3\nt" + kind + b"I00\n" + text(np.array([1, 0, 1], "<f4").tobytes()) + b"tb"
    objects = b"cnumpy\ndtype\n(" + text(b"O8") + b"I0\nI1\ntR(I3\n" + text(b"|") + b"NNNI-1\nI-1\nI63\ntb"
    table = b"(d" + text(b"2007_000032") + row + b"s"
    (tmp_path / "a.npy").write_bytes(npy(array + b"(I1\n(t" + objects + b"I00\n(l" + table + b"atb."))
    assert {key: value.tolist() for key, value in read_cls_labels(tmp_path / "a.npy").items()} == {
        "2007_000032": [True, False, True]
    }


class Runs:
    """Unpickling this runs a command."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.reduced = (call, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.reduced


def hostile(place: Path) -> dict[str, bytes]:
    code = f"open({str(place)!r}, 'w').close()"
    inst = f"(S{code!r}\nibuiltins\nexec\n.".encode()
    return {
        "os.system instead of the array": pickle.dumps(Runs(os.system, f"touch {place}")),
        "exec among the labels": pickle.dumps(as_array({"a": np.ones(3, np.float32), "b": Runs(exec, code)})),
        "eval, protocol 0": pickle.dumps(Runs(eval, code), protocol=0),
        "INST": inst,
        "a call through numpy": pickle.dumps(Runs(np.save, str(place), np.ones(3))),
        "an object of a class": pickle.dumps(as_array({"a": io.StringIO("x")})),
        "an extension": b"\x80\x02\x82\x01.",
        "a persistent id": b"Pevil\n.",
    }


@pytest.mark.parametrize("name", hostile(Path("unused")))
def test_a_hostile_pickle_never_runs(name: str, tmp_path: Path) -> None:
    place = tmp_path / "ran"
    path = tmp_path / "cls_labels.npy"
    path.write_bytes(npy(hostile(place)[name]))
    with pytest.raises(InputError, match=r"cls_labels\.npy.*; "):
        read_cls_labels(path)
    assert not place.exists() and not place.with_suffix(".npy").exists()


WRONG: dict[str, Callable[[], bytes]] = {
    "no npy": lambda: b"hello",
    "empty": lambda: b"",
    "cut short": lambda: npy(pickle.dumps(as_array(LABELS)))[:-40],
    "plain numbers": lambda: npy(np.ones(6, "<f4").tobytes(), "<f4", "(2, 3)"),
    "a list": lambda: npy(pickle.dumps(as_array([1, 2]))),
    "strings for labels": lambda: npy(pickle.dumps(as_array({"a": "cat"}))),
    "rows of two lengths": lambda: npy(pickle.dumps(as_array({"a": np.ones(2), "b": np.ones(3)}))),
    "scores instead of labels": lambda: npy(pickle.dumps(as_array({"a": np.full(3, 0.5)}))),
    "no image": lambda: npy(pickle.dumps(as_array({}))),
    "text that claims to be long": lambda: npy(b"\x80\x02X\xff\xff\xff\x7fabc."),
    "get before put": lambda: npy(b"\x80\x02h\x05."),
    "a mark too few": lambda: npy(b"\x80\x02t."),
}


@pytest.mark.parametrize("name", WRONG)
def test_anything_else_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "cls_labels.npy"
    path.write_bytes(WRONG[name]())
    with pytest.raises(InputError) as caught:
        read_cls_labels(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_import_writes_a_table_that_says_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", LABELS)  # type: ignore[arg-type]
    before = (tmp_path / "a.npy").read_bytes()
    table = tmp_path / "image_labels.csv"
    assert import_cls_labels(tmp_path / "a.npy", table, CLASSES) == 3
    faults = Faults()
    rows = {row.name: row.tags for row in read_label_csv(table, CLASSES, faults)}
    assert rows == {"2007_000032": ("cat", "dog"), "2007_000033": (), "a b": ("traffic light",)}
    assert faults.all == [] and (tmp_path / "a.npy").read_bytes() == before
    with pytest.raises(InputError, match="exists"):
        import_cls_labels(tmp_path / "a.npy", table, CLASSES)
    with pytest.raises(InputError, match="expected 2"):
        import_cls_labels(tmp_path / "a.npy", tmp_path / "b.csv", CLASSES[:2])


def test_packed_numbers_get_their_name_back() -> None:
    assert [voc_name(key) for key in (2007000032, "2007_000032", 17)] == ["2007_000032", "2007_000032", "17"]
