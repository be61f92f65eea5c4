"""``demo:``, a dataset without files: rendered scenes whose objects are mostly in their usual context.

Each of three grounds is the usual context of two of the six classes, as cow and sheep share the grass in photographs. A
classifier can score well by looking only at the ground; how much it does so shows on ``val``, where in one half of the
images every object is in its usual context (group ``aligned``) and in the other half none is (group ``conflicting``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deft.contracts import InputError, Sample, Splits
from deft.data.demo.backdrops import CONTEXTS
from deft.data.demo.scenes import CLASSES, Scene, draw, lay_out

DRAWING = 1
"""Version of the drawing, increased when the same scene is drawn differently; part of the fingerprint."""
CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class DemoSettings:
    """Options of ``demo:``, as in ``demo:bias=0.9,size=160``."""

    bias: float = 0.8
    """Share of the objects of ``train`` in their usual context, 0 to 1; 0.33 is no bias."""
    train: int = 600
    """Number of training images."""
    val: int = 200
    """Number of held-out images, every second one conflicting; 0 for none."""
    size: int = 128
    """Side of the square images, pixels."""
    seed: int = 0
    """Random seed of the scenes."""

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"demo: expected {name} from {low} to {high}, got {value}; for example {EXAMPLE}")


RANGES: Mapping[str, tuple[float, float]] = {
    "bias": (0.0, 1.0),
    "train": (1, 100_000),
    "val": (0, 100_000),
    "size": (32, 1024),
    "seed": (0, 2**31 - 1),
}
EXAMPLE = "demo:bias=0.8,train=600,val=200,size=128,seed=0"


@dataclass
class Demo:
    """One split of the rendered dataset; a :class:`deft.contracts.Dataset`.

    An image depends on (seed, split, index) and, in ``train``, on bias, but not on the number of images or on those
    drawn before. Images are drawn on demand and cached while they fit in ``CACHE_BYTES``.
    """

    settings: DemoSettings
    split: Literal["train", "val"]
    scenes: tuple[Scene, ...] = field(init=False, repr=False)
    """Layout of each image: its ground, objects and whether each is in its usual context."""

    def __post_init__(self) -> None:
        number = self.settings.train if self.split == "train" else self.settings.val
        self.scenes = tuple(self._scene(index) for index in range(number))
        self._cache: dict[int, Sample] = {}

    def _scene(self, index: int) -> Scene:
        if self.split == "train":
            return lay_out((self.settings.seed, 0, index), self.settings.bias)
        return lay_out((self.settings.seed, 1, index), 1.0 if index % 2 == 0 else 0.0)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the six classes."""
        return CLASSES

    @property
    def contexts(self) -> tuple[str, ...]:
        """The three grounds and the sky."""
        return CONTEXTS

    @property
    def names(self) -> tuple[str, ...]:
        """``train_0000`` and so on."""
        return tuple(f"{self.split}_{index:04d}" for index in range(len(self)))

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Multi-hot, (N, K)."""
        labels = np.zeros((len(self), len(CLASSES)), np.bool_)
        for index, scene in enumerate(self.scenes):
            labels[index, [thing.kind for thing in scene.objects]] = True
        return labels

    @property
    def context_labels(self) -> NDArray[np.bool_]:
        """Multi-hot, (N, J): the ground, and the sky if the horizon is in the image."""
        labels = np.zeros((len(self), len(CONTEXTS)), np.bool_)
        for index, scene in enumerate(self.scenes):
            labels[index, scene.ground] = True
            labels[index, CONTEXTS.index("sky")] = scene.horizon > 0
        return labels

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(N,), all True: every image has a mask."""
        return np.ones(len(self), np.bool_)

    @property
    def groups(self) -> Mapping[str, NDArray[np.bool_]]:
        """``aligned``: every object in its usual context; ``conflicting``: none; mixed images are in neither."""
        return {
            "aligned": np.array([all(scene.usual) for scene in self.scenes], np.bool_),
            "conflicting": np.array([not any(scene.usual) for scene in self.scenes], np.bool_),
        }

    def fingerprint(self) -> str:
        """Hex digest of the settings this split depends on and of the version of the drawing."""
        parts = (DRAWING, self.split, *astuple(self.settings))
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def size_of(self, index: int) -> tuple[int, int]:
        """(H, W), the same for every image."""
        return self.settings.size, self.settings.size

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} images")
        index %= len(self)
        sample = self._cache.get(index) or self._draw(index)
        if (index + 1) * 5 * self.settings.size**2 <= CACHE_BYTES:
            self._cache[index] = sample
        assert sample.mask is not None and sample.context is not None
        return Sample(
            sample.name, sample.image.copy(), sample.labels.copy(), sample.mask.copy(), sample.context.copy()
        )  # copies, because cached arrays must not change

    def _draw(self, index: int) -> Sample:
        image, mask, context = draw(self.scenes[index], self.settings.size)
        labels = np.zeros(len(CLASSES), np.bool_)
        labels[[thing.kind for thing in self.scenes[index].objects]] = True
        return Sample(f"{self.split}_{index:04d}", image, labels, mask, context)


def open_demo(spec: str) -> Splits:
    """Open the rendered dataset.

    Args:
        spec: the text after ``demo:``; empty, or ``key=value`` separated by commas with the fields of
            :class:`DemoSettings` as keys.

    Returns:
        ``train``, and ``val`` unless ``val=0``.

    Raises:
        InputError: an unknown or repeated key, a value that is not a number, or one out of range.
    """
    kinds = {entry.name: float if entry.name == "bias" else int for entry in fields(DemoSettings)}
    given: dict[str, float] = {}
    for item in filter(None, (piece.strip() for piece in spec.split(","))):
        key, equals, text = (piece.strip() for piece in item.partition("="))
        if not equals or key not in kinds:
            raise InputError(
                f"demo: expected {', '.join(kinds)}, each as key=value, got {item!r}; for example {EXAMPLE}"
            )
        if key in given:
            raise InputError(f"demo: {key} is given twice; keep one of them")
        number = r"\d+" if kinds[key] is int else r"\d+(\.\d*)?|\.\d+"
        if not re.fullmatch(number, text, re.ASCII):
            low, high = RANGES[key]
            kind = "a whole number" if kinds[key] is int else "a number"
            raise InputError(
                f"demo: expected {key} as {kind} from {low} to {high}, got {text!r}; for example {EXAMPLE}"
            )
        given[key] = kinds[key](text)
    settings = DemoSettings(
        bias=float(given.get("bias", DemoSettings.bias)),
        train=int(given.get("train", DemoSettings.train)),
        val=int(given.get("val", DemoSettings.val)),
        size=int(given.get("size", DemoSettings.size)),
        seed=int(given.get("seed", DemoSettings.seed)),
    )
    return Splits(train=Demo(settings, "train"), val=Demo(settings, "val") if settings.val else None)
