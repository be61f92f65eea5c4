"""The report of a run: an HTML page, overlays of masks, and charts."""

from __future__ import annotations

from deft.report.data import (
    Comparison,
    Curve,
    PictureRow,
    ReportData,
    Score,
    SplitFacts,
    StageRow,
)
from deft.report.html import render
from deft.report.overlay import heat_over_image, mask_to_rgb, overlay, seeds_over_image

__all__ = [
    "Comparison",
    "Curve",
    "PictureRow",
    "ReportData",
    "Score",
    "SplitFacts",
    "StageRow",
    "heat_over_image",
    "mask_to_rgb",
    "overlay",
    "render",
    "seeds_over_image",
]
