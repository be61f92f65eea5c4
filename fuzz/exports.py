"""Exports of annotation tools: COCO, PASCAL VOC, CVAT, Label Studio, LabelMe, and Hugging Face's datasets."""

from __future__ import annotations

import io
import json
from functools import cache
from typing import Any

from hypothesis import strategies as st

from fuzz.damage import damaged, sometimes_damaged
from fuzz.labels import images
from fuzz.pictures import picture
from fuzz.reader import Files, Reader, dataset
from fuzz.values import WORDS, encoded, filled, json_file

_BOX = [1, 1, 7, 1, 7, 5, 1, 5]
_COCO = {
    "info": {},
    "images": [
        {"id": 1, "file_name": "a.png", "width": 9, "height": 7},
        {"id": 2, "file_name": "b.jpg", "width": 9, "height": 7},
        {"id": "c", "file_name": "sub/c.png"},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "segmentation": [_BOX], "bbox": [1, 1, 6, 4], "iscrowd": 0},
        {
            "id": 2,
            "image_id": 1,
            "category_id": 4,
            "segmentation": {"size": [7, 9], "counts": [3, 4, 56]},
            "iscrowd": 1,
        },
        {"id": 3, "image_id": 2, "category_id": 4, "segmentation": {"size": [7, 9], "counts": "34h1"}},
        {"id": 4, "image_id": "c", "category_id": 3, "bbox": [0, 0, 2, 2], "area": 4.0},
    ],
    "categories": [{"id": 3, "name": "cow"}, {"id": 4, "name": "dog", "supercategory": "animal"}],
}
_LABELME: dict[str, Any] = {
    "version": "5.4.1",
    "flags": {"sunny": True},
    "shapes": [
        {"label": "cow", "points": [[1, 1], [7, 1], [7, 5]], "shape_type": "polygon", "group_id": None, "flags": {}},
        {"label": "dog", "points": [[4, 4], [5, 5]], "shape_type": "circle"},
        {"label": "dog", "points": [[1, 1], [3, 3]], "shape_type": "mask", "mask": ""},
        {"label": "__ignore__", "points": [[1, 1], [3, 3]], "shape_type": "rectangle"},
    ],
    "imagePath": "a.png",
    "imageData": None,
    "imageHeight": 7,
    "imageWidth": 9,
}
_SIZES = {"original_width": 9, "original_height": 7, "from_name": "x", "to_name": "y"}
_STUDIO = [
    {
        "id": 1,
        "data": {"image": "/data/upload/1/0f1e2d3c-a.png", "text": "x"},
        "annotations": [
            {
                "id": 5,
                "was_cancelled": False,
                "ground_truth": True,
                "result": [
                    {"type": "choices", "value": {"choices": ["cow"]}, **_SIZES},
                    {
                        "type": "polygonlabels",
                        "value": {"points": [[1, 1], [90, 1], [50, 80]], "polygonlabels": ["cow"]},
                        **_SIZES,
                    },
                    {"type": "taxonomy", "value": {"taxonomy": [["animal", "dog"]]}, **_SIZES},
                ],
            }
        ],
        "predictions": [],
    },
    {
        "id": 2,
        "data": {"image": "http://host/b.jpg?d=1"},
        "annotations": [
            {
                "result": [
                    {
                        "type": "ellipselabels",
                        "value": {
                            "x": 50,
                            "y": 50,
                            "radiusX": 20,
                            "radiusY": 30,
                            "rotation": 20,
                            "ellipselabels": ["dog"],
                        },
                        **_SIZES,
                    },
                    {
                        "type": "brushlabels",
                        "value": {"format": "rle", "rle": [0, 0, 0, 252, 58, 119, 255, 255], "brushlabels": ["cow"]},
                        **_SIZES,
                    },
                    {
                        "type": "rectanglelabels",
                        "value": {"x": 1, "y": 1, "width": 9, "height": 9, "rectanglelabels": ["dog"]},
                    },
                ]
            }
        ],
    },
]
_HEAD = '<?xml version="1.0" encoding="«utf-8»"?>\n'
_VOC = (
    _HEAD + "<«annotation»><folder>«x»</folder><filename>«a.png»</filename><size><width>«9»</width></size>"
    "<object><«name»>«cow»</name><difficult>«1»</difficult><bndbox><xmin>«1»</xmin></bndbox>"
    "<part><name>«head»</name></part></object><object><name>«dog»</name></object></«annotation»>",
    "<annotation><object><name>«cow»</name></object>«»<bndbox/></annotation>",
    '<!DOCTYPE a [<!ENTITY b "«x»"><!ENTITY c "&b;&b;&b;">]><annotation><object><name>«&c;»</name></object>'
    "</annotation>",
)
_CVAT = (
    _HEAD + "<annotations><version>«1.1»</version><meta><job><labels><label><name>«cow»</name></label>"
    "<label><name>«dog»</name></label></labels></job></meta>"
    '<image id="«0»" name="«a.png»" width="«9»" height="«7»" subset="«train»">'
    '<polygon label="«cow»" points="«1,1;7,1;7,5»" z_order="«0»"></polygon><tag label="«dog»"/></image>'
    '<image id="1" name="«b.jpg»" width="«9»" height="«7»">'
    '<mask label="«dog»" rle="«1, 2, 3»" left="«1»" top="«1»" width="«3»" height="«2»"/>'
    '<ellipse label="«cow»" cx="«4»" cy="«3»" rx="«2»" ry="«2»" rotation="«30»"/>'
    '<box label="«cow»" xtl="«1»" ytl="1" xbr="3" ybr="3"/></image></annotations>',
    "<annotations><image name='«a.png»' width='«9»' height='«7»'>«»</image><«track»/></annotations>",
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


def _xml(name: str, templates: tuple[str, ...]) -> st.SearchStrategy[Files]:
    text = st.sampled_from(templates).flatmap(lambda template: filled(template, _IN_XML))
    return sometimes_damaged(encoded(text)).map(lambda data: {name: data})


def _labelme() -> st.SearchStrategy[Files]:
    pictured = {**_LABELME, "shapes": [{**_LABELME["shapes"][2], "mask": _base64_mask()}]}
    return json_file(_LABELME, pictured).map(lambda data: {"images/a.json": data})


def _base64_mask() -> str:
    import base64

    return base64.b64encode(picture("PNG", "1")).decode()


_FEATURES: dict[str, Any] = {
    "features": {
        "image": {"_type": "Image"},
        "labels": {"feature": {"names": ["cow", "dog"], "_type": "ClassLabel"}, "_type": "Sequence"},
    }
}
_STATE = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_fingerprint": "0"}


@cache
def _arrow(odd: bool = False) -> bytes:
    """The data file of three rows."""
    import pyarrow

    labels: list[Any] = [[0], [0, 1], None] if not odd else [["cow"], ["", "dog\0"], []]
    rows = [{"bytes": picture(), "path": "a.png"}, {"bytes": None, "path": "../../a.png"}, {"bytes": b"", "path": None}]
    table = pyarrow.table({"image": rows, "labels": labels})
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
    which = draw(st.integers(0, 4))
    if which == 0:
        files["dataset_dict.json"] = draw(json_file({"splits": ["train", "validation"]}))
    elif which == 1:
        files["train/state.json"] = draw(json_file(_STATE))
    elif which == 2:
        files["train/data-00000-of-00001.arrow"] = draw(damaged(st.builds(_arrow, st.booleans()), 3))
    else:
        files["train/dataset_info.json"] = draw(
            json_file(_FEATURES, {"features": {"image": {"_type": "Image"}, "label": 1}})
        )
    return files


def _voc() -> Files:
    lists = {f"ImageSets/Segmentation/{part}.txt": name for part, name in (("train", b"a\n"), ("val", b"b\n"))}
    boxed = b"<annotation><object><name>cow</name></object></annotation>"
    return {**images("JPEGImages"), **lists, "classes.txt": b"cow\ndog\n", "Annotations/b.xml": boxed}


READERS = (
    Reader(
        "coco",
        json_file(_COCO).map(lambda data: {"annotations/instances_default.json": data}),
        dataset("coco"),
        images,
    ),
    Reader("voc", _xml("Annotations/a.xml", _VOC), dataset("voc"), _voc),
    Reader("cvat", _xml("annotations.xml", _CVAT), dataset("cvat"), images),
    Reader("labelstudio", json_file(_STUDIO).map(lambda data: {"export.json": data}), dataset("labelstudio"), images),
    Reader("labelme", _labelme(), dataset("labelme"), images),
    Reader("datasets", _saved(), dataset("datasets")),
)
