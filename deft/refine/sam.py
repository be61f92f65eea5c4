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

from deft.backbone.from_transformers import from_transformers
from deft.contracts import InputError
from deft.engine.class_free import Stack
from deft.engine.infer import device
from deft.guards.words import first_line, shown
from deft.ranges import Count, Range, Share, check_ranges


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
        """Refuse a missing package, and a model that is not named, before the run starts."""
        pipeline()
        if not self.model:
            raise InputError(
                "refine.masks.model: expected the folder of a model, or its name on the hub, got nothing; give --set "
                "refine.masks.model=MODEL"
            )
        folder = Path(self.model).expanduser()
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise InputError(f"{shown(folder)}: expected a model as transformers writes it, found no config.json in it")

    def load(self) -> Callable[[NDArray[np.uint8]], Stack]:
        """The function of an RGB image (H, W, 3) that returns its masks.

        Raises:
            InputError: transformers is not installed, or cannot load the model.
        """
        make, folder = pipeline(), Path(self.model).expanduser()
        try:
            generator = make(
                "mask-generation",
                model=str(folder) if folder.is_dir() else self.model,
                device=device(),
                model_kwargs={"use_safetensors": True},
            )
        except Exception as error:  # of any kind, from several libraries
            raise InputError(
                f"refine.masks.model: transformers cannot load {shown(self.model)} ({shown(first_line(error))}); name "
                "a model for mask generation with safetensors"
            ) from None
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


def pipeline() -> Any:
    """The function ``transformers.pipeline``.

    Raises:
        InputError: transformers is not installed.
    """
    return from_transformers("pipeline", "masks of SAM, unless they are files in a folder, need")
