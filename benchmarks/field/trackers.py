"""Labels and layouts that people brought to trackers: each group has what was reported, and three more of its kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from field.case import ABC, Case, Content, command, either, encoded, photographs, picture, reads, refuses

_PLAIN = {"a": ["cow"], "b": ["dog"], "c": ["cow", "dog"]}
_VOC: dict[str, Content] = {
    **photographs("a.jpg", "b.jpg", below="JPEGImages"),
    "ImageSets/Segmentation/train.txt": "a\nb\n",
    "classes.txt": "cow\n牛\n",
    "Annotations/b.xml": "<annotation><object><name>cow</name></object></annotation>",
}


def _table(text: str | bytes, name: str = "labels.csv", **more: Content) -> dict[str, Content]:
    return {**ABC, name: text, **more}


def _voc(name: str, xml: bytes) -> dict[str, Content]:
    return {**_VOC, f"Annotations/{name}.xml": xml}


def _named(encoding: str, text: str = "牛") -> bytes:
    head = f'<?xml version="1.0" encoding="{encoding}"?><annotation><object><name>'
    return head.encode() + text.encode(encoding) + b"</name></object></annotation>"


def _coco(**change: Any) -> dict[str, Content]:
    ring = [2, 2, 12, 2, 12, 9, 2, 9]
    content: dict[str, Any] = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 16, "height": 12} for n in (1, 2)],
        "annotations": [
            {"id": 11, "image_id": 1, "category_id": 1, "segmentation": [ring], "bbox": [2, 2, 10, 7]},
            {"id": 12, "image_id": 2, "category_id": 2, "segmentation": [ring], "bbox": [2, 2, 10, 7]},
        ],
        "categories": [{"id": 1, "name": "cow"}, {"id": 2, "name": "dog"}],
    }
    for key, value in change.items():
        part, _, field = key.partition("__")
        content[part] = [{**content[part][0], field: value}, *content[part][1:]] if field else [*content[part], value]
    return {**photographs("1.png", "2.png"), "annotations/instances_default.json": json.dumps(content)}


def _without(field: str) -> dict[str, Content]:
    files = _coco()
    content = json.loads(str(files["annotations/instances_default.json"]))
    for annotation in content["annotations"]:
        del annotation[field]
    return {**files, "annotations/instances_default.json": json.dumps(content)}


_OBJECTS = {"1": ["cow"], "2": ["dog"]}
_TREE = {"cow/a": ["cow"], "dog/b": ["dog"]}


def _tree(*litter: str, content: bytes = b"") -> dict[str, Content]:
    return {
        "images/cow/a.png": picture(seed=1),
        "images/dog/b.png": picture(seed=2),
        **{name: content or picture("JPEG", 9) for name in litter},
    }


def _turned(value: int, size: tuple[int, int], annotated: tuple[int, int]) -> dict[str, Content]:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = value
    files = _coco(images__width=annotated[0], images__height=annotated[1], images__file_name="1.jpg")
    return {**files, "images/1.jpg": picture("JPEG", size=size, exif=exif), "images/1.png": picture(seed=5)}


def _oriented(name: str, value: int, annotated: tuple[int, int], mask: tuple[int, int], remark: bool) -> Case:
    """The mask of a photograph that EXIF turns lies on the raster it was outlined on."""
    from deft.data.check import look_at

    def wrong(folder: Path) -> str:
        splits, faults = look_at(f"coco:{folder}")
        if splits is None:
            return "not read"
        sample = splits.train[list(splits.train.names).index("1")]
        if sample.mask is None or sample.mask.shape != mask or sample.image.shape[:2] != mask:
            return f"image {sample.image.shape}, mask {None if sample.mask is None else sample.mask.shape}"
        said = any("EXIF" in fault.what for fault in faults)
        return "" if said == remark else f"a remark: {said}"

    files = _turned(value, (16, 12), annotated)
    del files["images/1.png"]
    return Case("label-studio 6608: EXIF in COCO", name, files, wrong)


def _masks(group: str, name: str, files: dict[str, Content], *words: str) -> Case:
    """An outline is refused with the id of its annotation, or drawn; memory stays as it is."""
    return refuses(group, name, files, "11", *words, kind="coco")


CASES: list[Case] = [
    reads("pelops 72: XML encodings", "gb2312", _voc("a", _named("gb2312")), {"a": ["牛"], "b": ["cow"]}, kind="voc"),
    reads(
        "pelops 72: XML encodings", "shift_jis", _voc("a", _named("shift_jis")), {"a": ["牛"], "b": ["cow"]}, kind="voc"
    ),
    reads("pelops 72: XML encodings", "big5", _voc("a", _named("big5")), {"a": ["牛"], "b": ["cow"]}, kind="voc"),
    refuses(
        "pelops 72: XML encodings",
        "one that nobody knows",
        _voc("a", b'<?xml version="1.0" encoding="klingon"?><annotation/>'),
        *("a.xml", "klingon"),
        kind="voc",
    ),
    reads(
        "lightning-flash 728: commas",
        "as reported",
        _table('image,labels\na,cow\nb,dog\nc,"cow, dog"\n'),
        _PLAIN,
        "','",
    ),
    reads("lightning-flash 728: commas", "no blanks", _table('image,labels\na,cow\nb,dog\nc,"cow,dog"\n'), _PLAIN),
    either("lightning-flash 728: commas", "without quotes", _table("image,labels\na,cow\nb,dog\nc,cow,dog\n"), _PLAIN),
    reads(
        "lightning-flash 728: commas",
        "a class with a comma",
        _table('image,labels\na,cow\nb,"dog, small"\nc,"dog, small"\n', **{"classes.txt": "cow\ndog, small\n"}),
        {"a": ["cow"], "b": ["dog, small"], "c": ["dog, small"]},
    ),
    reads("FARM 493: lists", "bars", _table("image,labels\na,cow\nb,dog\nc,cow|dog\n"), _PLAIN),
    reads(
        "FARM 493: lists",
        "a list of Python",
        _table("image,labels\na,['cow']\nb,['dog']\nc,\"['cow', 'dog']\"\n"),
        _PLAIN,
    ),
    reads(
        "FARM 493: lists", "an array of NumPy", _table("image,labels\na,['cow']\nb,['dog']\nc,['cow' 'dog']\n"), _PLAIN
    ),
    reads(
        "FARM 493: lists",
        "words for nothing",
        _table("image,labels\na,cow\nb,dog\nc,nan\n"),
        {"a": ["cow"], "b": ["dog"], "c": []},
    ),
    reads("immich 30690: litter", "Synology", _tree("images/cow/@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg"), _TREE, "@eaDir"),
    reads(
        "immich 30690: litter", "macOS", _tree("images/__MACOSX/cow/._a.png", content=b"\0\5\x16\7"), _TREE, "__MACOSX"
    ),
    reads("immich 30690: litter", "Windows", _tree("images/$RECYCLE.BIN/$R1.png"), _TREE, "$RECYCLE.BIN"),
    reads("immich 30690: litter", "AppleDouble", _tree("images/cow/._a.png", content=b"\0\5\x16\7"), _TREE),
    reads(
        "psa 14: a class everywhere",
        "the only one",
        _table("image,labels\na,cow\nb,cow\nc,cow\n"),
        {"a": ["cow"], "b": ["cow"], "c": ["cow"]},
        *("every", "without"),
    ),
    reads(
        "psa 14: a class everywhere",
        "one of two",
        _table("image,labels\na,cow\nb,cow;dog\nc,cow\n"),
        {"a": ["cow"], "b": ["cow", "dog"], "c": ["cow"]},
        "'cow'",
    ),
    reads(
        "psa 14: a class everywhere",
        "two that are always together",
        _table("image,labels\na,cow;dog\nb,cow;dog\nc,\n"),
        {"a": ["cow", "dog"], "b": ["cow", "dog"], "c": []},
        "together",
    ),
    reads(
        "psa 14: a class everywhere",
        "in boxes of COCO",
        _coco(annotations={"id": 13, "image_id": 2, "category_id": 1}),
        {"1": ["cow"], "2": ["cow", "dog"]},
        "'cow'",
        kind="coco",
    ),
    reads("ultralytics 23998: boxes only", "no segmentation", _without("segmentation"), _OBJECTS, kind="coco"),
    reads("ultralytics 23998: boxes only", "null", _coco(annotations__segmentation=None), _OBJECTS, kind="coco"),
    reads("ultralytics 23998: boxes only", "an empty list", _coco(annotations__segmentation=[]), _OBJECTS, kind="coco"),
    reads(
        "ultralytics 23998: boxes only",
        "neither box nor outline",
        _coco(annotations__segmentation=None, annotations__bbox=None),
        _OBJECTS,
        kind="coco",
    ),
    *(
        _masks("cocoapi 380: numbers", name, _coco(annotations__segmentation=value))
        for name, value in (
            ("NaN", [[2, 2, float("nan"), 2, 12, 9]]),
            ("infinity", [[2, 2, float("inf"), 2, 12, 9]]),
            ("a word", [[2, 2, "far", 2, 12, 9]]),
            ("run lengths of another size", {"size": [99999, 99999], "counts": [10]}),
        )
    ),
    reads(
        "icevision 1098: malformed outlines",
        "a flat list",
        _coco(annotations__segmentation=[2, 2, 12, 2, 12, 9]),
        _OBJECTS,
        kind="coco",
    ),
    *(
        _masks("icevision 1098: malformed outlines", name, _coco(annotations__segmentation=value))
        for name, value in (
            ("an odd count", [[2, 2, 12, 2, 12]]),
            ("a text", "polygon"),
            ("run lengths without counts", {"size": [12, 16]}),
        )
    ),
    either(
        "datumaro 733: ids",
        "an image that is not there",
        _coco(annotations={"id": 9, "image_id": 99, "category_id": 1}),
        _OBJECTS,
        kind="coco",
    ),
    reads(
        "datumaro 733: ids",
        "an id as text",
        _coco(annotations__image_id="1", annotations__category_id="1"),
        _OBJECTS,
        kind="coco",
    ),
    reads(
        "datumaro 733: ids",
        "an id as float",
        _coco(annotations__image_id=1.0, annotations__category_id=1.0),
        _OBJECTS,
        kind="coco",
    ),
    refuses("datumaro 733: ids", "a category that is not there", _coco(annotations__category_id=77), "77", kind="coco"),
    _oriented("outlined upright", 6, (12, 16), (16, 12), False),
    _oriented("outlined as stored", 6, (16, 12), (12, 16), False),
    _oriented("mirrored", 2, (16, 12), (12, 16), True),
    _oriented("turned by 270 degrees, upright", 8, (12, 16), (16, 12), False),
    reads(
        "steinbock 28: Excel", "semicolons", _table("image;labels\r\na;cow\r\nb;dog\r\nc;cow,dog\r\n"), _PLAIN, "';'"
    ),
    reads(
        "steinbock 28: Excel",
        "UTF-16 with tabs",
        _table("image\tlabels\r\na\tcow\r\nb\tdog\r\nc\tcow;dog\r\n".encode("utf-16")),
        _PLAIN,
    ),
    reads("steinbock 28: Excel", "sep=", _table("sep=;\r\nimage;labels\r\na;cow\r\nb;dog\r\nc;cow,dog\r\n"), _PLAIN),
    reads(
        "steinbock 28: Excel", "empty columns behind", _table("image,labels,,\na,cow,,\nb,dog,,\nc,cow;dog,,\n"), _PLAIN
    ),
    reads(
        "label-studio 878: paths",
        "Windows",
        _table("image,labels\nC:\\x\\a.png,cow\nC:\\x\\b.png,dog\nC:\\x\\c.png,cow;dog\n"),
        _PLAIN,
    ),
    reads(
        "label-studio 878: paths",
        "uploads",
        _table(
            "image,labels\n/data/upload/1/0f1e2d3c-a.png,cow\n"
            "/data/upload/1/1f1e2d3c-b.png,dog\n/data/upload/1/2f1e2d3c-c.png,cow;dog\n"
        ),
        _PLAIN,
    ),
    reads(
        "label-studio 878: paths",
        "URLs",
        _table("image,labels\nhttp://h/p/a.png,cow\nhttp://h/p/b.png,dog\nhttp://h/p/c.png,cow;dog\n"),
        _PLAIN,
    ),
    reads(
        "label-studio 878: paths",
        "another suffix",
        _table("image,labels\na.jpg,cow\nb.jpg,dog\nc.jpg,cow;dog\n"),
        _PLAIN,
    ),
    *(
        reads("OIDv4_ToolKit 57: names of two words", name, _table(text, **more), expected, *words)
        for name, text, more, expected, words in (
            (
                "one class",
                "image,labels\na,polar bear\nb,polar bear\nc,\n",
                {},
                {"a": ["polar bear"], "b": ["polar bear"], "c": []},
                ("polar bear",),
            ),
            ("words that also stand alone", "image,labels\na,cow\nb,dog\nc,cow dog\n", {}, _PLAIN, ("space",)),
            (
                "listed",
                "image,labels\na,polar bear\nb,cow\nc,polar bear;cow\n",
                {"classes.txt": "cow\npolar bear\n"},
                {"a": ["polar bear"], "b": ["cow"], "c": ["cow", "polar bear"]},
                (),
            ),
            (
                "quoted",
                'image,labels\na,"polar bear"\nb,"brown bear"\nc,\n',
                {},
                {"a": ["polar bear"], "b": ["brown bear"], "c": []},
                (),
            ),
        )
    ),
    *(
        reads(
            "rf-detr 413: unused categories",
            name,
            _coco(categories={"id": 0, "name": name}),
            _OBJECTS,
            name,
            kind="coco",
        )
        for name in ("background", "__background__", "root", "Background")
    ),
]
_TABLE = "image,labels\na,cow\nb,dog\nc,cow;dog\n"
_MANY = {**ABC, "labels.csv": "".join(["image,labels\n", *(f"x{number},cow\n" for number in range(400))])}


def _large(key: str, **options: Any) -> bytes:
    from PIL import Image, PngImagePlugin

    notes = PngImagePlugin.PngInfo()
    if key == "text":
        notes.add_text("a", "x" * 2**21)
    elif key == "compressed text":
        notes.add_text("a", "x" * 2**21, zip=True)
    elif key == "international text":
        notes.add_itxt("a", "é" * 2**20, zip=True)
    return encoded(Image.new("RGB", (4, 3), (10, 20, 30)), pnginfo=notes, **options)


def _pixels(folder: Path) -> str:
    from deft.data.images import read_image

    found = read_image(folder / "a.png")
    return "" if found.shape == (3, 4, 3) and (found == (10, 20, 30)).all() else f"pixels {found.tolist()}"


CASES += [
    *(
        command(
            "MegaDetector 118: names",
            name,
            {**ABC, "labels.csv": _TABLE, f"images/{file}": picture(seed=8)},
            ["check", "folder:@"],
            (0, 2),
            PYTHONIOENCODING=encoding,
        )
        for name, file, encoding in (
            ("no UTF-8, ASCII", "caf\udce9.png", "ascii"),
            ("no UTF-8", "caf\udce9.png", "utf-8"),
            ("Chinese, ASCII", "牛.png", "ascii"),
            ("an emoji, Latin-1", "\U0001f404.png", "latin-1"),
        )
    ),
    *(
        command(
            "B2 tool 1071: output that is closed",
            name,
            _MANY,
            ["check", "folder:@"],
            0,
            prefix=("sh", "-c", f'"$@" | {reader}', "sh"),
        )
        for name, reader in (
            ("head -1", "head -1"),
            ("head -0", "head -c 0"),
            ("true", "true"),
            ("sed q", "sed q"),
        )
    ),
    *(
        Case("Pillow 8363: large chunks", name, {"a.png": content}, _pixels)
        for name, content in (
            ("text", _large("text")),
            ("compressed text", _large("compressed text")),
            ("international text", _large("international text")),
            ("profile", _large("", icc_profile=bytes(range(256)) * 2**13)),
        )
    ),
]
