"""Maps of another tool, refined, and a segmentation network trained on them; no classifier."""

from __future__ import annotations

from deft.pipeline import Pipeline
from deft.refine.irn import Irn
from deft.seeds.external import External


def external() -> Pipeline:
    """Maps of another tool instead of class activation maps; --set seeds.folder=MAPS names their folder.

    Paper: that of the tool that made the maps.
    """
    return Pipeline(classifier=None, seeds=External(), refine=Irn())
