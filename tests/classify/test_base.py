from __future__ import annotations

from collections.abc import Callable

import pytest

from deft.backbone import build_backbone
from deft.classify.base import check_base, innermost
from deft.classify.classifier import Classifier
from deft.classify.deft import DeftHead
from deft.classify.drs import DrsHead
from deft.classify.linear import LinearHead
from deft.classify.puzzle_cam import PuzzleHead
from deft.classify.seam import SeamHead
from deft.classify.sipe import SipeHead
from deft.classify.sma import SmaHead
from deft.contracts import InputError
from deft.engine.head import Head
from deft.engine.plan import Plan


@pytest.mark.parametrize("base", [SmaHead(), SeamHead(), PuzzleHead()])
def test_a_base_that_needs_more_than_the_last_map_is_refused(base: Head) -> None:
    with pytest.raises(
        InputError, match=rf"head\.base to be a head of the last feature map.*got {type(base).__name__}"
    ):
        check_base(base)


def test_the_innermost_head_is_below_all_others() -> None:
    deft = DeftHead(swap_epoch=4)
    assert innermost(LinearHead()) == (LinearHead(), "")
    assert innermost(DrsHead(base=deft)) == (deft, ".base")
    assert innermost(SipeHead(base=DrsHead(base=deft))) == (deft, ".base.base")


@pytest.mark.parametrize("kind", [SeamHead, PuzzleHead, SipeHead, DrsHead])
def test_a_base_that_would_never_swap_is_refused_by_its_place(kind: Callable[..., Head]) -> None:
    plan, backbone = Plan(epochs=3, min_steps=1, batch=4), build_backbone("test_resnet", "none", 16)
    with pytest.raises(InputError, match=r"classifier\.head\.base\.swap_epoch is 4 and training ends with epoch 3"):
        Classifier(head=kind(base=DeftHead(maps=4, swap_epoch=4)), plan=plan).build(backbone, 3)
    Classifier(head=kind(base=DeftHead(maps=4, swap_epoch=3)), plan=plan).build(backbone, 3)
