"""The values passed between the stages, the protocols, and the letters used for all shapes.

Letters: N images, K classes without background, J context classes, C channels, H W pixels, h w feature cells,
M attention maps, P classes present in one image.

Words: *labels* are multi-hot (K,) without background. A *mask* is uint8 (H, W): 0 background, k + 1 for class index
k, 255 ignore. *Features* (N, C, h, w) come from a backbone, *logits* (N, K) are scores before the sigmoid,
*activation* is a class map before normalisation, *seeds* are maps in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

BACKGROUND = 0
IGNORE = 255
MAX_CLASSES = 254

Progress = Callable[[int, int], None]
"""Callback ``progress(done, total)`` of long operations."""


class InputError(ValueError):
    """Input that cannot be used: the message says what was expected, what was got and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


@dataclass(frozen=True)
class Sample:
    """One image of a dataset with its labels and, if known, its masks."""

    name: str
    """Unique in its dataset; any characters a file name may contain, and ``/`` between folders."""
    image: NDArray[np.uint8]
    """RGB, (H, W, 3), upright (EXIF applied); a run reads large photographs scaled down (``Pipeline.max_side``)."""
    labels: NDArray[np.bool_]
    """Multi-hot, (K,)."""
    mask: NDArray[np.uint8] | None = None
    """Ground truth, (H, W): 0 background, k + 1 for class k, 255 ignore; None if unknown."""
    context: NDArray[np.uint8] | None = None
    """Ground truth of contexts, (H, W): 0 object, j + 1 for context j, 255 ignore; None if unknown."""
    photograph: tuple[int, int] | None = None
    """(H, W) of the photograph if ``image`` is scaled down; ``mask`` and ``context`` then have this size. Else None."""

    @property
    def full_size(self) -> tuple[int, int]:
        """(H, W) of the photograph and of its masks."""
        return self.photograph or (self.image.shape[0], self.image.shape[1])


@runtime_checkable
class Dataset(Protocol):
    """Images of one split; everything but ``__getitem__`` is known without decoding an image."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, without background."""

    @property
    def contexts(self) -> tuple[str, ...]:
        """Names of the J context classes, empty if unknown."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each image, unique."""

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Multi-hot, (N, K)."""

    @property
    def context_labels(self) -> NDArray[np.bool_] | None:
        """Multi-hot, (N, J); None if unknown."""

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(N,): images with a mask that count in tables (VOC: ``train`` within ``train_aug``)."""

    @property
    def groups(self) -> Mapping[str, NDArray[np.bool_]]:
        """Named subsets of the split, each (N,); ``demo:`` has ``aligned`` and ``conflicting``. Usually empty."""

    def fingerprint(self) -> str:
        """Hex digest that changes when an image, a label, a class or the order changes; masks teach nothing."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@runtime_checkable
class HidesTruth(Protocol):
    """A :class:`Dataset` that can skip its masks, which take longer to decode or draw than images."""

    def without_truth(self) -> Dataset:
        """The same images and tags, without masks."""


class DigestFiles(Protocol):
    """Digests of files, of their bytes alone; a run remembers them (:class:`deft.artifacts.contents.Contents`)."""

    def __call__(self, paths: Sequence[Path], strict: bool = True) -> list[str]:
        """One hex digest a file.

        Args:
            paths: the files.
            strict: refuse a file that cannot be read; False gives it an empty digest.

        Raises:
            InputError: a file cannot be read, and ``strict`` is set.
        """


@runtime_checkable
class OfFiles(Protocol):
    """A :class:`Dataset` whose images are known by the contents of their files; optional."""

    def image_digests(self, digests: DigestFiles) -> list[str]:
        """Digest of each image, (N,); a single one for all of them if files and images do not correspond."""

    def truth_digest(self, digests: DigestFiles) -> str:
        """Text that changes when a mask does, wherever its file lies."""


@dataclass(frozen=True)
class Splits:
    """The data that ``--data KIND:PATH`` opens: training images and, if it exists, a held-out split."""

    train: Dataset
    val: Dataset | None
    max_side: int | None = None
    """Most pixels of the longer side at which a run reads images; None reads them as they are."""


@dataclass(frozen=True)
class SeedMaps:
    """Maps of the classes present in one image, on a strided grid."""

    classes: tuple[int, ...]
    """The P class indices, ascending, 0-based without background."""
    maps: Tensor
    """float32 (P, h, w) in [0, 1], on the grid of :func:`deft.seedmaps.grid`."""
    size: tuple[int, int]
    """(H, W) of the image."""
    scores: tuple[float, ...] = ()
    """The classifier's probability of each of the K classes, in [0, 1]; empty if there is no classifier."""
    photograph: tuple[int, int] | None = None
    """(H, W) of the photograph if the image was scaled down from it, else None. Methods leave it None: the stages
    fill it in."""

    @property
    def full_size(self) -> tuple[int, int]:
        """(H, W) of the photograph, which is the size of its masks."""
        return self.photograph or self.size


@dataclass(frozen=True)
class LabelMap:
    """A mask with the names of its values."""

    mask: NDArray[np.uint8]
    """(H, W): 0 background, k + 1 for class k, 255 ignore."""
    classes: tuple[str, ...]
    """Names of the K classes; ``classes[k]`` is mask value ``k + 1``."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Mean probability over the pixels of each class found, in [0, 1]."""

    @property
    def found(self) -> tuple[str, ...]:
        """Names of the classes in the mask, in order of their values."""
        return tuple(name for value, name in enumerate(self.classes, 1) if bool((self.mask == value).any()))


@runtime_checkable
class Augmentation(Protocol):
    """Augmentation of a training batch of the classifier; a frozen dataclass whose fields are its settings."""

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The augmented batch; the arguments are not modified.

        Args:
            x: normalised images (N, 3, H, W), in which 0 is the mean colour, or features (N, C, h, w).
            labels: float multi-hot, (N, K).
            rng: the only source of randomness, on the CPU.

        Returns:
            x of the same shape, and labels (N, K) in [0, 1].
        """


@runtime_checkable
class LayerAugmentation(Augmentation, Protocol):
    """An augmentation of images or of feature maps, chosen for each batch."""

    def layer(self, layers: int, rng: torch.Generator) -> int:
        """Layer at which this batch is augmented: 0 for its images, k for the k-th feature map of 1 to ``layers``."""


class Gradients(Protocol):
    """What the classifier that is being trained makes of images; for a :class:`SalientAugmentation`."""

    @property
    def std(self) -> Tensor:
        """Standard deviations by which colours in [0, 1] were divided, (3, 1, 1)."""

    def __call__(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of images, and the gradient of their loss.

        The network is in eval mode meanwhile, each image counts for itself, and nothing of the network changes.

        Args:
            x: at least one normalised image, (N, 3, H, W); every process gives the same ones.
            labels: targets in [0, 1], (N, K).

        Returns:
            Scores before the sigmoid, (N, K), and the gradient (N, 3, H, W) of each image's sigmoid cross-entropy,
            summed over classes; both float32.
        """


@runtime_checkable
class SalientAugmentation(Protocol):
    """An augmentation of a batch of images by what the classifier itself looks at; a frozen dataclass."""

    @property
    def salient(self) -> bool:
        """True; a class attribute, no field."""

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator, gradients: Gradients) -> tuple[Tensor, Tensor]:
        """As :class:`Augmentation`, for images alone.

        Args:
            x: normalised images (N, 3, H, W), in which 0 is the mean colour.
            labels: float multi-hot, (N, K).
            rng: the only source of randomness, on the CPU.
            gradients: scores and gradients of images, as often as they are needed.

        Returns:
            The images that the step learns from, (N, 3, H, W) or a multiple of N, and their labels in [0, 1].
        """


class SampleChange(Protocol):
    """Augments one image before it is cropped; made by :meth:`SampleAugmentation.prepare`."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of objects to draw from, by class name; kept in the record of the classifier's stage."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The augmented sample, a pure function of the arguments, which are not modified."""


@runtime_checkable
class SampleAugmentation(Protocol):
    """Augments images using pseudo-masks from the previous round of the same pipeline; a frozen dataclass.

    Half of each training batch are original images, the other half the same images augmented.
    """

    @property
    def rounds(self) -> int:
        """Number of rounds before the classifier that is trained with this augmentation; at least 1."""

    @property
    def earlier(self) -> SampleAugmentation | None:
        """Augmentation of the previous round; None for the first round, which has none."""

    def prepare(self, data: Dataset, masks: Callable[[int], NDArray[np.uint8]]) -> SampleChange:
        """Read what is needed from the previous round and return the augmentation of single images.

        Args:
            data: the training images.
            masks: function that returns the pseudo-mask (H, W) of image ``i`` from the previous round.
        """


@runtime_checkable
class ReadsFiles(Protocol):
    """A seed method or a refiner that reads files of the user."""

    def check(self, splits: Splits) -> None:
        """Check every file before the run starts; raises InputError naming those that cannot be used."""

    def fingerprint(self) -> str:
        """Hex digest that changes when a file does."""


@runtime_checkable
class KnowsFiles(Protocol):
    """A :class:`ReadsFiles` that can tell the files of some images; optional."""

    def fingerprint_of(self, names: Sequence[str], digests: DigestFiles) -> str:
        """Hex digest of the files of these images, by their contents."""
