"""Puzzle-CAM (Jo and Yu, 2021, arXiv:2101.11253), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.classify.puzzle_cam import PuzzleHead
from deft.pipeline import Pipeline
from deft.recipes.irn import irn, with_deft


def puzzle_cam() -> Pipeline:
    """Puzzle-CAM: class maps of an image agree with those of its tiles, put together; refined by IRN.

    Paper: Jo and Yu, 2021, arXiv:2101.11253.
    """
    base = irn()
    classifier = base.own_classifier
    plan = replace(classifier.plan, epochs=15, batch=32)
    return replace(base, classifier=replace(classifier, head=PuzzleHead(), plan=plan))


def puzzle_cam_deft() -> Pipeline:
    """Puzzle-CAM on a DEFT classifier: DEFT's losses of whole and puzzle, and object scores f_fg that agree.

    Paper: Jo and Yu, 2021, arXiv:2101.11253; DEFT, see irn_deft.
    """
    base = with_deft(puzzle_cam())
    classifier = base.own_classifier
    head = PuzzleHead(base=classifier.head, ramp_epochs=5)  # half of DEFT's ten epochs
    return replace(base, classifier=replace(classifier, head=head))
