"""An image of a run beside its masks, as a notebook shows it: ``deft.show("runs/mine", "beach")``."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.contracts import InputError
from deft.data.faults import nearest
from deft.data.scaling import resized_mask
from deft.export.source import PREDICTIONS, PSEUDO, REVIEWED, Choice, Source
from deft.guards.words import shown
from deft.report.embed import picture_uri
from deft.report.overlay import overlay

WIDTH = 360
"""Pixels of each picture."""
_TITLES = {PSEUDO: "pseudo-mask", PREDICTIONS: "prediction", REVIEWED: "reviewed mask"}


@dataclass(frozen=True, eq=False)
class Shown:
    """Pictures side by side. Jupyter shows them; ``pictures`` holds them for other programs."""

    title: str
    pictures: Mapping[str, NDArray[np.uint8]]
    """RGB, uint8 (H, W, 3), by their captions."""

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<figure style="display:inline-block;margin:0 8px 8px 0"><img alt="{html.escape(caption)}" '
            f'src="{picture_uri(picture, WIDTH)}"><figcaption>{html.escape(caption)}</figcaption></figure>'
            for caption, picture in self.pictures.items()
        )
        return f"<div><p>{html.escape(self.title)}</p>{cells}</div>"


def show(run: str | Path, name: str, data: str | None = None) -> Shown:
    """An image of a run, and each of its masks over it.

    Args:
        run: a run folder.
        name: the image's name, as in the run's page.
        data: ``KIND:PATH`` of the run's data; required if that is a Python file, which is executed.

    Returns:
        The image, and the pseudo-mask, the prediction and the reviewed mask as far as they are there.

    Raises:
        InputError: the folder holds no run, its data cannot be used, or it has no such image.
    """
    source = Source.of(Path(run), data)
    item = source.items.get(name)
    if item is None:
        near = nearest(name, tuple(source.items))
        raise InputError(f"{shown(run)}: expected the name of one of its images, got {shown(name)!r}{near}")
    image = source.parts[item.part][item.index].image
    tags = ", ".join(source.tags(item)) or "no tags"
    pictures = {f"image ({tags})": image}
    for masks, title in _TITLES.items():
        try:
            source.chosen(Choice(masks=masks, only=(name,)))
        except InputError:  # there is no such mask
            continue
        mask = resized_mask(source.mask(masks, item), (image.shape[0], image.shape[1]))
        pictures[title] = overlay(image, mask, names=source.classes)
    return Shown(shown(name), pictures)
