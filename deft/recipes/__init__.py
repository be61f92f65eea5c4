"""Recipes: functions that return a :class:`deft.pipeline.Pipeline`, one per system; variants change a few fields."""

from __future__ import annotations

from collections.abc import Callable

from deft.pipeline import Pipeline
from deft.recipes.advcam import advcam, advcam_deft
from deft.recipes.amn import amn, amn_deft
from deft.recipes.augmentations import (
    cutmix,
    cutmix_deft,
    cutout,
    cutout_deft,
    hide_and_seek,
    hide_and_seek_deft,
    manifold_mixup,
    manifold_mixup_deft,
    mixup,
    mixup_deft,
)
from deft.recipes.cda import cda, cda_deft
from deft.recipes.demo import demo, demo_cam
from deft.recipes.external import external
from deft.recipes.irn import cam, irn, irn_deft, irn_sma
from deft.recipes.psa import psa, psa_deft
from deft.recipes.published import published

RECIPES: dict[str, Callable[[], Pipeline]] = {
    "cam": cam,
    "irn": irn,
    "irn_deft": irn_deft,
    "irn_sma": irn_sma,
    "psa": psa,
    "psa_deft": psa_deft,
    "advcam": advcam,
    "advcam_deft": advcam_deft,
    "amn": amn,
    "amn_deft": amn_deft,
    "mixup": mixup,
    "mixup_deft": mixup_deft,
    "manifold_mixup": manifold_mixup,
    "manifold_mixup_deft": manifold_mixup_deft,
    "cutout": cutout,
    "cutout_deft": cutout_deft,
    "cutmix": cutmix,
    "cutmix_deft": cutmix_deft,
    "hide_and_seek": hide_and_seek,
    "hide_and_seek_deft": hide_and_seek_deft,
    "cda": cda,
    "cda_deft": cda_deft,
    "external": external,
    "demo_cam": demo_cam,
    "demo": demo,
}
"""This package's recipes for ``deft run``, by name."""

__all__ = [
    "RECIPES",
    "advcam",
    "advcam_deft",
    "amn",
    "amn_deft",
    "cam",
    "cda",
    "cda_deft",
    "cutmix",
    "cutmix_deft",
    "cutout",
    "cutout_deft",
    "demo",
    "demo_cam",
    "external",
    "hide_and_seek",
    "hide_and_seek_deft",
    "irn",
    "irn_deft",
    "irn_sma",
    "manifold_mixup",
    "manifold_mixup_deft",
    "mixup",
    "mixup_deft",
    "psa",
    "psa_deft",
    "published",
]
