"""Recipes: functions that return a :class:`deft.pipeline.Pipeline`, one per system; variants change a few fields."""

from __future__ import annotations

from collections.abc import Callable

from deft.pipeline import Pipeline
from deft.recipes.advcam import advcam, advcam_deft
from deft.recipes.amn import amn, amn_deft
from deft.recipes.augmentations import (
    co_mixup,
    co_mixup_deft,
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
    noisy_feature_mixup,
    noisy_feature_mixup_deft,
    puzzle_mix,
    puzzle_mix_deft,
    super_mix,
    super_mix_deft,
)
from deft.recipes.bcam import bcam
from deft.recipes.cda import cda, cda_deft
from deft.recipes.clip_text import clip_text
from deft.recipes.demo import demo, demo_cam
from deft.recipes.drs import drs, drs_deft
from deft.recipes.external import external
from deft.recipes.frozen import frozen, frozen_deft
from deft.recipes.icd import icd, icd_deft
from deft.recipes.irn import cam, irn, irn_deft, irn_sma
from deft.recipes.ood import ood, ood_deft
from deft.recipes.pixel_adaptive import pamr, pamr_deft, par, par_deft
from deft.recipes.psa import psa, psa_deft
from deft.recipes.published import published
from deft.recipes.puzzle_cam import puzzle_cam, puzzle_cam_deft
from deft.recipes.recam import recam, recam_deft
from deft.recipes.rib import rib, rib_deft
from deft.recipes.sam_vote import sam_vote, sam_vote_deft
from deft.recipes.seam import seam, seam_deft
from deft.recipes.sipe import sipe, sipe_deft

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
    "rib": rib,
    "rib_deft": rib_deft,
    "ood": ood,
    "ood_deft": ood_deft,
    "icd": icd,
    "icd_deft": icd_deft,
    "sipe": sipe,
    "sipe_deft": sipe_deft,
    "bcam": bcam,
    "seam": seam,
    "seam_deft": seam_deft,
    "puzzle_cam": puzzle_cam,
    "puzzle_cam_deft": puzzle_cam_deft,
    "recam": recam,
    "recam_deft": recam_deft,
    "drs": drs,
    "drs_deft": drs_deft,
    "sam_vote": sam_vote,
    "sam_vote_deft": sam_vote_deft,
    "pamr": pamr,
    "pamr_deft": pamr_deft,
    "par": par,
    "par_deft": par_deft,
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
    "noisy_feature_mixup": noisy_feature_mixup,
    "noisy_feature_mixup_deft": noisy_feature_mixup_deft,
    "puzzle_mix": puzzle_mix,
    "puzzle_mix_deft": puzzle_mix_deft,
    "co_mixup": co_mixup,
    "co_mixup_deft": co_mixup_deft,
    "super_mix": super_mix,
    "super_mix_deft": super_mix_deft,
    "cda": cda,
    "cda_deft": cda_deft,
    "clip_text": clip_text,
    "external": external,
    "frozen": frozen,
    "frozen_deft": frozen_deft,
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
    "bcam",
    "cam",
    "cda",
    "cda_deft",
    "clip_text",
    "co_mixup",
    "co_mixup_deft",
    "cutmix",
    "cutmix_deft",
    "cutout",
    "cutout_deft",
    "demo",
    "demo_cam",
    "drs",
    "drs_deft",
    "external",
    "frozen",
    "frozen_deft",
    "hide_and_seek",
    "hide_and_seek_deft",
    "icd",
    "icd_deft",
    "irn",
    "irn_deft",
    "irn_sma",
    "manifold_mixup",
    "manifold_mixup_deft",
    "mixup",
    "mixup_deft",
    "noisy_feature_mixup",
    "noisy_feature_mixup_deft",
    "ood",
    "ood_deft",
    "pamr",
    "pamr_deft",
    "par",
    "par_deft",
    "psa",
    "psa_deft",
    "published",
    "puzzle_cam",
    "puzzle_cam_deft",
    "puzzle_mix",
    "puzzle_mix_deft",
    "recam",
    "recam_deft",
    "rib",
    "rib_deft",
    "sam_vote",
    "sam_vote_deft",
    "seam",
    "seam_deft",
    "sipe",
    "sipe_deft",
    "super_mix",
    "super_mix_deft",
]
