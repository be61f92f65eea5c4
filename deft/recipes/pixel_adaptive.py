"""Class maps refined along the colours of their image (PAMR, PAR), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.pipeline import Pipeline
from deft.recipes.irn import cam, with_deft
from deft.refine.pamr import Pamr
from deft.refine.par import Par


def pamr() -> Pipeline:
    """Class activation maps, averaged over neighbours of similar colour (PAMR); no refiner is trained.

    Paper: Araslanov and Roth, 2020, arXiv:2005.08104.
    """
    return replace(cam(), refine=Pamr())


def pamr_deft() -> Pipeline:
    """DEFT's maps, averaged over neighbours of similar colour (PAMR).

    Paper: Araslanov and Roth, 2020, arXiv:2005.08104; DEFT, see irn_deft.
    """
    return with_deft(pamr())


def par() -> Pipeline:
    """Class activation maps, averaged over near neighbours of similar colour (PAR); no refiner is trained.

    Paper: Ru et al., 2022, arXiv:2203.02664.
    """
    return replace(cam(), refine=Par())


def par_deft() -> Pipeline:
    """DEFT's maps, averaged over near neighbours of similar colour (PAR).

    Paper: Ru et al., 2022, arXiv:2203.02664; DEFT, see irn_deft.
    """
    return with_deft(par())
