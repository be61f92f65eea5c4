"""Recipes: functions that return a :class:`deft.pipeline.Pipeline`, one per system; a variant changes two fields."""

from __future__ import annotations

from collections.abc import Callable

from deft.pipeline import Pipeline
from deft.recipes.demo import demo, demo_cam
from deft.recipes.irn import cam, irn, irn_deft

RECIPES: dict[str, Callable[[], Pipeline]] = {
    "cam": cam,
    "irn": irn,
    "irn_deft": irn_deft,
    "demo_cam": demo_cam,
    "demo": demo,
}
"""What ``deft run`` knows by name."""

__all__ = ["RECIPES", "cam", "demo", "demo_cam", "irn", "irn_deft"]
