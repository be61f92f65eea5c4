"""Exports of annotation tools: COCO, PASCAL VOC, CVAT, Label Studio, LabelMe, and Hugging Face's datasets."""

from __future__ import annotations

import io
import json
from functools import cache
from typing import Any

from hypothesis import strategies as st

from fuzz import sound
from fuzz.damage import damaged, sometimes_damaged
from fuzz.labels import images
from fuzz.pictures import picture
from fuzz.reader import Files, Reader, dataset
from fuzz.values import WORDS, encoded, filled, json_file

_HEAD = '<?xml version="1.0" encoding="«utf-8»"?>\n'
_ENTITIES = (
    '<!DOCTYPE a [<!ENTITY b "«x»"><!ENTITY c "&b;&b;&b;">]><annotation><object><name>«&c;»</name></object>'
    "</annotation>"
)
_IN_XML = (
    *(word for word in WORDS if "\0" not in word and "\ud83d" not in word),
    *(
        "utf-7",
        "gb2312",
        "hex",
        "idna",
        "utf-16",
        "EBCDIC-CP-US",
        "&b;",
        "&#0;",
        "<name>",
        "</object>",
        "<![CDATA[x]]>",
    ),
    *("<object/>" * 50, "<a>" * 3000, "1,1", "1,1;nan,2;3,3", "1e308,1;-1e308,5;4,4", "5", "-3, 4", "99999999999, 1"),
)


def _xml(name: str, template: st.SearchStrategy[str]) -> st.SearchStrategy[Files]:
    """An XML file, with or without a declaration, whose values are replaced now and then."""
    head = st.sampled_from(("", "", _HEAD))
    text = st.tuples(head, template).map("".join).flatmap(lambda template: filled(template, _IN_XML))
    return sometimes_damaged(encoded(text)).map(lambda data: {name: data})


def _studio() -> st.SearchStrategy[Files]:
    return json_file(sound.studio()).map(lambda data: {"export.json": data})


def _labelme() -> st.SearchStrategy[Files]:
    return json_file(sound.labelme()).map(lambda data: {"images/a.json": data})


_FEATURES: dict[str, Any] = {
    "features": {
        "image": {"_type": "Image"},
        "labels": {"feature": {"names": ["cow", "dog"], "_type": "ClassLabel"}, "_type": "Sequence"},
    }
}
_STATE = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_fingerprint": "0", "_format_type": None}


_ROWS = (
    ((0,), (0, 1), None),
    ((1,), (), (1, 0, 1)),
    ((0,), (2,), (-1,)),
    (("cow",), ("", "dog\0"), ()),
    (("cow",), ("dog",), ("cow", "dog")),
    (0, 1, None),
    ("cow", "dog", "cow;dog"),
    (0.5, 1.0, 2.0),
)
"""Labels of three rows, by number and by name."""


@cache
def _arrow(rows: tuple[Any, ...] = _ROWS[0]) -> bytes:
    """The data file of three rows with such labels."""
    import pyarrow

    labels = [list(each) if isinstance(each, tuple) else each for each in rows]
    found = [
        {"bytes": picture(), "path": "a.png"},
        {"bytes": None, "path": "../../a.png"},
        {"bytes": b"", "path": None},
    ]
    table = pyarrow.table({"image": found, "labels": labels})
    buffer = io.BytesIO()
    with pyarrow.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


@st.composite
def _saved(draw: st.DrawFn) -> Files:
    files = {
        "dataset_dict.json": json.dumps({"splits": ["train"]}).encode(),
        "train/dataset_info.json": json.dumps(_FEATURES).encode(),
        "train/state.json": json.dumps(_STATE).encode(),
        "train/data-00000-of-00001.arrow": _arrow(),
    }
    rows = st.sampled_from(_ROWS).map(_arrow)
    which = draw(st.sampled_from(("split", "state", "arrow", "rows", "rows", "features", "features")))
    if which == "split":
        files["dataset_dict.json"] = draw(json_file({"splits": ["train"], "more": 1}))
    elif which == "state":
        files["train/state.json"] = draw(json_file(_STATE))
    elif which == "arrow":
        files["train/data-00000-of-00001.arrow"] = draw(damaged(rows, 1))
    elif which == "rows":
        files["train/data-00000-of-00001.arrow"] = draw(rows)
    else:
        files["train/dataset_info.json"] = draw(
            json_file(_FEATURES, {"features": {"image": {"_type": "Image"}, "labels": 1}})
        )
    return files


def _voc() -> Files:
    lists = {f"ImageSets/Segmentation/{part}.txt": name for part, name in (("train", b"a\n"), ("val", b"b\n"))}
    boxed = b"<annotation><object><name>cow</name></object></annotation>"
    return {**images("JPEGImages"), **lists, "classes.txt": b"cow\ndog\npolar bear\n", "Annotations/b.xml": boxed}


_annotations = st.one_of(sound.voc(), sound.voc(), sound.voc(), st.just(_ENTITIES))
READERS = (
    Reader(
        "coco",
        json_file(sound.coco()).map(lambda data: {"annotations/instances_default.json": data}),
        dataset("coco"),
        images,
    ),
    Reader("voc", _xml("Annotations/a.xml", _annotations), dataset("voc"), _voc),
    Reader("cvat", _xml("annotations.xml", sound.cvat()), dataset("cvat"), images),
    Reader("labelstudio", _studio(), dataset("labelstudio"), images),
    Reader("labelme", _labelme(), dataset("labelme"), images),
    Reader("datasets", _saved(), dataset("datasets")),
)
