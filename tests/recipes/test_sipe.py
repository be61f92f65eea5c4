from __future__ import annotations

import dataclasses

from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.classify.sipe import SipeHead
from deft.recipes import irn, irn_deft, sipe, sipe_deft
from deft.refine.irn import Irn


def test_sipes_numbers() -> None:
    """The published settings, line by line; the classifier's are IRN's."""
    head = sipe().own_classifier.head
    assert isinstance(head, SipeHead) and head.base == LinearHead()
    assert (head.widths, head.weight, head.background) == ((128, 128, 256, 256), 1.0, 0.5)
    plan = sipe().own_classifier.plan
    assert (plan.epochs, plan.batch, plan.optimiser.lr, plan.clip) == (5, 16, 0.1, 1.0)
    assert dataclasses.replace(sipe(), classifier=irn().classifier, refine=irn().refine) == irn()
    assert sipe().refine == Irn(power=1.5)


def test_deft_is_the_base() -> None:
    head = sipe_deft().own_classifier.head
    assert isinstance(head, SipeHead) and head.base == DeftHead()
    assert dataclasses.replace(sipe_deft(), classifier=irn_deft().classifier, refine=irn_deft().refine) == irn_deft()
