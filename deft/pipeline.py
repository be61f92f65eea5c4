"""Pipeline: the settings of a whole run, from tags to a segmentation network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from deft.classify.classifier import Classifier
from deft.contracts import InputError
from deft.data.scaling import MAX_SIDE
from deft.engine.corrections import Corrections
from deft.engine.features import Frozen
from deft.engine.method import Refiner, SeedMethod
from deft.engine.precision import AUTO, WORDS
from deft.extend.members import check_refiner, check_seed_method
from deft.ranges import MaxSide, Range, check_ranges
from deft.refine.affinity import FeatureAffinity
from deft.seeds.cam import Cam
from deft.seeds.frozen import FrozenCam
from deft.segment.deeplab import DeepLab
from deft.segment.inference import Inference
from deft.settings import later
from deft.thresholds import AUTO as THRESHOLD_AUTO
from deft.thresholds import Threshold, check_threshold


@dataclass(frozen=True)
class Pipeline:
    """One method from tags to masks: every field is a setting, which ``--set`` can change."""

    classifier: Classifier | None
    """None if the seeds come from another tool: refiner and segmentation network then start from ``weights``."""
    seeds: SeedMethod = field(default_factory=Cam)
    seed_threshold: Threshold = THRESHOLD_AUTO
    """Background threshold at which seeds are scored and, without a refiner, turned into masks (IRN: 0.15); ``auto``
    chooses it from the seeds and the photographs, without masks (:mod:`deft.thresholds`)."""
    refine: Refiner | None = None
    segment: DeepLab | None = field(default_factory=DeepLab)
    """The network trained on the pseudo-masks; None stops after the pseudo-masks."""
    inference: Inference = field(default_factory=Inference)
    backbone: str = "resnet50"
    """Any timm model with feature maps."""
    preset: Literal["auto", "paper", "modern"] = field(default="auto", metadata=later())
    """How strides, optimisers and frozen layers follow the backbone: ``auto`` takes ``paper`` for convolutions with
    batch norm, where nothing changes, and ``modern`` for others (:mod:`deft.runner.preset`)."""
    weights: str = "hub"
    """``hub``, ``none``, ``package`` (:mod:`deft.backbone.package`), or a .safetensors or .pth file."""
    stride: Annotated[int, Range(1, 64)] = 16
    """Output stride of the classifier's backbone; with ``frozen``, networks that cannot be dilated keep their own."""
    frozen: Frozen | None = field(default=None, metadata=later())
    """Train no backbone: look at every image once, and train heads on the stored features
    (:mod:`deft.engine.features`). None trains backbones on images."""
    precision: str = AUTO
    """``32-true``, ``bf16-mixed`` or ``16-mixed``, for training and inference; ``auto`` takes the fastest on the
    machine where the run begins (:mod:`deft.engine.precision`)."""
    threads: Annotated[int, Range(1, 1024)] | Literal["auto"] = "auto"
    """Threads of each process; ``auto`` takes as many as cores are free where the run begins
    (:mod:`deft.engine.threads`)."""
    memory: Annotated[float, Range(0.1, 1e6)] | Literal["auto"] = "auto"
    """Most memory that each process may take while it trains, in GB, main memory or that of its GPU; batches are
    computed in parts that fit into it. ``auto`` takes what is free (:mod:`deft.engine.budget`)."""
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    corrections: Corrections = field(default=Corrections(), metadata=later())
    """What the reviewed masks of a run teach its next round (:mod:`deft.engine.corrections`)."""
    max_side: MaxSide = MAX_SIDE
    """Photographs whose longer side has more pixels are scaled down to it when they are read, in every stage
    (:mod:`deft.data.working_size`); masks and predictions have the photographs' full size all the same. None reads
    them as they are."""

    def __post_init__(self) -> None:
        """Refuse methods that lack a member, and thresholds that are not swept, before any training."""
        check_seed_method(self.seeds)
        check_threshold("seed_threshold", self.seed_threshold)
        if self.refine is not None:
            check_refiner(self.refine)
            check_threshold("refine.background", self.refine.background)
        if self.classifier is None and self.segment is not None and self.segment.from_classifier:
            raise InputError("segment.from_classifier is set, but there is no classifier; set it to False")
        if self.frozen is not None:
            self._check_frozen()
        elif isinstance(self.seeds, FrozenCam) or isinstance(self.refine, FeatureAffinity):
            raise InputError("FrozenCam and FeatureAffinity read features of a frozen backbone; set frozen to Frozen")
        if self.precision not in WORDS:
            raise InputError(f"expected a precision of {', '.join(WORDS)}, got {self.precision!r}")
        check_ranges(self)

    def _check_frozen(self) -> None:
        """Refuse what needs a backbone that is trained, or images in training."""
        classifier, segment = self.classifier, self.segment
        if classifier is None:
            raise InputError("frozen is set, but there is no classifier to train on features; set it to none")
        if classifier.augment is not None:
            raise InputError("frozen is set, and features cannot be augmented; set classifier.augment to none")
        if not isinstance(self.seeds, FrozenCam):
            raise InputError(
                f"expected seeds of FrozenCam with frozen, got {type(self.seeds).__name__}, which looks at images in "
                "its own way; take FrozenCam, or set frozen to none"
            )
        if isinstance(self.refine, FeatureAffinity) and self.frozen is not None:
            self.refine.check_radius(self.frozen.radius)
        if segment is not None and (self.inference.scales != (1.0,) or self.inference.flip):
            raise InputError(
                "expected inference.scales=(1.0,) and inference.flip=false with frozen, whose own scales and flip are "
                f"averaged in the features, got {self.inference.scales} and {self.inference.flip}"
            )

    @property
    def own_classifier(self) -> Classifier:
        """The classifier's settings, for a recipe that changes them.

        Raises:
            InputError: there is none.
        """
        if self.classifier is None:
            raise InputError("this recipe trains no classifier, so no setting of one can be changed")
        return self.classifier
