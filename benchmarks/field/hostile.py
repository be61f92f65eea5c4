"""Broken and hostile inputs: results in the wrong place, pipes, edited records, tables and pictures that mislead."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from deft.artifacts.record import run_record
from field.case import (
    ABC,
    Case,
    Content,
    calls,
    command,
    encoded,
    grey,
    looked_at,
    photographs,
    picture,
    raises,
    reads,
    refuses,
)

_RUN = ("run", "cam", "--backbone", "test_resnet", "--weights", "none")
_TABLE = "image,labels\na,cow\nb,dog\nc,cow;dog\n"
_PLAIN = {"a": ["cow"], "b": ["dog"], "c": ["cow", "dog"]}
_FOLDER: dict[str, Content] = {**ABC, "labels.csv": _TABLE}
_MASK = grey(np.full((12, 16), 1, np.uint8))


def _run(group: str, name: str, files: dict[str, Content], out: str, *said: str, more: tuple[str, ...] = ()) -> Case:
    """A run that is refused before anything is made."""
    return command(group, name, files, [*_RUN, "--data", "folder:@", "--out", out, *more], 2, *said)


def _link(target: str) -> Content:
    return lambda path: path.symlink_to(target)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _value(group: str, name: str, values: np.ndarray, expected: float, kind: str = "PNG", **options: object) -> Case:
    """The mean of a picture's pixels is as expected."""
    from deft.data.images import read_image

    def wrong(folder: Path) -> str:
        found = float(read_image(folder / "a.bin").mean())
        return "" if abs(found - expected) < 2 else f"mean {found:.1f} instead of {expected:.1f}"

    return calls(group, name, {"a.bin": grey(values, kind, **options)}, wrong)


def _damaged(name: str, change: object) -> Case:
    from deft.data.images import read_image

    data = picture("JPEG", 3, (64, 64), quality=95)
    return raises("Damaged JPEGs", name, {"a.jpg": change(data)}, lambda at: read_image(at / "a.jpg"), "a.jpg")  # type: ignore[operator]


def _set(name: str, *words: str) -> list[Case]:
    group = "Settings out of range"
    return [
        command(
            group,
            word,
            {},
            [*_RUN, "--data", "demo:train=2,val=0", "--out", "@/out", "--set", word],
            2,
            word.partition("=")[0],
        )
        for word in words
    ]


_RECORD = {
    "recipe": "cam",
    "settings": {"class": "deft.pipeline.Pipeline"},
    "data": {"given": "demo:", "images": 2, "held out": 0, "classes": ["cow"]},
}


def _edited(name: str, record: object, *words: str) -> Case:
    from deft.runner.recorded import reopen

    text = record if isinstance(record, str) else json.dumps(record)
    act = lambda at: reopen(at / "r", "demo:train=2,val=0,size=32")  # noqa: E731
    return raises("Edited records", name, {"r/run.json": text}, act, *words)


def _coco_mask(group: str, name: str, change: dict[str, object], *words: str) -> Case:
    annotation = {"id": 11, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], **change}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 16, "height": 12}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "cow"}],
    }
    files = {**photographs("a.png"), "annotations/instances_default.json": json.dumps(content)}
    return refuses(group, name, files, *words, kind="coco")


_COCO_HEAD = {
    "images": [{"id": 1, "file_name": "a.png", "width": 16, "height": 12}],
    "annotations": [{"id": 11, "image_id": 1, "category_id": 1}],
}


def _categories(name: str, categories: list[dict[str, object]], expected: list[str] | None, *words: str) -> Case:
    files = {
        **photographs("a.png"),
        "annotations/instances_default.json": json.dumps({**_COCO_HEAD, "categories": categories}),
    }
    group = "VOC and COCO that mislead"
    if expected is None:
        return refuses(group, name, files, *words, kind="coco", most=2)
    return reads(group, name, files, {"a": expected}, *words, kind="coco")


def _xml(name: str, text: str, expected: list[str] | None) -> Case:
    files: dict[str, Content] = {
        **photographs("a.jpg", below="JPEGImages"),
        "ImageSets/Segmentation/train.txt": "a\n",
        "classes.txt": "cow\n",
        "Annotations/a.xml": text,
    }
    group = "VOC and COCO that mislead"
    return (
        refuses(group, name, files, "a.xml", kind="voc")
        if expected is None
        else reads(group, name, files, {"a": expected}, kind="voc")
    )


_OTHER = {**_FOLDER, "masks/a.png": _MASK}
_OBJECTS = "<object><name>cow</name></object>"
CASES: list[Case] = [
    _run("Results inside data", "in images/", _OTHER, "@/images/r", "--out", "inside"),
    _run("Results inside data", "over the drawn masks", _OTHER, "@/masks", "--out"),
    _run("Results inside data", "another spelling", _OTHER, "@/images/../images/r", "--out"),
    _run(
        "Results inside data",
        "above the data",
        {f"in/{key}": value for key, value in _OTHER.items()},
        "@",
        "--out",
        more=("--data", "folder:@/in"),
    ),
    *(
        command(
            "Links in run folders",
            name,
            {"kept.txt": "kept", "r/run.json": json.dumps(_RECORD), f"r/{place}": _link("../kept.txt")},
            [*_RUN, "--data", "demo:train=2,val=0", "--out", "@/r"],
            2,
        )
        for name, place in (
            ("lock", "lock"),
            ("report.html", "report.html"),
            ("scores.json", "scores.json"),
            ("a folder of a stage", "masks"),
        )
    ),
    *(
        command(
            "Folders of other programs",
            name,
            {"r/run.json": text, "r/masks/a.png": _MASK},
            [*_RUN, "--data", "demo:train=2,val=0", "--out", "@/r"],
            2,
            "run.json",
        )
        for name, text in (("another tool's", '{"tool": "x"}'), ("a list", "[]"), ("no JSON", "hello"), ("empty", ""))
    ),
    *(
        refuses("Values of masks", name, {**_FOLDER, "classes.txt": "cow\ndog\n", "masks/a.png": content}, *words)
        for name, content, words in (
            ("above K", grey(np.full((12, 16), 9, np.uint8)), ("a.png", "9")),
            ("a colour picture", picture("PNG", 1), ("a.png", "colour")),
            ("16 bits", grey(np.full((12, 16), 999, np.uint16)), ("a.png",)),
            ("another size", grey(np.zeros((5, 5), np.uint8)), ("a.png", "5")),
        )
    ),
    *(
        command(
            "--reuse of nothing",
            name,
            files,
            [*_RUN, "--data", "demo:train=2,val=0", "--out", "@/out", "--reuse", "@/nope"],
            2,
            "nope",
        )
        for name, files in (
            ("missing", {}),
            ("a file", {"nope": "x"}),
            ("an empty folder", {"nope/x": ""}),
            ("another tool's", {"nope/run.json": "[]"}),
        )
    ),
    _coco_mask("Hostile outlines", "1e9", {"segmentation": [[0, 0, 1e9, 0, 1e9, 1e9, float("-inf"), 3]]}, "11"),
    _coco_mask(
        "Hostile outlines", "negative run lengths", {"segmentation": {"size": [12, 16], "counts": [-5, 197]}}, "11"
    ),
    _coco_mask(
        "Hostile outlines", "run lengths that are cut", {"segmentation": {"size": [12, 16], "counts": [10]}}, "11"
    ),
    _coco_mask("Hostile outlines", "10**30", {"segmentation": {"size": [10**30, 16], "counts": "00"}}, "11"),
    *(
        command("Pipes and devices", name, files, ["check", "folder:@"], (0, 2), *words)
        for name, files, words in (
            ("a mask", {**_FOLDER, "masks/a.png": _fifo}, ("a.png",)),
            ("the table", {**ABC, "labels.csv": _fifo}, ("labels.csv",)),
            ("a device", {**_FOLDER, "masks/a.png": _link("/dev/zero")}, ("a.png",)),
        )
    ),
    raises("Pipes and devices", "run.json", {"r/run.json": _fifo}, lambda at: run_record(at / "r"), "run.json", "pipe"),
    reads("Links and folders", "a circle", {**_FOLDER, "images/loop": _link("loop")}, _PLAIN),
    reads("Links and folders", "a circle of folders", {**_FOLDER, "images/up": _link("..")}, _PLAIN),
    reads("Links and folders", "a link to nowhere", {**_FOLDER, "images/x.txt": _link("/nowhere/x.txt")}, _PLAIN),
    refuses(
        "Links and folders",
        "an image that is a link to nowhere",
        {**_FOLDER, "images/a.png": _link("/nowhere/a.png")},
        "a.png",
        most=2,
    ),
    *(
        command(
            "--out that cannot be",
            name,
            {"file": "x"},
            [*_RUN, "--data", "demo:train=2,val=0", "--out", out],
            2,
            "--out",
        )
        for name, out in (
            ("below a file", "@/file/r"),
            ("in /proc", "/proc/x/r"),
            ("a long name", "@/" + "n" * 300),
            ("a file", "@/file"),
        )
    ),
    *_set(
        "",
        "seed=9223372036854775808",
        "classifier.optimiser.lr=-1",
        "classifier.crop=1e9",
        "classifier.plan.epochs=1e20",
    ),
    _edited("an unknown class", {**_RECORD, "settings": {"class": "os.system"}}, "os.system"),
    _edited("wrong types", {**_RECORD, "data": []}, "run.json"),
    _edited("nested deeply", "[" * 100_000, "run.json"),
    _edited("no settings", {"recipe": "cam"}, "run.json"),
    refuses(
        "Labels that mislead",
        "two columns of labels",
        {**ABC, "labels.csv": "image,labels,labels\na,cow,x\nb,dog,y\nc,cow,z\n"},
        "labels",
    ),
    reads(
        "Labels that mislead",
        "words for nothing",
        {**ABC, "labels.csv": "image,labels\na,cow\nb,-\nc,N/A\n"},
        {"a": ["cow"], "b": [], "c": []},
    ),
    refuses(
        "Labels that mislead",
        "folder: on VOC",
        {**photographs("a.jpg", below="JPEGImages"), "Annotations/a.xml": "<annotation/>"},
        "voc:",
    ),
    refuses(
        "Labels that mislead",
        "a label that differs in case",
        {**ABC, "labels.csv": "image,labels\na,cow\nb,Cow\nc,dog\n"},
        "case",
    ),
    _value("Pixels", "16-bit grey", np.full((8, 8), 65535 // 2, np.uint16), 127.5),
    _value("Pixels", "16-bit grey in TIFF", np.full((8, 8), 65535, np.uint16), 255, "TIFF"),
    _value("Pixels", "floats", np.full((8, 8), 0.5, np.float32), 127.5, "TIFF"),
    _value("Pixels", "one bit", np.ones((8, 8), bool), 255, "TIFF"),
    _damaged("cut and closed again", lambda data: data[: len(data) // 2] + b"\xff\xd9"),
    _damaged("cut", lambda data: data[: len(data) // 2]),
    _damaged("zeroed", lambda data: data[: len(data) // 2] + bytes(200) + data[len(data) // 2 + 200 :]),
    _damaged("an end in the middle", lambda data: data[: len(data) // 3] + b"\xff\xd9" + data[len(data) // 3 :]),
    _xml("another root", f"<data>{_OBJECTS}</data>", ["cow"]),
    _xml("capitals", "<ANNOTATION><OBJECT><NAME>cow</NAME></OBJECT></ANNOTATION>", ["cow"]),
    _xml("no annotation", "<html><body/></html>", None),
    _categories("a name that is null", [{"id": 1, "name": None}], None, "1"),
    *(
        calls("Formats that are not read", suffix, {**_FOLDER, f"images/d.{suffix}": b"x"}, lambda at: _mentions(at))
        for suffix in ("cr2", "psd", "jxl", "nef")
    ),
    *(
        command(
            "Closed outputs",
            name,
            {**ABC, "labels.csv": "".join(["image,labels\n", *(f"x{n},cow\n" for n in range(400))])},
            ["check", "folder:@"],
            codes,
            prefix=("sh", "-c", f'"$@" {redirect}', "sh"),
        )
        for name, redirect, codes in (
            ("| head -1", "| head -1", (0,)),
            ("a full disk", ">/dev/full", (2, 141)),
            ("no standard output", ">&-", (2, 141)),
            ("no standard error", "2>&-", (2,)),
        )
    ),
]


def _mentions(folder: Path) -> str:
    _, faults, message = looked_at(f"folder:{folder}")
    suffix = next((folder / "images").glob("d.*")).suffix
    return "" if any(suffix in str(fault) for fault in faults) else f"{suffix} is not mentioned {message}"


if sys.platform != "linux":
    CASES = [case for case in CASES if case.group not in ("Closed outputs", "Pipes and devices")]
__all__ = ["CASES", "Image", "encoded"]
