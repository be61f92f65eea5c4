from __future__ import annotations

import dataclasses

from deft.classify.deft import DeftHead
from deft.recipes import icd, icd_deft, irn
from deft.seeds.cam import Cam
from deft.seeds.icd import Icd


def test_it_is_irn_on_other_maps() -> None:
    assert isinstance(icd().seeds, Icd)
    assert icd().seeds.scales == (0.5, 1.0, 1.5, 2.0)
    assert dataclasses.replace(icd(), seeds=Cam()) == irn()


def test_deft_changes_the_classifier_alone() -> None:
    assert isinstance(icd_deft().own_classifier.head, DeftHead)
    assert dataclasses.replace(icd_deft(), classifier=icd().classifier) == icd()
