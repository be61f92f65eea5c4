"""Recipes choose every threshold from the maps; ``published`` has the numbers of the papers instead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from deft.cli.main import main
from deft.contracts import InputError
from deft.pipeline import Pipeline
from deft.recipes import RECIPES, cam, drs, external, icd, irn, psa, published, sam_vote, sipe
from deft.seeds.cam import Cam
from deft.settings import assign, fields_of

CHOSEN = ("seed_threshold", "labels.fg", "labels.bg", "labels.alpha_low", "labels.alpha_high", "alpha", "background")
"""Ends of the names of the fields that may be chosen."""
CAM = {"seed_threshold": 0.15}
IRN = {**CAM, "refine.labels.fg": 0.30, "refine.labels.bg": 0.05, "refine.background": 0.25}
PSA = {"seed_threshold": 0.20, "refine.labels.alpha_low": 4, "refine.labels.alpha_high": 32, "refine.alpha": 16}
PSA |= {"refine.background": 0.5}
ADVCAM = {**IRN, "refine.labels.fg": 0.35, "refine.labels.bg": 0.15}
AMN = {**IRN, "seed_threshold": 0.25, "refine.labels.fg": 0.45, "refine.labels.bg": 0.15}
AMN |= {"seeds.labels.fg": 0.30, "seeds.labels.bg": 0.05}
RIB = {**IRN, "refine.labels.fg": 0.35, "refine.labels.bg": 0.17, "refine.background": 0.27}
SEAM = {**PSA, "seed_threshold": 0.26, "refine.labels.alpha_high": 24, "refine.alpha": 6}
PUZZLE = {**IRN, "refine.labels.fg": 0.40, "refine.labels.bg": 0.10, "refine.background": 0.35}
RECAM = {**IRN, "seed_threshold": 0.21, "refine.labels.fg": 0.35, "refine.labels.bg": 0.10, "refine.background": 0.28}
OOD = {**IRN, "refine.labels.bg": 0.15, "refine.background": 0.22}
NUMBERS: Mapping[str, Mapping[str, float]] = {
    "cam": CAM,
    "demo_cam": CAM,
    "psa": PSA,
    "psa_deft": PSA,
    "advcam": ADVCAM,
    "advcam_deft": ADVCAM,
    "amn": AMN,
    "amn_deft": AMN,
    "rib": RIB,
    "rib_deft": RIB,
    "seam": SEAM,
    "seam_deft": SEAM,
    "puzzle_cam": PUZZLE,
    "puzzle_cam_deft": PUZZLE,
    "recam": RECAM,
    "recam_deft": RECAM,
    "ood": OOD,
    "ood_deft": OOD,
    "frozen": {**CAM, "refine.background": 0.0},  # none were published
    "frozen_deft": {**CAM, "refine.background": 0.0},
    "sam_vote": {**CAM, "refine.background": 0.5},
    "sam_vote_deft": {**CAM, "refine.background": 0.5},
    **{name: {**CAM, "refine.background": math.nan} for name in ("pamr", "pamr_deft", "par", "par_deft")},
}
"""By recipe; all others have IRN's."""
UNPUBLISHED = ("external", "clip_text", "frozen", "icd", "drs", "sipe", "sam_vote", "pamr", "par")
NAMES = sorted(name for name in RECIPES if name.removesuffix("_deft") not in UNPUBLISHED)
"""Recipes with published thresholds."""


def thresholds(pipeline: Pipeline) -> dict[str, object]:
    """Every field that holds a threshold or an alpha of the seeds or the refiner."""
    return {
        name: value
        for name, value in fields_of(pipeline).items()
        if not name.startswith("classifier.") and any(f".{name}".endswith(f".{end}") for end in CHOSEN)
    }


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_has_auto_everywhere(name: str) -> None:
    found = thresholds(RECIPES[name]())
    vote = {"refine.background": 0.5} if name == "sam_vote" else {}  # the rule itself decides
    assert found == {field: vote.get(field, "auto") for field in found}
    assert found.keys() == NUMBERS.get(name, IRN).keys()


@pytest.mark.parametrize("name", NAMES)
def test_published_numbers_are_in_every_place_and_nothing_else_changes(name: str) -> None:
    pipeline = published(RECIPES[name]())
    assert thresholds(pipeline) == NUMBERS.get(name, IRN)
    back = [f"{field}=auto" for field in thresholds(pipeline)]
    assert assign(pipeline, back) == RECIPES[name]()
    assert published(pipeline) == pipeline


def test_numbers_that_were_set_before_are_replaced_and_later_ones_stand() -> None:
    assert published(assign(irn(), ["seed_threshold=0.4", "refine.labels.fg=0.9"])) == published(irn())
    assert thresholds(assign(published(irn()), ["refine.background=0.4"])) == {**IRN, "refine.background": 0.4}


def test_where_nothing_was_published_that_is_told() -> None:
    for make, seeds in ((external, "External"), (icd, "Icd")):
        with pytest.raises(InputError, match=f"no thresholds were published for seeds of {seeds}; leave --thresholds"):
            published(make())
    for make, head in ((drs, "DrsHead"), (sipe, "SipeHead")):
        with pytest.raises(InputError, match=f"no thresholds were published for maps of {head}; leave"):
            published(make())
    with pytest.raises(InputError, match="no thresholds were published for SamVote; leave --thresholds out"):
        published(sam_vote())

    @dataclass(frozen=True)
    class Own:
        background: str = "auto"

        def prepare(self, context: object) -> None: ...

    with pytest.raises(InputError, match="no thresholds were published for Own; leave --thresholds out"):
        published(replace(cam(), refine=Own()))
    assert isinstance(psa().seeds, Cam)
    assert thresholds(published(replace(psa(), refine=None))) == CAM  # no PSA is left in it


def test_the_command_line_takes_the_papers_and_settings_go_on_top(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["run", "irn", "--data", "demo:", "--out", str(tmp_path / "run"), "--show"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "seed_threshold = 'auto'" in said and "refine.labels.fg = 'auto'" in said
    assert main([*words, "--thresholds", "auto"]) == 0
    assert capsys.readouterr().out == said
    assert main([*words, "--thresholds", "paper", "--set", "refine.background=0.4"]) == 0
    lines = set(capsys.readouterr().out.splitlines())
    assert lines >= {"seed_threshold = 0.15", "refine.labels.fg = 0.3", "refine.background = 0.4"}
    assert main(["run", "external", *words[2:], "--thresholds", "paper"]) == 2
    assert "no thresholds were published for seeds of External" in capsys.readouterr().err
