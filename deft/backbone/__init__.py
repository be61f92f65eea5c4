"""Image to features: networks from timm (``network``) and their weights (``weights``, ``package``)."""

from __future__ import annotations

from deft.backbone.network import Backbone, from_spec, traceable
from deft.backbone.weights import build_backbone, find_weights, weights_digest, weights_key

__all__ = ["Backbone", "build_backbone", "find_weights", "from_spec", "traceable", "weights_digest", "weights_key"]
