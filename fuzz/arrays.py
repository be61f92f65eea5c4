"""Arrays: cls_labels.npy of other repositories, stored seeds, maps and class-free masks of other tools, weights."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from deft.contracts import InputError, Sample
from deft.data.importers.cls_labels import read_cls_labels
from deft.data.layouts.run_lengths import counts_to_text
from fuzz import sound
from fuzz.damage import damaged, sometimes_damaged
from fuzz.pictures import mask, picture
from fuzz.reader import Files, Reader
from fuzz.values import json_file, json_text

_SHAPES = (
    "(3,)",
    "(2, 2, 2)",
    "()",
    "(0,)",
    "(-1,)",
    "(99999999999, 99999999)",
    "(1" + ", 1" * 40 + ")",
    "None",
    "(1.5,)",
)
_TYPES = (
    "<f4",
    "<i8",
    "|u1",
    "|O",
    "<U3",
    "<U999999999",
    ">f8",
    "<c16",
    "|V8",
    "<M8[s]",
    "[('a', '<f4')]",
    "x" * 99,
    "|S0",
)


@cache
def _labels(kind: str) -> bytes:
    """A pickled dict that is none of labels: of lists, or with code in it."""
    found: dict[Any, Any] = {"a": print} if kind == "code" else {"a": [0, 1], "b": {"c": None}}
    buffer = io.BytesIO()
    np.save(buffer, np.array(found, dtype=object), allow_pickle=True)
    return buffer.getvalue()


_cls_labels = st.one_of(
    *[sometimes_damaged(sound.packed_labels())] * 4,
    damaged(sound.packed_labels(), 1),
    sometimes_damaged(st.sampled_from(("lists", "code")).map(_labels)),
)


@st.composite
def _array(draw: st.DrawFn) -> bytes:
    """An array of an npz, whose header may claim another shape or type than it has."""
    value = draw(
        st.sampled_from(
            (
                np.array([0, 1], np.int16),
                np.full((2, 2, 3), 7, np.uint8),
                np.array([9, 7], np.int32),
                np.array([0.5, np.nan], np.float32),
                np.array(["cow", "dog"]),
                np.array(["cow", "cow", "\ud83d"]),
                np.zeros((2, 0, 3), np.float64),
                np.array([-1, 99999]),
                np.array("key"),
                np.full((2, 3, 3), np.inf),
                np.full((1, 1, 1), 1e38, np.float32),
            )
        )
    )
    buffer = io.BytesIO()
    np.save(buffer, value)
    data = buffer.getvalue()
    if draw(st.integers(0, 2)) == 0:
        shape, kind = draw(st.sampled_from(_SHAPES)), draw(st.sampled_from(_TYPES))
        typed = kind if kind.startswith("[") else repr(kind)
        text = f"{{'descr': {typed}, 'fortran_order': {draw(st.booleans())}, 'shape': {shape}, }}\n".encode()
        data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data[-24:]
    return data


@st.composite
def _archive(draw: st.DrawFn) -> bytes:
    """An npz, as stored seeds and maps of other tools have it."""
    right: dict[str, NDArray[Any]] = {
        "classes": np.array([0, 1], np.int16),
        "maps": np.full((2, 1, 1), 100, np.uint8),
        "size": np.array([7, 9], np.int32),
        "scores": np.array([1.0, 2.0], np.float32),
        "made_by": np.array("key"),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))) as archive:
        odd = draw(st.sampled_from(("", *right)))
        for name, value in right.items():
            plain = io.BytesIO()
            np.save(plain, value)
            content = draw(sometimes_damaged(_array())) if name == odd else plain.getvalue()
            if draw(st.integers(0, 30)):
                archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def _read_seeds(folder: Path) -> None:
    from deft.artifacts import load_seeds
    from deft.artifacts.files import carries

    carries(folder / "a.npz", "key")
    load_seeds(folder / "a.npz")


def _external() -> st.SearchStrategy[Files]:
    picture_file = damaged(
        st.one_of(st.builds(mask), st.sampled_from(("L", "RGB", "1")).map(lambda m: picture("PNG", m)))
    )
    return st.one_of(
        sometimes_damaged(_archive()).map(lambda data: {"a.npz": data}),
        picture_file.map(lambda data: {"a/cow.png": data, "a/dog.png": mask()}),
    )


def _read_external(folder: Path) -> None:
    from deft.seeds.external import External

    sample = Sample("a", np.zeros((7, 9, 3), np.uint8), np.array([True, True]))
    maps = External(str(folder))(sample, ("cow", "dog")).maps
    if not bool(maps.isfinite().all()) or float(maps.min()) < 0 or float(maps.max()) > 1:
        raise AssertionError("maps outside [0, 1]")


_LENGTHS = {"segmentation": {"size": [7, 9], "counts": [10, 5, 48]}, "area": 5, "class": "cow"}
_TEXT = {"segmentation": {"size": [7, 9], "counts": counts_to_text([0, 20, 43])}}


@st.composite
def _stack(draw: st.DrawFn) -> bytes:
    """An npz of class-free masks."""
    right: dict[str, NDArray[Any]] = {
        "masks": np.ones((2, 7, 9), np.uint8),
        "classes": np.array(["", "cow"]),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        odd = draw(st.sampled_from(("", *right)))
        for name, value in right.items():
            plain = io.BytesIO()
            np.save(plain, value)
            archive.writestr(f"{name}.npy", draw(sometimes_damaged(_array())) if name == odd else plain.getvalue())
    return buffer.getvalue()


def _regions() -> st.SearchStrategy[Files]:
    labels = st.builds(mask, st.booleans(), st.integers(1, 9))
    return st.one_of(
        json_file([_LENGTHS, _TEXT], {"annotations": [_TEXT]}).map(lambda data: {"a.json": data}),
        sometimes_damaged(_stack()).map(lambda data: {"a.npz": data}),
        sometimes_damaged(labels).map(lambda data: {"a.png": data}),
        sometimes_damaged(labels).map(lambda data: {"a/0.png": data, "a/1.png": mask()}),
    )


def _read_regions(folder: Path) -> None:
    from deft.engine.class_free import read_segments

    segments, size = read_segments(folder, "a", [(7, 9)])
    planes = np.ones((1, *size))
    sums, area = segments.sums(planes)
    if size != (7, 9) or not (sums[:, 0] == area).all() or (area > 63).any():
        raise AssertionError("masks of another size")
    segments.paint(planes, np.zeros((len(area), 1)), range(len(area)))


_HEADER = {
    "__metadata__": {"made_by": '"key"', "mean": "0.5,0.5,0.5"},
    "conv.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "b": {"dtype": "I64", "shape": [1], "data_offsets": [16, 24]},
}


@st.composite
def _tensors(draw: st.DrawFn) -> bytes:
    text = draw(json_text(_HEADER, {**_HEADER, "b": {"dtype": "BF16", "shape": [2, 0], "data_offsets": [16, 16]}}))
    header = text.encode("utf-8", "surrogatepass")
    length = draw(st.sampled_from((*[len(header)] * 12, len(header) - 1, 0, 2**40, 2**64 - 1)))
    return struct.pack("<Q", length) + header + bytes(24)


@cache
def _torch_file(kind: str) -> bytes:
    import torch

    state: Any = {"state_dict": {"module.conv.weight": torch.ones(2, 2), "epoch": 3}}
    if kind == "code":
        state = {"a": print}
    elif kind == "list":
        state = [torch.ones(1)]
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=kind != "old")
    return buffer.getvalue()


@st.composite
def _weights(draw: st.DrawFn) -> Files:
    if draw(st.booleans()):
        return {"w.safetensors": draw(sometimes_damaged(_tensors()))}
    return {
        "w.pth": draw(
            sometimes_damaged(st.sampled_from(("new", "new", "new", "old", "old", "list", "code")).map(_torch_file))
        )
    }


def _read_weights(folder: Path) -> None:
    from deft.artifacts.files import load_tensors
    from deft.backbone.weights import read_weights

    plain = folder / "w.pth"
    if plain.exists():
        read_weights(plain)
        return
    with_header = None
    try:
        with_header = load_tensors(folder / "w.safetensors")[1]
    except InputError:
        pass
    else:
        json.dumps(with_header)
    read_weights(folder / "w.safetensors")


READERS = (
    Reader(
        "npy", _cls_labels.map(lambda data: {"cls_labels.npy": data}), lambda at: read_cls_labels(at / "cls_labels.npy")
    ),
    Reader("seeds", sometimes_damaged(_archive()).map(lambda data: {"a.npz": data}), _read_seeds),
    Reader("maps", _external(), _read_external),
    Reader("regions", _regions(), _read_regions),
    Reader("weights", _weights(), _read_weights),
)
