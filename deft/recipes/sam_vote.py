"""Class maps refined by votes of class-free masks (FMA-WSSS, SEPL), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.pipeline import Pipeline
from deft.recipes.irn import cam, with_deft
from deft.refine.sam_vote import SamVote
from deft.thresholds import AUTO


def sam_vote() -> Pipeline:
    """Class activation maps on which masks of SAM or another tool vote; --set refine.masks.folder=MASKS.

    Paper: Yang and Gong, 2023, arXiv:2312.03585 (the mean), and Chen et al., 2023, arXiv:2305.05803 (the overlap).
    """
    return replace(cam(), refine=SamVote())


def sam_vote_deft() -> Pipeline:
    """DEFT's maps, on which masks of SAM or another tool vote.

    Paper: Yang and Gong, 2023, arXiv:2312.03585, and Chen et al., 2023, arXiv:2305.05803; DEFT, see irn_deft.
    """
    # The published threshold of 0.5 is for maps of a plain classifier; DEFT's have another scale.
    return replace(with_deft(sam_vote()), refine=SamVote(background=AUTO))
