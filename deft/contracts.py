"""The values that travel between the stages, the few protocols, and the letters every shape is written in.

Letters: N images, K classes without background, J context classes, C channels, H W pixels, h w feature cells,
M attention maps, P classes present in one image.

Words: *labels* are multi-hot (K,) without background. A *mask* is uint8 (H, W): 0 background, k + 1 for class index
k, 255 ignore. *Features* (N, C, h, w) come from a backbone, *logits* (N, K) are scores before the sigmoid,
*activation* is a class map before normalisation, *seeds* are maps in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

BACKGROUND = 0
IGNORE = 255
MAX_CLASSES = 254

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)`` by anything that takes long."""


class InputError(ValueError):
    """Something the user gave cannot be used: the message says what was expected, what came and what to do.

    The command line prints it without a traceback and exits with 2.
    """


@dataclass(frozen=True)
class Sample:
    """One image of a data set with all that is known of it."""

    name: str
    """Unique in its data set; may hold any character a file name may, and ``/`` between folders."""
    image: NDArray[np.uint8]
    """RGB, (H, W, 3), upright (EXIF applied)."""
    labels: NDArray[np.bool_]
    """Multi-hot, (K,)."""
    mask: NDArray[np.uint8] | None = None
    """Ground truth, (H, W): 0 background, k + 1 for class k, 255 ignore; None where unknown."""
    context: NDArray[np.uint8] | None = None
    """Context truth, (H, W): 0 object, j + 1 for context j, 255 ignore; None where unknown."""


@runtime_checkable
class Dataset(Protocol):
    """Images of one split; everything but ``__getitem__`` is known without decoding an image."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, without background."""

    @property
    def contexts(self) -> tuple[str, ...]:
        """Names of the J context classes, empty where none are known."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each image, unique."""

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Multi-hot, (N, K)."""

    @property
    def context_labels(self) -> NDArray[np.bool_] | None:
        """Multi-hot, (N, J); None where unknown."""

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(N,): the images that have a mask and count in tables (VOC: ``train`` inside ``train_aug``)."""

    @property
    def groups(self) -> Mapping[str, NDArray[np.bool_]]:
        """Named parts of the split, each (N,); ``demo:`` has ``aligned`` and ``conflicting``. Usually empty."""

    def fingerprint(self) -> str:
        """Hex digest that changes when a file, a label or the order changes (sizes and times, not contents)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@runtime_checkable
class HidesTruth(Protocol):
    """A :class:`Dataset` that can leave its masks alone; to decode or draw one takes longer than to decode an image."""

    def without_truth(self) -> Dataset:
        """The same images and tags, whose samples hold no mask."""


@dataclass(frozen=True)
class Splits:
    """What ``--data KIND:PATH`` opens: images to learn from and, where there is one, a held-out split."""

    train: Dataset
    val: Dataset | None


@dataclass(frozen=True)
class SeedMaps:
    """Maps of the classes present in one image, on a strided grid."""

    classes: tuple[int, ...]
    """The P class indices, rising, 0-based without background."""
    maps: Tensor
    """float32 (P, h, w) in [0, 1], on the grid of :func:`deft.seedmaps.grid`."""
    size: tuple[int, int]
    """(H, W) of the image."""
    scores: tuple[float, ...] = ()
    """The classifier's probability of each of the K classes, in [0, 1]; empty where no classifier was asked."""


@dataclass(frozen=True)
class LabelMap:
    """A mask with the names of its values."""

    mask: NDArray[np.uint8]
    """(H, W): 0 background, k + 1 for class k, 255 ignore."""
    classes: tuple[str, ...]
    """Names of the K classes; ``classes[k]`` is mask value ``k + 1``."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Mean probability of each class found, over its pixels, in [0, 1]."""

    @property
    def found(self) -> tuple[str, ...]:
        """Names of the classes in the mask, in order of their values."""
        return tuple(name for value, name in enumerate(self.classes, 1) if bool((self.mask == value).any()))


@runtime_checkable
class Augmentation(Protocol):
    """Changes a batch that the classifier learns from; a frozen dataclass whose fields are its settings."""

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """A new batch; nothing that comes in is written to.

        Args:
            x: normalised images (N, 3, H, W), in which 0 is the mean colour, or features (N, C, h, w).
            labels: float multi-hot, (N, K).
            rng: the only source of chance, on the CPU.

        Returns:
            x of the same shape, and labels (N, K) in [0, 1].
        """


@runtime_checkable
class LayerAugmentation(Augmentation, Protocol):
    """An augmentation of images or of features: it says of which."""

    def layer(self, layers: int, rng: torch.Generator) -> int:
        """Where this batch is changed: 0 its images, k the backbone's k-th feature map, 1 to ``layers``."""


class SampleChange(Protocol):
    """Changes one image before it is cropped; what a :class:`SampleAugmentation` prepares."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How much there is to draw from, by class name; kept in the record of the classifier's stage."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """A new sample, a pure function of both; nothing that comes in is written to."""


@runtime_checkable
class SampleAugmentation(Protocol):
    """Changes whole images by what an earlier round of the same pipeline found in them; a frozen dataclass.

    Half of a training batch are then images as they are, and the other half the same images changed.
    """

    @property
    def rounds(self) -> int:
        """How many rounds come before the classifier that is trained with this; at least 1."""

    @property
    def earlier(self) -> SampleAugmentation | None:
        """What the round before is trained with, of one round less; None for the first, which changes no image."""

    def prepare(self, data: Dataset, masks: Callable[[int], NDArray[np.uint8]]) -> SampleChange:
        """Get ready to change images.

        Args:
            data: the training images.
            masks: pseudo-mask (H, W) of image ``i``, made by the round before.
        """


@runtime_checkable
class ReadsFiles(Protocol):
    """A seed method whose maps lie in files of the user."""

    def check(self, splits: Splits) -> None:
        """Look at every file before anything is made; raises InputError naming those that cannot be used."""

    def fingerprint(self) -> str:
        """Hex digest that changes when a file does (names, sizes and times, not contents)."""
