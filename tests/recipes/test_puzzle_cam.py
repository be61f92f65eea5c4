from __future__ import annotations

import dataclasses

from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.classify.puzzle_cam import PuzzleHead
from deft.recipes import irn, published, puzzle_cam, puzzle_cam_deft
from deft.refine.irn import Irn


def test_puzzle_cams_numbers() -> None:
    """The published settings, line by line."""
    classifier, refine = puzzle_cam().own_classifier, published(puzzle_cam()).refine
    assert classifier.head == PuzzleHead(base=LinearHead(), tiles=2, weight=4.0, ramp_epochs=8)
    assert (classifier.plan.epochs, classifier.plan.batch, classifier.plan.optimiser.lr) == (15, 32, 0.1)
    assert classifier.pixels(500) == (512, (320, 640))
    assert isinstance(refine, Irn) and (refine.labels.fg, refine.labels.bg) == (0.40, 0.10)
    assert dataclasses.replace(puzzle_cam(), classifier=irn().classifier) == irn()


def test_deft_is_the_base() -> None:
    classifier = puzzle_cam_deft().own_classifier
    assert classifier.head == PuzzleHead(base=DeftHead(), ramp_epochs=5)
    assert classifier.plan.epochs == 10
    assert dataclasses.replace(puzzle_cam_deft(), classifier=puzzle_cam().classifier) == puzzle_cam()
