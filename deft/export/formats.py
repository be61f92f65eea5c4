"""The formats by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from deft.contracts import InputError
from deft.data.faults import nearest
from deft.export.coco import CocoWriter, read_coco_masks
from deft.export.cvat import CvatWriter, read_cvat_masks
from deft.export.datasets import DatasetsWriter
from deft.export.label_studio import LabelStudioWriter, read_label_studio_masks
from deft.export.labelme import LabelMeWriter, read_labelme_masks
from deft.export.picture import Style, Writer
from deft.export.png import VocWriter, read_png_masks
from deft.export.take_in import Reader
from deft.export.yolo import YoloSemanticWriter, YoloWriter, read_yolo_masks, read_yolo_polygons


class Format(NamedTuple):
    """How a format is written and read."""

    writer: Callable[[Style], Writer]
    reader: Reader | None
    """None for a format that is only written."""


_VOC = Format(VocWriter, read_png_masks)
FORMATS = {
    "png": _VOC,
    "voc": _VOC,
    "coco": Format(CocoWriter, read_coco_masks),
    "yolo": Format(YoloWriter, read_yolo_polygons),
    "yolo-semantic": Format(YoloSemanticWriter, read_yolo_masks),
    "labelme": Format(LabelMeWriter, read_labelme_masks),
    "labelstudio": Format(LabelStudioWriter, read_label_studio_masks),
    "cvat": Format(CvatWriter, read_cvat_masks),
    "cvat-mask": Format(partial(VocWriter, subsets=False), read_png_masks),
    "datasets": Format(DatasetsWriter, None),
}


def format_named(name: str) -> Format:
    """The format of a name, however it is spelt: ``Label-Studio`` is ``labelstudio``.

    Raises:
        InputError: there is none.
    """
    found = FORMATS.get(name.casefold()) or FORMATS.get(name.casefold().replace("-", "").replace("_", ""))
    if found is None:
        raise InputError(
            f"--format {name[:60]}: expected one of {', '.join(FORMATS)}, got another{nearest(name, tuple(FORMATS))}; "
            "choose one"
        )
    return found


def reader_of(name: str) -> Reader:
    """How a format is read.

    Raises:
        InputError: there is no such format, or it is only written.
    """
    found = format_named(name).reader
    if found is None:
        known = ", ".join(one for one, each in FORMATS.items() if each.reader is not None)
        raise InputError(f"--format {name}: this format is only written; import one of {known}")
    return found
