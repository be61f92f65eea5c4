"""Image to features: networks from timm (``network``), not trained (``frozen``), and their weights (``weights``)."""

from __future__ import annotations

from deft.backbone.frozen import Look, Views, from_spec, frozen_net, views_of, with_views
from deft.backbone.network import Backbone, traceable
from deft.backbone.weights import build_backbone, find_weights, weights_digest, weights_key

__all__ = [
    "Backbone",
    "Look",
    "Views",
    "build_backbone",
    "find_weights",
    "from_spec",
    "frozen_net",
    "traceable",
    "views_of",
    "weights_digest",
    "weights_key",
    "with_views",
]
