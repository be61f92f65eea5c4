"""Published thresholds, from papers or their code, instead of thresholds chosen from the maps.

They were tuned for VOC and a ResNet-50 (or ResNet-38): use them to reproduce the papers, not on your own photographs.
"""

from __future__ import annotations

from dataclasses import replace

from deft.classify.drs import DrsHead
from deft.classify.puzzle_cam import PuzzleHead
from deft.classify.seam import SeamHead
from deft.classify.sipe import SipeHead
from deft.contracts import InputError
from deft.pipeline import Pipeline
from deft.refine.irn import Irn
from deft.refine.labels import ConfidentLabels
from deft.refine.psa import AffinityLabels, Psa
from deft.seeds.advcam import AdvCam
from deft.seeds.amn import Amn
from deft.seeds.cam import Cam
from deft.seeds.ood import Ood
from deft.seeds.recam import ReCam
from deft.seeds.rib import Rib


def published(pipeline: Pipeline) -> Pipeline:
    """The same pipeline with the published thresholds of its seed method and its refiner.

    DEFT's paper gives no thresholds; on its maps each system keeps its own (the released code scores seeds at IRN's
    0.15).

    Raises:
        InputError: no threshold was published for its seeds or its refiner.
    """
    seeds, refine = pipeline.seeds, pipeline.refine
    head = None if pipeline.classifier is None else pipeline.classifier.head
    background = 0.25
    if isinstance(seeds, Amn) and isinstance(seeds.labels, ConfidentLabels):
        # Stage 0 is IRN's; the IRN that refines AMN's maps has its own thresholds, as released.
        pipeline = replace(pipeline, seeds=replace(seeds, labels=replace(seeds.labels, fg=0.30, bg=0.05)))
        threshold, labels = 0.25, (0.45, 0.15)
    elif isinstance(seeds, AdvCam):
        # The paper takes the best of 0.15 to 0.34 on ground truth. 0.15 is the default of the released code and of IRN.
        threshold, labels = 0.15, (0.35, 0.15)
    elif isinstance(seeds, Rib):
        # The paper gives no threshold of its seeds; 0.15 is IRN's.
        threshold, labels, background = 0.15, (0.35, 0.17), 0.27
    elif isinstance(seeds, Ood):
        # The code takes the best of several on ground truth; 0.15 is IRN's.
        threshold, labels, background = 0.15, (0.30, 0.15), 0.22
    elif isinstance(seeds, ReCam):
        threshold, labels, background = 0.21, (0.35, 0.10), 0.28
    elif not isinstance(seeds, Cam):
        raise InputError(f"no thresholds were published for seeds of {type(seeds).__name__}; leave --thresholds out")
    elif isinstance(head, DrsHead | SipeHead):
        # DRS's masks need saliency maps; SIPE's the map of its background prototype. Neither is made here.
        raise InputError(f"no thresholds were published for maps of {type(head).__name__}; leave --thresholds out")
    elif isinstance(head, SeamHead):
        threshold, labels = 0.26, (0.30, 0.05)  # it has no labels for IRN; these are IRN's
    elif isinstance(head, PuzzleHead):
        # The code takes the best threshold of the seeds on ground truth; 0.15 is IRN's.
        threshold, labels, background = 0.15, (0.40, 0.10), 0.35
    else:
        threshold, labels = 0.15, (0.30, 0.05)
    if isinstance(refine, Irn):
        refine = replace(refine, labels=replace(refine.labels, fg=labels[0], bg=labels[1]), background=background)
    elif isinstance(refine, Psa) and isinstance(refine.labels, AffinityLabels):
        threshold = threshold if isinstance(head, SeamHead) else 0.20
        high, walk = (24.0, 6.0) if isinstance(head, SeamHead) else (32.0, 16.0)
        alphas = replace(refine.labels, alpha_low=4.0, alpha_high=high)
        refine = replace(refine, labels=alphas, alpha=walk, background=0.5)
    elif refine is not None:
        raise InputError(f"no thresholds were published for {type(refine).__name__}; leave --thresholds out")
    return replace(pipeline, seed_threshold=threshold, refine=refine)
