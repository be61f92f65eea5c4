from __future__ import annotations

import dataclasses

from deft.classify.bcam import BcamHead
from deft.recipes import bcam, irn


def test_b_cams_numbers() -> None:
    """The settings of its code for VOC, line by line, except the rate, which is IRN's."""
    classifier = bcam().own_classifier
    head = classifier.head
    assert isinstance(head, BcamHead)
    weights = (head.object_weight, head.object_as_background, head.background_as_object, head.background_weight)
    assert (head.maps, weights) == (20, (1, 1, 1, 1))
    assert (classifier.plan.epochs, classifier.plan.optimiser.lr) == (5, 0.1)
    assert dataclasses.replace(bcam(), classifier=irn().classifier) == irn()
