"""Masks of SAM, of its successors and of models like it, through transformers (extra ``sam``).

Only the mask-generation pipeline of transformers is used, so that any of its models works: SAM, SAM 2, SlimSAM and
others. Weights are read as safetensors, from a folder or the hub; no code that comes with them is executed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft.backbone.from_transformers import from_transformers, model_folder
from deft.contracts import InputError
from deft.engine.class_free import Stack
from deft.engine.infer import device
from deft.engine.pretrained import check_weights, load_whole
from deft.guards.opening import exists
from deft.guards.words import first_line, shown
from deft.ranges import Count, Range, Share, check_ranges

_MODEL = "refine.masks.model"
_NEEDS = "masks of SAM, unless they are files in a folder, need"
"""Begin of the message where transformers is missing."""


@dataclass(frozen=True)
class Sam:
    """Settings of the mask generator; the defaults are those of SAM."""

    model: str = ""
    """Folder of a model as transformers writes it, or its name on the hub."""
    points: Annotated[int, Range(1, 256)] = 32
    """Points along each side of the grid of prompts."""
    batch: Count = 64
    """Prompts computed together."""
    quality: Share = 0.88
    """Least predicted intersection over union of a mask."""
    stability: Share = 0.95
    """Least share of a mask that stays when its threshold moves."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)

    def check(self) -> None:
        """Refuse a missing package, and a model that is not named, not there or not whole, before the run starts.

        Raises:
            InputError: says what is missing.
        """
        pipeline()
        folder = self._folder()
        kind, config = _described(folder)
        check_weights(kind, config, folder, _MODEL, _NEEDS)
        _loaded("AutoImageProcessor", folder)

    def load(self) -> Callable[[NDArray[np.uint8]], Stack]:
        """The function of an RGB image (H, W, 3) that returns its masks.

        Raises:
            InputError: transformers is not installed, or cannot load the model.
        """
        make, folder = pipeline(), self._folder()
        model = load_whole(_described(folder)[0], folder, _MODEL, _NEEDS)
        try:
            generator = make("mask-generation", model=model, image_processor=str(folder), device=device())
        except Exception as error:  # of any kind, from several libraries
            raise _unfit(folder, first_line(error)) from None
        turn = threading.Lock()

        def masks(image: NDArray[np.uint8]) -> Stack:
            with turn:  # the pipeline keeps the state of the image it works on
                made = generator(
                    Image.fromarray(image),
                    points_per_batch=self.batch,
                    points_per_crop=self.points,
                    pred_iou_thresh=self.quality,
                    stability_score_thresh=self.stability,
                )
            found = [np.asarray(one, dtype=np.bool_) for one in made["masks"]]
            return Stack((image.shape[0], image.shape[1]), ("",) * len(found), lambda index: found[index])

        return masks

    def _folder(self) -> Path:
        """The folder of the model."""
        folder = model_folder(self.model, _MODEL)
        if not exists(folder / "config.json"):
            raise InputError(
                f"{_MODEL}: {shown(folder)}: expected a model as transformers writes it, found no config.json in it; "
                "name its folder"
            )
        return folder


def pipeline() -> Any:
    """The function ``transformers.pipeline``.

    Raises:
        InputError: transformers is not installed.
    """
    return from_transformers("pipeline", _NEEDS)


def _described(folder: Path) -> tuple[Any, Any]:
    """Class and settings of the model of a folder."""
    config = _loaded("AutoConfig", folder)
    known = from_transformers("MODEL_FOR_MASK_GENERATION_MAPPING", _NEEDS)
    if type(config) not in known:
        raise _unfit(folder, f"its type is {config.model_type!r}")
    return known[type(config)], config


def _loaded(kind: str, folder: Path) -> Any:
    """What a class of transformers, by its name, reads from a folder."""
    reader = from_transformers(kind, _NEEDS)
    try:
        return reader.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # of any kind, from several libraries
        raise _unfit(folder, first_line(error)) from None


def _unfit(folder: Path, why: str) -> InputError:
    return InputError(
        f"{_MODEL}: transformers cannot load {shown(folder)} ({shown(why)}); name a model for mask generation with "
        "safetensors"
    )
