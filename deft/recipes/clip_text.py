"""CLIP-ES (Lin et al., 2023): maps from the names of the classes, without a classifier."""

from __future__ import annotations

from deft.pipeline import Pipeline
from deft.refine.irn import Irn
from deft.seeds.clip_text import ClipText


def clip_text() -> Pipeline:
    """Maps from CLIP and the names of the classes, refined by IRN; --set seeds.model=MODEL names CLIP's folder.

    Paper: Lin et al., 2023, arXiv:2212.09506.
    """
    return Pipeline(classifier=None, seeds=ClipText(), refine=Irn())
