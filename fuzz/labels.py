"""Labels that people write by hand or in a spreadsheet: tables, lists of names, YOLO, Open Images, image folders."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import strategies as st

from deft.data.importers.pascal_context import read_context_names
from fuzz.damage import sometimes_damaged
from fuzz.pictures import mask, picture
from fuzz.reader import Files, Reader, dataset
from fuzz.values import encoded, filled, json_file, json_text, pieced

_PIECES = (
    *("image,labels\n", "a", "a.png", "b", "b.jpg", "sub/c.png", "cow", "dog", "polar bear", "牛", "é", "nan", "None"),
    *(",", ",", ",", ";", "|", "\t", "\n", "\n", "\n", "\r", "\r\n", '"', '""', "'", "[", "]", "{", "}", "(", ")"),
    *(
        " ",
        "_",
        "-",
        "/",
        "\\",
        ":",
        "+",
        "&",
        " and ",
        "sep=;\n",
        "sep=",
        "\ufeff",
        "\u200b",
        "\0",
        "\ud800",
        "0",
        "1",
    ),
    *(
        "-1",
        "1e999",
        "True",
        "x",
        "image",
        "labels",
        "label",
        "label1",
        "label2",
        "Confidence",
        "file://",
        "%20",
        "?d=",
    ),
    *("filename", "class_name", "image;labels\n", "image\tlabels\n", "cow;dog", '"cow,dog"', "#", "\x1b[31m", "a" * 70),
)
_TABLES = (
    "«image»,«labels»\n«a.png»,«cow»\n«b»,«cow;dog»\n«sub/c.png»,«»\n",
    "«image»;«labels»\r\n«a»;«cow»\r\n«b»;«cow dog»\r\n«c»;«polar bear»\r\n",
    "«image»,«cow»,«dog»\n«a»,«1»,«0»\n«b»,«0»,«1»\n«c»,«1»,«»\n",
    "«image»,«label»,«Confidence»\n«a»,«cow»,«1»\n«a»,«dog»,«0.3»\n«b»,«dog»,«1»\n«c»,«cow»,«0»\n",
    '«image»,«labels»\n«a»,"«["cow", \'dog\']»"\n«b»,«{dog}»\n«c»,«[]»\n',
    "sep=«,»\n«path»|«tags»\n«C:\\x\\a.png»|«cow/dog»\n«/data/upload/3/1a2b3c4d-b.jpg»|«cow»\n«c»|«dog»\n",
)
_RECORDS = (
    {"a": ["cow"], "b": ["cow", "dog"], "sub/c.png": []},
    [{"image": "a.png", "labels": ["cow"]}, {"image": "b.jpg", "labels": "cow;dog"}, {"image": "c", "labels": None}],
)
_CLASSES = "«cow»\n«dog»\n«polar bear»\n"


@st.composite
def _table(draw: st.DrawFn) -> Files:
    text = st.one_of(st.sampled_from(_TABLES).flatmap(filled), pieced(_PIECES), pieced(_PIECES).map(_TABLES[0].__add__))
    kind = draw(st.sampled_from(("labels.csv", "labels.csv", "labels.tsv", "labels.json")))
    content = json_file(*_RECORDS) if kind == "labels.json" else sometimes_damaged(encoded(text))
    files = {kind: draw(content)}
    if draw(st.booleans()):
        files["classes.txt"] = b"cow\ndog\npolar bear\n"
    return files


@st.composite
def _names(draw: st.DrawFn) -> Files:
    """One of the three lists is odd."""
    files = {"classes.txt": b"cow\ndog\n", "val.txt": b"a\n", "59_labels.txt": b"1: cow\n2: dog\n"}
    name = draw(st.sampled_from(tuple(files)))
    templates = {
        "classes.txt": _CLASSES,
        "val.txt": "«a»\n«b.jpg»\n",
        "59_labels.txt": "1: «cow»\n2: «dog»\n«3»: «grass»\n",
    }
    text = st.one_of(filled(templates[name]), pieced(_PIECES))
    return {**files, name: draw(sometimes_damaged(encoded(text)))}


def _read_names(folder: Path) -> None:
    dataset("folder")(folder)
    read_context_names(folder / "59_labels.txt")


_YAML = (
    "path: «.»\ntrain: «images/train»\nval: «images/val»\nnc: «2»\nnames:\n  0: «cow»\n  1: «dog»\n",
    "train: [«images/train», «images/val»]\nnames: [«cow», «dog»]\nkpt_shape: [«17», «3»]\n",
    "a: &a [«x», x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nd: &d [*c, *c]\nnames: «*d»\ntrain: images/train\n",
    "train: images/train\nnames: !!python/object/apply:os.system [«ls»]\n",
    "? [«a»]\n: 1\nnames: &n {0: *n}\ntrain: 2001-01-«01»\n<<: «*n»\n",
)
_LINES = (
    "«0» «0.5» «0.5» «0.25» «0.25»\n«1» 0.1 0.1 «0.9» 0.1 0.9 0.9\n",
    "«0» 0.5 «0.5» 0.2 0.2 «0.1» «0.1» 2\n",
    "«» «0» «0.5»\n",
)


@st.composite
def _yolo(draw: st.DrawFn) -> Files:
    files = {
        "data.yaml": draw(sometimes_damaged(encoded(st.sampled_from(_YAML).flatmap(filled)))),
        "labels/train/a.txt": draw(sometimes_damaged(encoded(st.sampled_from(_LINES).flatmap(filled)))),
    }
    which = draw(st.integers(0, 3))  # all are odd, or one is
    if which == 1:
        files["data.yaml"] = _YAML[0].replace("«", "").replace("»", "").encode()
    elif which == 2:
        files["labels/train/a.txt"] = b"0 0.5 0.5 0.25 0.25\n"
    elif which == 3:
        del files["data.yaml"]
        files["classes.txt"] = draw(sometimes_damaged(encoded(filled(_CLASSES))))
    return files


_OPEN = (
    "«ImageID»,«Source»,«LabelName»,«Confidence»\n«a»,verification,«/m/1»,«1»\n«b»,x,«/m/2»,«0.7»\n«zz»,x,/m/1,1\n",
    "«ImageID»,«LabelName»\n«a»,«/m/1»\n«b»,«/m/2»\n",
)
_DESCRIPTIONS = "«LabelName»,«DisplayName»\n«/m/1»,«cow»\n«/m/2»,«dog»\n"


@st.composite
def _open_images(draw: st.DrawFn) -> Files:
    return {
        "train-labels.csv": draw(sometimes_damaged(encoded(st.sampled_from(_OPEN).flatmap(filled)))),
        "class-descriptions.csv": draw(sometimes_damaged(encoded(filled(_DESCRIPTIONS)))),
    }


_ROW = {"file_name": "a.png", "labels": ["cow", "dog"], "objects": {"categories": [0, "dog"], "bbox": [[1, 2, 3, 4]]}}


@st.composite
def _imagefolder(draw: st.DrawFn) -> Files:
    if draw(st.booleans()):
        table = '«file_name»,«labels»\n«a.png»,«cow»\n«b.jpg»,"«[""cow"", ""dog""]»"\n«sub/c.png»,«»\n'
        return {"train/metadata.csv": draw(sometimes_damaged(encoded(filled(table))))}
    rows = st.lists(json_text(_ROW, {"file_name": "b.jpg", "labels": "dog"}).map(lambda text: text.replace("\n", "")))
    return {"train/metadata.jsonl": draw(sometimes_damaged(encoded(rows.map("\n".join))))}


def images(below: str = "images") -> Files:
    """Three images."""
    return {
        f"{below}/a.png": picture(),
        f"{below}/b.jpg": picture("JPEG"),
        f"{below}/sub/c.png": picture("PNG", "L"),
    }


def _folder() -> Files:
    return {**images(), "masks/a.png": mask()}


def _tagged() -> Files:
    return {**_folder(), "labels.json": json.dumps({"a": ["cow"], "b": ["dog"], "sub/c": []}).encode()}


READERS = (
    Reader("tables", _table(), dataset("folder"), _folder),
    Reader("names", _names(), _read_names, _tagged),
    Reader(
        "yolo",
        _yolo(),
        dataset("yolo"),
        lambda: {**images("images/train"), "images/val/d.png": picture("PNG", "L", 1), "labels/val/d.txt": b""},
    ),
    Reader("openimages", _open_images(), dataset("openimages"), images),
    Reader("imagefolder", _imagefolder(), dataset("imagefolder"), lambda: images("train")),
)
