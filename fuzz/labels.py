"""Labels that people write by hand or in a spreadsheet: tables, lists of names, YOLO, Open Images, image folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from deft.data.importers.pascal_context import read_context_names
from deft.engine.prompts import read_prompts
from fuzz import sound
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
    table = st.sampled_from(_TABLES).flatmap(filled)
    tables = (*[table] * 5, table.flatmap(lambda text: pieced(_PIECES, 3).map(text.__add__)), pieced(_PIECES))
    text = st.sampled_from(tables).flatmap(lambda one: one)
    kind = draw(st.sampled_from(("labels.csv", "labels.csv", "labels.tsv", "labels.json")))
    content = json_file(*_RECORDS) if kind == "labels.json" else sometimes_damaged(encoded(text))
    files = {kind: draw(content)}
    if not draw(st.integers(0, 3)):
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


_PROMPTS = (
    '«class»,«prompts»\n«cow»,«cow;cattle»\n«polar bear»,"«white bear, large»;«bear»"\n«background»,«sky;road;grass»\n',
    "class,prompts\ndog,«dog;puppy»\nbackground,«snow»\n",
    'class,prompts\r\ncow,"«dairy cow»;«young cow»"\r\ndog,«puppy»\r\n«background»,«snow;sand»\r\n',
)


@st.composite
def _prompts(draw: st.DrawFn) -> Files:
    table = st.sampled_from(_PROMPTS).flatmap(filled)
    text = st.one_of(table, table, table, pieced(("class,prompts\n", *_PIECES)))
    return {"prompts.csv": draw(sometimes_damaged(encoded(text)))}


def _read_prompts(folder: Path) -> None:
    found = read_prompts(folder / "prompts.csv", ("cow", "dog", "polar bear"))
    if len(found.classes) != 3 or not all(map(all, (*found.classes, found.background))):
        raise AssertionError(f"a class or the background has no words: {found}")


_YAML = (
    "train: [«images/train», «images/val»]\nnames: [«cow», «dog», «horse»]\nkpt_shape: [«17», «3»]\n",
    "a: &a [«x», x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nd: &d [*c, *c]\nnames: «*d»\ntrain: images/train\n",
    "train: images/train\nnames: !!python/object/apply:os.system [«ls»]\n",
    "? [«a»]\n: 1\nnames: &n {0: *n}\ntrain: 2001-01-«01»\n<<: «*n»\n",
)
_LINES = ("«0» 0.5 «0.5» 0.2 0.2 «0.1» «0.1» 2\n", "«» «0» «0.5»\n")


@st.composite
def _yolo(draw: st.DrawFn) -> Files:
    """Sound settings and lines of objects, of which one file is odd."""
    files = {"data.yaml": draw(sound.yolo_yaml()), "labels/train/a.txt": draw(sound.yolo_lines())}
    which = draw(st.sampled_from(("data.yaml", *["labels/train/a.txt"] * 2, "others", "classes.txt")))
    if which == "others":
        files = {"data.yaml": draw(st.sampled_from(_YAML)), "labels/train/a.txt": draw(st.sampled_from(_LINES))}
    elif which == "classes.txt":
        files = {**files, "classes.txt": _CLASSES}
        del files["data.yaml"]
    found = {}
    for name, template in files.items():
        plain = template.replace("«", "").replace("»", "").encode()
        odd = name == which or which == "others"
        found[name] = draw(sometimes_damaged(encoded(filled(template)))) if odd else plain
    return found


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


_TAGS: tuple[Any, ...] = (
    "cow",
    ["cow", "dog"],
    [],
    None,
    "cow;dog",
    {"category": ["dog"]},
    1,
    ["1", "0"],
    [{"label": "cow"}],
)


@st.composite
def _imagefolder(draw: st.DrawFn) -> Files:
    if draw(st.booleans()):
        table = '«file_name»,«labels»\n«a.png»,«cow»\n«b.jpg»,"«[""cow"", ""dog""]»"\n«sub/c.png»,«»\n'
        return {"train/metadata.csv": draw(sometimes_damaged(encoded(filled(table))))}
    names = ("a.png", "b.jpg", "sub/c.png")
    rows = [json.dumps({**_ROW, "file_name": name, "labels": draw(st.sampled_from(_TAGS))}) for name in names]
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, 2))
        rows[at] = draw(json_text({**_ROW, "file_name": names[at]})).replace("\n", "")
    return {"train/metadata.jsonl": draw(sometimes_damaged(encoded(st.just("\n".join(rows)))))}


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
    Reader("prompts", _prompts(), _read_prompts),
    Reader(
        "yolo",
        _yolo(),
        dataset("yolo"),
        lambda: {**images("images/train"), "images/val/d.png": picture("PNG", "L", 1), "labels/val/d.txt": b""},
    ),
    Reader("openimages", _open_images(), dataset("openimages"), images),
    Reader("imagefolder", _imagefolder(), dataset("imagefolder"), lambda: images("train")),
)
