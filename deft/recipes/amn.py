"""AMN (Lee, Kim and Shim, 2022, arXiv:2204.01372), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.pipeline import Pipeline
from deft.recipes.irn import cam, with_deft
from deft.refine.irn import Irn
from deft.refine.labels import ConfidentLabels
from deft.seeds.amn import Amn


def amn() -> Pipeline:
    """AMN: a pixel classifier conditioned on the tags is trained on confident labels; IRN refines its maps.

    Paper: Lee et al., 2022, arXiv:2204.01372.
    """
    return replace(
        cam(),
        seeds=Amn(labels=ConfidentLabels()),
        refine=Irn(power=1.3),
    )


def amn_deft() -> Pipeline:
    """AMN on DEFT's maps: the confident labels come from them, and nothing else of AMN changes.

    Paper: Lee et al., 2022, arXiv:2204.01372; DEFT, see irn_deft.
    """
    return with_deft(amn())
