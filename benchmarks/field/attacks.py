"""Forty files of somebody with bad intentions: stopped, nothing executed, escaped or rendered."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deft.artifacts import load_seeds, read_json
from deft.contracts import InputError
from deft.data.images import read_image, read_mask
from deft.data.importers.cls_labels import read_cls_labels
from deft.data.layouts.entries import image_of
from deft.data.layouts.shards import read_shard
from field.case import ABC, Case, Content, calls, command, photographs, picture, raises, refuses
from field.odd_pictures import chunk, png

GROUP = "Attacks"
_MARK = "DEFT_CASE_EXECUTED"


class _Evil:
    """Unpickling it leaves a mark in the environment of the process."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.putenv, (_MARK, "1")


def _unmarked(case: Case) -> Case:
    """The case is wrong if anything in its file was executed."""

    def wrong(folder: Path) -> str:
        said = case.wrong(folder)
        return "code of the file was executed" if _environment_has_mark() else said

    return Case(case.group, case.name, case.files, wrong)


def _environment_has_mark() -> bool:
    import ctypes

    if os.name != "posix":
        return False
    get = ctypes.CDLL(None).getenv
    get.restype = ctypes.c_char_p
    return get(_MARK.encode()) is not None


def _npy(protocol: int = 4) -> bytes:
    head = "{'descr': '|O', 'fortran_order': False, 'shape': (), }\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + pickle.dumps(_Evil(), protocol)


def _npz(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def _torch(content: object) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, 2))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def _weights(path: Path) -> object:
    from deft.backbone.weights import read_weights

    return read_weights(path)


def _claims(shape: str, kind: str = "|u1") -> bytes:
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()


def _seeds(name: str, data: bytes) -> Case:
    return _unmarked(raises(GROUP, name, {"a.npz": data}, lambda at: load_seeds(at / "a.npz"), "a.npz"))


def _tar(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> Content:
    def make(path: Path) -> None:
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo(name)
            content = picture() if kind == tarfile.REGTYPE else b""
            info.type, info.linkname, info.size = kind, target, len(content)
            archive.addfile(info, io.BytesIO(content))

    return make


def _shard(name: str, content: Content) -> Case:
    def act(folder: Path) -> None:
        for entry in read_shard(folder / "a.tar", lambda suffix: True):
            image_of(entry)

    def wrong(folder: Path) -> str:
        try:
            act(folder)
        except InputError:
            outside = [path for path in folder.parent.iterdir() if path != folder]
            return f"{outside[0].name} was written" if outside else ""
        return "taken"

    return calls(GROUP, name, {"a.tar": content}, wrong)


def _voc(name: str, xml: str) -> Case:
    files: dict[str, Content] = {
        **photographs("a.jpg", below="JPEGImages"),
        "ImageSets/Segmentation/train.txt": "a\n",
        "classes.txt": "cow\n",
        "Annotations/a.xml": xml,
    }
    return refuses(GROUP, name, files, "a.xml", kind="voc")


def _cvat(name: str, xml: str) -> Case:
    return refuses(GROUP, name, {**photographs("a.png"), "annotations.xml": xml}, "annotations.xml", kind="cvat")


def _laughs(levels: int) -> str:
    lines = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha"}">' for n in range(levels))
    return f"<!DOCTYPE a [{lines}]><annotation><object><name>&e{levels - 1};</name></object></annotation>"


def _xxe(place: str) -> str:
    return f'<!DOCTYPE a [<!ENTITY x SYSTEM "{place}">]><annotation><object><name>&x;</name></object></annotation>'


def _yaml(name: str, text: str) -> Case:
    files: dict[str, Content] = {**photographs("a.png", below="images/train"), "labels/train/a.txt": "0 .5 .5 .2 .2\n"}
    return _unmarked(refuses(GROUP, name, {**files, "data.yaml": text}, "data.yaml", kind="yolo", most=12))


def _rendered(name: str, text: str) -> Case:
    """A name on the page is text, and no part of its HTML."""

    def wrong(folder: Path) -> str:
        from deft.report.html import render_sheet
        from deft.report.sheet import Section, Sheet

        page = render_sheet(Sheet(text, text, sections=(Section(text, text),)))
        return "not escaped" if text in page else ""

    return calls(GROUP, name, {}, wrong)


def _terminal(name: str, files: dict[str, Content]) -> Case:
    return command(GROUP, name, files, ["check", "folder:@"], (0, 2), never=("Traceback", "\x1b", "\x07", "\u202e"))


def _one_pixel(folder: Path) -> str:
    found = read_image(folder / "a.png").tolist()
    return "" if found == [[[7, 7, 7]]] else f"pixels {found}"


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link(target: str) -> Content:
    return lambda path: path.symlink_to(target)


_TABLE = "image,labels\na,cow\nb,dog\nc,cow\n"
_RUN = ("run", "cam", "--backbone", "test_resnet", "--weights", "none", "--data", "folder:@", "--out")
CASES: list[Case] = [
    *(
        _unmarked(
            raises(
                GROUP,
                f"a pickle of protocol {n} in .npy",
                {"a.npy": _npy(n)},
                lambda at: read_cls_labels(at / "a.npy"),
                "a.npy",
            )
        )
        for n in (0, 2, 4)
    ),
    _unmarked(
        raises(
            GROUP,
            "a bare pickle as .npy",
            {"a.npy": pickle.dumps(_Evil())},
            lambda at: read_cls_labels(at / "a.npy"),
            "a.npy",
        )
    ),
    _seeds("a pickle in .npz", _npz(classes=_npy(), maps=_npy(), size=_npy(), scores=_npy())),
    _seeds("a pickle as .npz", pickle.dumps(_Evil())),
    _seeds("an npz that claims terabytes", _npz(classes=_claims("(99999999, 99999)"), maps=b"", size=b"", scores=b"")),
    _seeds(
        "an npz whose zeros unpack to 3 GB",
        _npz(classes=_claims("(3000000000,)") + bytes(10**7), maps=b"", size=b"", scores=b""),
    ),
    _seeds(
        "an npz with Python in a header",
        _npz(classes=_claims("__import__('os').system('true')"), maps=b"", size=b"", scores=b""),
    ),
    _unmarked(
        raises(GROUP, "a pickle in .pth", {"a.pth": _torch({"w": _Evil()})}, lambda at: _weights(at / "a.pth"), "a.pth")
    ),
    _unmarked(
        raises(
            GROUP,
            "a bare pickle as .pth",
            {"a.pth": pickle.dumps(_Evil(), 2)},
            lambda at: _weights(at / "a.pth"),
            "a.pth",
        )
    ),
    _unmarked(
        raises(
            GROUP,
            "a pickle as .safetensors",
            {"a.safetensors": pickle.dumps(_Evil())},
            lambda at: _weights(at / "a.safetensors"),
            "a.safetensors",
        )
    ),
    raises(
        GROUP,
        "a safetensors header of 2**63 bytes",
        {"a.safetensors": struct.pack("<Q", 2**63) + b"{}"},
        lambda at: _weights(at / "a.safetensors"),
        "a.safetensors",
    ),
    _shard("a member with ..", _tar("../escaped.png")),
    _shard("a member with an absolute path", _tar("/tmp/deft-escaped.png")),
    _shard("a member that is a link", _tar("a.png", tarfile.SYMTYPE, "/etc/passwd")),
    _shard("a member that is a hard link", _tar("a.png", tarfile.LNKTYPE, "/etc/passwd")),
    _shard("a member that is a device", _tar("a.png", tarfile.CHRTYPE)),
    raises(
        GROUP,
        "a bomb as a photograph",
        {"a.png": png(30_000, 30_000, 1, 0, bytes(10**7))},
        lambda at: read_image(at / "a.png"),
        "a.png",
    ),
    raises(
        GROUP,
        "a bomb as a mask",
        {"a.png": png(30_000, 30_000, 8, 0, bytes(10**7))},
        lambda at: read_mask(at / "a.png"),
        "a.png",
    ),
    calls(
        GROUP,
        "a bomb in a text of a PNG",
        {"a.png": png(1, 1, 8, 0, b"\0\x07", chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50 * 2**20))))},
        _one_pixel,
    ),
    _voc("an entity that reads a file", _xxe("file:///etc/passwd")),
    _voc("an entity that asks a server", _xxe("http://127.0.0.1:9/x")),
    _voc("a billion laughs", _laughs(10)),
    _voc("a document type of elsewhere", '<!DOCTYPE a SYSTEM "file:///dev/zero"><annotation/>'),
    _cvat("a billion laughs in CVAT", _laughs(10)),
    _cvat("an entity that reads a file, in CVAT", _xxe("file:///etc/passwd")),
    _yaml("Python in YAML", f"train: images/train\nnames: !!python/object/apply:os.putenv [{_MARK}, '1']\n"),
    _yaml(
        "a billion laughs in YAML",
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{n}: &{n} [{', '.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True))
        + "names: *i\ntrain: images/train\n",
    ),
    raises(GROUP, "JSON of a million brackets", {"a.json": "[" * 10**6}, lambda at: read_json(at / "a.json"), "a.json"),
    refuses(
        GROUP,
        "a label of a million letters with line breaks",
        {**ABC, "labels.csv": '"image' + "\n" * 10**5},
        "labels.csv",
    ),
    _terminal(
        "escape codes in a file name", {**ABC, "labels.csv": _TABLE, "images/\x1b[31mred\x07.png": picture(seed=7)}
    ),
    _terminal("escape codes in a tag", {**ABC, "labels.csv": "image,labels\na,\x1b]0;owned\x07\nb,dog\nc,cow\n"}),
    _terminal("a name that turns the text", {**ABC, "labels.csv": _TABLE, "images/\u202egnp.exe.png": picture(seed=7)}),
    _terminal("a line break in a file name", {**ABC, "labels.csv": _TABLE, "images/a\nno faults.png": picture(seed=7)}),
    command(
        GROUP,
        "a pipe as a photograph",
        {**ABC, "labels.csv": _TABLE, "images/d.png": _fifo},
        ["check", "folder:@"],
        (0, 2),
    ),
    command(
        GROUP,
        "a device as a photograph",
        {**ABC, "labels.csv": _TABLE, "images/d.png": _link("/dev/zero")},
        ["check", "folder:@"],
        (0, 2),
    ),
    command(
        GROUP,
        "a device as the list of classes",
        {**ABC, "labels.csv": _TABLE, "classes.txt": _link("/dev/zero")},
        ["check", "folder:@"],
        2,
        "classes.txt",
    ),
    command(GROUP, "results inside the data", {**ABC, "labels.csv": _TABLE}, [*_RUN, "@/images/run"], 2, "--out"),
    command(
        GROUP,
        "results through a link into the data",
        {**ABC, "labels.csv": _TABLE, "way": _link("images")},
        [*_RUN, "@/way/run"],
        2,
        "--out",
    ),
    _rendered("a script as a title", "<script>alert(1)</script>"),
    _rendered("an attribute in a title", '"><img src=x onerror=alert(1)>'),
    _rendered("the end of the style", "</style><script>alert(1)</script>"),
]
