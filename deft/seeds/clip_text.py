"""Class maps from words: CLIP-ES (Lin et al., CVPR 2023, arXiv:2212.09506), without any training.

*CLIP is Also an Efficient Segmenter*. CLIP compares an image with texts. For the names of the image's classes and words
for its background, a softmax makes all of them compete; the gradient of a class's probability with respect to the
last block's input gives a map (softmax-GradCAM), which the attention of the last blocks spreads over what belongs
together (:mod:`deft.seeds.caa`).

Differs from the published code: images whose longer side has more than ``largest`` pixels are scaled down for CLIP, and
very small ones up, to two patches a side; classes have their own names until the user writes better ones (the published
names were sharpened by hand for VOC and COCO); weights are not halved to 16 bits, and maps are stretched once. Masks
are made by the stages that follow, not by a dense CRF and a confidence of 0.95.

Zero-shot presence is not part of the paper: an image without tags gets the classes whose probability, among all classes
and background words, is above ``presence``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deft.artifacts.contents import joined, whole
from deft.backbone.from_transformers import from_transformers, model_folder
from deft.contracts import DigestFiles, Sample, SeedMaps, Splits
from deft.engine.infer import device
from deft.engine.method import MethodContext
from deft.engine.prompts import Prompts, plain_prompts, read_prompts
from deft.ranges import Count, PartialShare, Range, RangeError, Share, check_ranges
from deft.seedmaps import STRIDE, grid
from deft.seeds.caa import Affinity, refined, stretched
from deft.seeds.clip_network import NEEDS, ClipNetwork, check_fit, check_folder, load_clip
from deft.seeds.views import pixels
from deft.settings import place

_MODEL = "seeds.model"


@dataclass(frozen=True)
class ClipText:
    """Settings of CLIP-ES; a seed method, :class:`deft.contracts.ReadsFiles` and :class:`deft.engine.method.ZeroShot`.

    It needs no classifier.
    """

    model: str = field(default="", metadata=place())
    """Folder of a CLIP model as transformers writes it, or its name on the hub (``openai/clip-vit-base-patch16``)."""
    prompts: str = field(default="", metadata=place())
    """File with words for classes and background (:mod:`deft.engine.prompts`); empty takes the names of the classes."""
    templates: tuple[str, ...] = ("a clean origami {}.",)
    """Texts with ``{}`` for a prompt; their vectors are averaged."""
    layers: Count = 8
    """How many of the last blocks give attention weights."""
    rounds: Annotated[int, Range(0, 100)] = 3
    """Rounds of Sinkhorn's scaling."""
    squarings: Annotated[int, Range(0, 8)] = 1
    """Maps are spread in 2^squarings steps."""
    box: PartialShare = 0.4
    """Share of a map's maximum above which it is taken for the object, for the boxes it is spread from."""
    largest: Annotated[int, Range(32, 8192)] | None = 512
    """Longer side, in pixels, to which larger images are scaled down for CLIP; None for none."""
    presence: Share = 0.1
    """Zero-shot presence: probability above which a class is taken to be in an image without tags."""
    zero_shot: bool = False
    """Whether images without tags get classes by zero-shot presence; without it they show none of the classes."""

    def __post_init__(self) -> None:
        """Refuse values out of range, and templates without a place for a prompt."""
        check_ranges(self)
        if not self.templates or any(str(text).count("{}") != 1 for text in self.templates):
            raise RangeError("ClipText.templates", "texts with {} in the place of the prompt", self.templates)

    @property
    def learning(self) -> None:
        """None: nothing is trained."""

    @property
    def remedy(self) -> str:
        """What makes better maps, for messages."""
        presence = "lower seeds.presence, " if self.zero_shot else ""
        return f"{presence}write other prompts (seeds.prompts) or take another seeds.model"

    def check(self, splits: Splits) -> None:
        """Check package, model, tokeniser and prompts before the run starts.

        Raises:
            InputError: something is missing or does not fit; see the functions called here.
        """
        from_transformers("CLIPModel", NEEDS)
        folder = model_folder(self.model, _MODEL)
        check_folder(folder, _MODEL)
        words = self._words(splits.train.classes)
        check_fit(folder, _MODEL, self.layers, [text for group in self._texts(words) for text in group])

    def fingerprint(self) -> str:
        """Digest of the model's files and of the prompts."""
        return self.fingerprint_of((), whole)

    def fingerprint_of(self, names: Sequence[str], digests: DigestFiles) -> str:
        """The same for any images: all of them are seen by the same model."""
        root = model_folder(self.model, _MODEL)
        used = [path for path in sorted(root.iterdir()) if path.suffix in (".json", ".txt", ".safetensors")]
        lines = [f"{path.name} {one}" for path, one in zip(used, digests(used), strict=True)]
        return joined([*lines, *digests([Path(self.prompts).expanduser()])] if self.prompts else lines)

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps]:
        """Load the model, read the texts, and return the function of one image."""
        folder = model_folder(self.model, _MODEL)
        check_folder(folder, _MODEL)
        network = load_clip(folder, _MODEL, self.layers, context.precision, device())
        words = self._words(context.data.classes)
        texts = network.texts(self._texts(words))
        named, background = texts[: len(words.classes)], texts[len(words.classes) :]
        return lambda sample: self.maps(network, sample, named, background)

    @torch.no_grad()
    def maps(self, network: ClipNetwork, sample: Sample, named: Tensor, background: Tensor) -> SeedMaps:
        """Maps of the tags of one image, or of the classes that zero-shot presence finds.

        Args:
            network: CLIP.
            sample: image and tags.
            named: vectors of the K classes, (K, D).
            background: vectors of the background words, (B, D).

        Returns:
            Maps in [0, 1] on the strided grid, and the probability of each class among all classes and words.
        """
        size = (sample.image.shape[0], sample.image.shape[1])
        seen = network.see(self._view(network.patch, pixels(sample.image, network.device)))
        with torch.enable_grad():
            normed, vector = network.last(seen)
        every = network.probabilities(vector.detach(), torch.cat([named, background]))[: len(named)]
        found = tuple(every.cpu().tolist())
        present = np.flatnonzero(sample.labels)
        if not len(present) and self.zero_shot:
            present = np.flatnonzero(np.asarray(found) > self.presence)
        classes = tuple(int(index) for index in present)
        if not classes:
            return SeedMaps((), torch.zeros(0, *grid(size)), size, found)
        with torch.enable_grad():
            compared = network.probabilities(vector, torch.cat([named[list(classes)], background]))
            rough = gradcam(compared[: len(classes)], normed, seen.size)
        spread = refined(Affinity(seen.weights, self.rounds), rough, self.box, self.squarings)
        full = F.interpolate(stretched(spread)[None], size=size, mode="bilinear", align_corners=False)[0]
        return SeedMaps(classes, full[:, ::STRIDE, ::STRIDE].clamp(0, 1).cpu().contiguous(), size, found)

    def _view(self, patch: int, image: Tensor) -> Tensor:
        """The image (1, 3, H, W) with sides that are multiples of a patch, at least two."""
        height, width = image.shape[-2:]
        shrink = 1.0 if self.largest is None else min(1.0, self.largest / max(height, width))
        size = [max(2, -(-round(side * shrink) // patch)) * patch for side in (height, width)]
        return F.interpolate(image, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)

    def _words(self, classes: tuple[str, ...]) -> Prompts:
        return read_prompts(Path(self.prompts).expanduser(), classes) if self.prompts else plain_prompts(classes)

    def _texts(self, words: Prompts) -> list[list[str]]:
        """The texts of each class and of each background word."""
        groups: Iterable[tuple[str, ...]] = (*words.classes, *((word,) for word in words.background))
        return [[text.replace("{}", prompt) for text in self.templates for prompt in group] for group in groups]


def gradcam(scores: Tensor, features: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (P, h, w) in [0, 1] of scores (P,): features weighted by the mean gradient of each channel.

    Args:
        scores: a function of ``features``, with gradients.
        features: (1, h w + 1, C); the first token is no patch.
        size: (h, w).
    """
    maps = []
    for index, score in enumerate(scores):
        (gradient,) = torch.autograd.grad(score, features, retain_graph=index + 1 < len(scores))
        weights = gradient[0, 1:].float().mean(dim=0)
        maps.append((features[0, 1:].detach().float() @ weights).relu().view(size))
    return stretched(torch.stack(maps))
