"""What a recipe changes for its backbone, so that naming one is enough: strides, optimisers, frozen layers.

The recipes' settings are those of papers on ResNets. Convolutional networks whose norms are batch norms keep all of
them (preset ``paper``). For others, transformers and networks with layer norm, preset ``modern`` replaces SGD, at rates
at which such networks diverge, by AdamW with a rate that falls from layer to layer, and trains all layers, since there
are no batch statistics to keep (as for fine-tuning of ConvNeXt, Liu et al., 2022, arXiv:2201.03545, and BEiT, Bao et
al., 2021, arXiv:2106.08254). Its rate is a common choice and was not measured here.

A stride that the network cannot have becomes the nearest that it can. Whatever is changed is told, and recorded as it
was resolved.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deft.backbone.kind import Kind, kind_of
from deft.contracts import InputError, LayerAugmentation
from deft.engine.optimise import AdamW, Sgd
from deft.pipeline import Pipeline
from deft.refine.irn import Irn
from deft.refine.psa import Psa
from deft.settings import assign, fields_of

MODERN = AdamW(lr=1e-4, decay=0.05, layer_decay=0.8)
"""Optimiser of preset ``modern``; new layers have the recipe's multiples of its rate."""
_STRIDES = ("stride", "segment.stride")
"""Fields with strides of the backbone, and ``refine.stride`` of PSA, which trains a copy of it."""
_TRAINED = ("classifier", "seeds", "refine")
"""Groups of fields whose ``plan`` may train the backbone by SGD; IRN's network does not train it."""


def fitted(pipeline: Pipeline) -> tuple[Pipeline, list[str]]:
    """The pipeline as its backbone needs it, and a line for each change; fitting it again changes nothing.

    Raises:
        InputError: there is no such backbone or it has no feature maps, the recipe needs something of it that it does
            not have, or ``paper`` is asked for and a stride does not fit.
    """
    kind = kind_of(pipeline.backbone)
    if pipeline.frozen is not None:  # nothing of it is trained, and it keeps its own stride
        return pipeline, []
    if pipeline.classifier is not None and isinstance(pipeline.classifier.augment, LayerAugmentation):
        _refuse_unchangeable(pipeline.backbone, kind)
    pipeline, told = _strides(pipeline, kind)
    modern = pipeline.preset == "modern" or (pipeline.preset == "auto" and not kind.batch_norm)
    if not modern:
        return pipeline, told
    for name in _TRAINED:
        part: Any = getattr(pipeline, name)
        if isinstance(getattr(getattr(part, "plan", None), "optimiser", None), Sgd) and _trains_backbone(part):
            changed: dict[str, Any] = {name: replace(part, plan=replace(part.plan, optimiser=MODERN))}
            pipeline = replace(pipeline, **changed)
            told.append(
                f"{name}.plan.optimiser: AdamW (lr {MODERN.lr:g}, layer_decay {MODERN.layer_decay:g}) instead of Sgd"
            )
    if pipeline.classifier is not None and pipeline.classifier.freeze:
        pipeline = replace(pipeline, classifier=replace(pipeline.classifier, freeze=False))
        told.append("classifier.freeze: False, all layers are trained")
    return pipeline, told


def _strides(pipeline: Pipeline, kind: Kind) -> tuple[Pipeline, list[str]]:
    fields, told = fields_of(pipeline), list[str]()
    for name in (*_STRIDES, "refine.stride") if isinstance(pipeline.refine, Psa) else _STRIDES:
        wanted = fields.get(name)
        if not isinstance(wanted, int) or wanted in kind.strides:
            continue
        nearest = min(kind.strides, key=lambda stride: (abs(stride - wanted), stride))
        if pipeline.preset == "paper":
            has = " or ".join(map(str, kind.strides))
            raise InputError(
                f"backbone {pipeline.backbone!r} has no feature maps of stride {wanted} ({name}), but of {has}; give "
                f"--set {name}={nearest}, leave out --set preset=paper, or choose another backbone"
            )
        pipeline = assign(pipeline, [f"{name}={nearest}"])
        told.append(f"{name}: {nearest} instead of {wanted}, which this network cannot have")
    return pipeline, told


def _trains_backbone(part: object) -> bool:
    """Whether a part with a plan trains the backbone: all do but IRN."""
    return not isinstance(part, Irn)


def _refuse_unchangeable(name: str, kind: Kind) -> None:
    if not kind.changeable:
        raise InputError(
            f"the features of {name} cannot be changed in its forward pass, as this recipe's augmentation does; use an "
            "augmentation of images (the recipes mixup and cutmix), or a network that is a plain sequence of stages, "
            "such as resnet50, convnext_tiny or efficientnetv2_rw_s"
        )
