"""Sound annotations of random content, as each tool writes them: what damage and odd values begin from.

A file that is wrong everywhere is refused by the first check. One that is right but for a single value is read to where
that value matters.
"""

from __future__ import annotations

import base64
import io
import pickle
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from deft.data.layouts.run_lengths import counts_to_text, mask_to_brush, mask_to_counts
from fuzz.pictures import mask, picture

HEIGHT, WIDTH = 7, 9
CLASSES = ("cow", "dog", "polar bear", "牛")
IMAGES = ("a.png", "b.jpg", "sub/c.png")
"""Those of :func:`fuzz.labels.images`."""
_class = st.sampled_from(CLASSES[:3])
_images = st.permutations(IMAGES).flatmap(lambda names: st.integers(2, 3).map(lambda count: names[:count]))


@st.composite
def _ring(draw: st.DrawFn, across: float = WIDTH, down: float = HEIGHT) -> list[list[float]]:
    """Corners of a polygon in an image of that size."""
    point = st.tuples(st.integers(0, 32), st.integers(0, 32))
    return [[x / 32 * across, y / 32 * down] for x, y in draw(st.lists(point, min_size=3, max_size=6))]


@st.composite
def _area(draw: st.DrawFn, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.bool_]:
    """The pixels of an object, (H, W)."""
    bits = draw(st.binary(min_size=height, max_size=height))
    rows = np.unpackbits(np.frombuffer(bits, np.uint8)).reshape(height, 8).astype(np.bool_)
    return np.resize(rows, (height, width))


@st.composite
def studio(draw: st.DrawFn) -> list[Any]:
    """Tasks of Label Studio."""
    tasks = []
    for number, image in enumerate(draw(_images)):
        address = draw(st.sampled_from(("{}", "/data/upload/1/0f1e2d3c-{}", "/data/local-files/?d=x/{}", "s3://b/{}")))
        result = [draw(_studio_result()) for _ in range(draw(st.integers(1, 3)))]
        notes = {"id": number, "was_cancelled": False, "ground_truth": draw(st.booleans()), "result": result}
        tasks.append({"id": number, "data": {"image": address.format(image)}, "annotations": [notes]})
    return tasks


@st.composite
def _studio_result(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(("choices", "taxonomy", "polygon", "ellipse", "brush", "rectangle", "keypoint")))
    name = draw(_class)
    value: dict[str, Any] = {"x": 10, "y": 20.5, "width": 30, "height": 40, "rotation": draw(st.integers(0, 360))}
    if kind == "choices":
        value = {"choices": [name]}
    elif kind == "taxonomy":
        value = {"taxonomy": [["animal", name]]}
    elif kind == "polygon":
        value = {"points": draw(_ring(100, 100)), "closed": True}
    elif kind == "ellipse":
        value |= {"radiusX": draw(st.integers(1, 60)), "radiusY": 12.5}
    elif kind == "brush":
        value = {"format": "rle", "rle": mask_to_brush(draw(_area()))}
    if kind not in ("choices", "taxonomy"):
        kind += "labels"
        value[kind] = [name]
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"id": "r", "type": kind, "value": value, "from_name": "label", "to_name": "image", **size}


@st.composite
def coco(draw: st.DrawFn) -> dict[str, Any]:
    """COCO's annotations of instances."""
    photographs: list[Any] = []
    annotations: list[Any] = []
    for image, name in enumerate(draw(_images), 1):
        photographs.append({"id": image, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for _ in range(draw(st.integers(1, 2))):
            area = draw(_area())
            counts = mask_to_counts(area)
            outlines: list[Any] = [
                [[value for point in draw(_ring()) for value in point]],
                {"size": [HEIGHT, WIDTH], "counts": counts},
                {"size": [HEIGHT, WIDTH], "counts": counts_to_text(counts)},
                [],
            ]
            outline = draw(st.sampled_from(outlines))
            one = {"id": len(annotations) + 1, "image_id": image, "category_id": draw(st.integers(1, 3))}
            box = {"bbox": [1, 1, 5, 4], "area": 20.0, "iscrowd": int(isinstance(outline, dict))}
            annotations.append({**one, "segmentation": outline, **box})
    categories = [{"id": number, "name": name, "supercategory": "a"} for number, name in enumerate(CLASSES[:3], 1)]
    return {"info": {}, "images": photographs, "annotations": annotations, "categories": categories}


@st.composite
def labelme(draw: st.DrawFn) -> dict[str, Any]:
    """An annotation of LabelMe."""
    shapes = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(("polygon", "circle", "mask", "rectangle", "line", "point")))
        points = {"polygon": draw(_ring()), "point": [[1, 2]]}.get(kind, [[1.5, 1], [4, 3]])
        one: dict[str, Any] = {"label": draw(_class), "points": points, "shape_type": kind, "group_id": None}
        if kind == "mask":
            one["mask"] = base64.b64encode(draw(st.sampled_from((picture("PNG", "1"), mask(False, 1))))).decode()
        shapes.append(one)
    size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
    flags = {"sunny": draw(st.booleans())}
    return {"version": "5.4.1", "flags": flags, "shapes": shapes, "imagePath": "a.png", "imageData": None, **size}


@st.composite
def cvat(draw: st.DrawFn) -> str:
    """The XML of CVAT for images, with the values that may be replaced between ``«`` and ``»``."""
    labels = "".join(f"<label><name>«{name}»</name></label>" for name in CLASSES[:3])
    images = []
    for number, name in enumerate(draw(_images)):
        shapes = "".join(draw(_cvat_shape()) for _ in range(draw(st.integers(1, 3))))
        subset = f' subset="«{"train" if number else "val"}»"' if draw(st.booleans()) else ""
        size = f'width="«{WIDTH}»" height="«{HEIGHT}»"'
        images.append(f'<image id="{number}" name="«{name}»" {size}{subset}>{shapes}</image>')
    meta = f"<meta><job><labels>{labels}</labels></job></meta>"
    return f"<annotations><version>1.1</version>{meta}{''.join(images)}</annotations>"


@st.composite
def _cvat_shape(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(("polygon", "mask", "ellipse", "box", "tag", "polyline", "points")))
    label = f'label="«{draw(_class)}»"'
    points = ";".join(f"{x:g},{y:g}" for x, y in draw(_ring()))
    if kind == "tag":
        return f"<tag {label}/>"
    if kind == "box":
        return f'<box {label} xtl="«1»" ytl="1" xbr="«5»" ybr="4" z_order="«0»"/>'
    if kind == "ellipse":
        return f'<ellipse {label} cx="«4.5»" cy="«3»" rx="«2»" ry="«2.5»" rotation="«30»"/>'
    if kind == "mask":
        height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
        runs = ", ".join(map(str, mask_to_counts(draw(_area(height, width)), columns=False)))
        return f'<mask {label} rle="«{runs}»" left="«1»" top="«2»" width="«{width}»" height="«{height}»"/>'
    return f'<{kind} {label} points="«{points}»" z_order="«0»"></{kind}>'


@st.composite
def voc(draw: st.DrawFn) -> str:
    """An annotation of PASCAL VOC, with the values that may be replaced between ``«`` and ``»``."""
    box = "<bndbox><xmin>«1»</xmin><ymin>1</ymin><xmax>5</xmax><ymax>«4»</ymax></bndbox>"
    objects = "".join(
        f"<object><name>«{draw(_class)}»</name><difficult>«{draw(st.integers(0, 1))}»</difficult>{box}</object>"
        for _ in range(draw(st.integers(1, 3)))
    )
    size = f"<size><width>«{WIDTH}»</width><height>«{HEIGHT}»</height><depth>«3»</depth></size>"
    return f"<annotation><folder>«VOC2012»</folder><filename>«a.jpg»</filename>{size}{objects}</annotation>"


@st.composite
def yolo_yaml(draw: st.DrawFn) -> str:
    """The YAML file of YOLO, with the values that may be replaced between ``«`` and ``»``."""
    listed = draw(st.booleans())
    named = enumerate(CLASSES[:3])
    names = "[«cow», «dog», «polar bear»]" if listed else "\n" + "".join(f"  {at}: «{name}»\n" for at, name in named)
    head = draw(st.sampled_from(("", "path: «.»\n", "path: «../data»\n", "# comment\nnc: «3»\n")))
    val = draw(st.sampled_from(("", "val: «images/val»\n", "val:\n", "val: [«images/val»]\n")))
    return f"{head}train: «images/train»\n{val}names: {names}\n"


@st.composite
def yolo_lines(draw: st.DrawFn) -> str:
    """The objects of an image, with the values that may be replaced between ``«`` and ``»``."""
    lines = []
    for _ in range(draw(st.integers(0, 5))):
        corners = [f"{value:.4f}" for point in draw(_ring(1, 1)) for value in point]
        numbers = draw(st.sampled_from((["0.5", "0.5", "0.25", "0.3"], ["0.5", "0.5", "0.2", "0.2", "0.9"], corners)))
        lines.append(" ".join([f"«{draw(st.integers(0, 2))}»", *(f"«{number}»" for number in numbers)]))
    return "\n".join(lines) + draw(st.sampled_from(("", "\n", "\r\n")))


@st.composite
def packed_labels(draw: st.DrawFn) -> bytes:
    """The pickled dict of ``cls_labels.npy``: of any classes, types and keys, in a pickle of any protocol."""
    length = draw(st.integers(1, 20))
    kind = draw(st.sampled_from(("<f4", ">f4", "<f8", "|u1", "|b1", "<i8", "<i4", ">i2", "<f2")))
    found: dict[Any, Any] = {}
    for row in range(draw(st.integers(1, 4))):
        bits = [draw(st.integers(0, 1)) for _ in range(length)]
        key: Any = f"2007_{row:06d}" if draw(st.integers(0, 3)) else 2007000000 + row
        found[key] = np.array(bits).astype(kind)
    odd = draw(st.sampled_from((None,) * 12 + ("longer", "other", "deep", "object", "empty", "text")))
    if odd is not None:
        others = {"longer": np.zeros(length + 1, kind), "other": np.full(length, 2, kind), "empty": np.zeros(0, kind)}
        beside = {"deep": np.zeros((1, length), kind), "object": {"a": [1, None]}, "text": np.array(["cow"] * length)}
        found["2007_000032"] = (others | beside)[odd]
    whole: Any = np.array(found, dtype=object)
    buffer = io.BytesIO()
    np.save(buffer, whole, allow_pickle=True)
    header = buffer.getvalue().split(b"\n", 1)[0] + b"\n"
    return header + pickle.dumps(
        whole if draw(st.integers(0, 5)) else found, draw(st.sampled_from((0, 1, 2, 2, 3, 3, 4, 4, 5)))
    )
