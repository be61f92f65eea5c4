"""Maps that another tool made, refined, and a segmentation network trained on them; no classifier."""

from __future__ import annotations

from deft.pipeline import Pipeline
from deft.refine.irn import Irn
from deft.seeds.external import External


def external() -> Pipeline:
    """Maps of another tool in the place of class activation maps; --set seeds.folder=MAPS names them.

    Paper: that of the tool which made the maps.
    """
    return Pipeline(classifier=None, seeds=External(), refine=Irn())
