from __future__ import annotations

import pytest

from deft.classify.base import check_base, swap_epoch_of, swaps_of
from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.classify.puzzle_cam import PuzzleHead
from deft.classify.seam import SeamHead
from deft.classify.sma import SmaHead
from deft.contracts import InputError
from deft.engine.head import Head


@pytest.mark.parametrize("base", [SmaHead(), SeamHead(), PuzzleHead()])
def test_a_base_that_needs_more_than_the_last_map_is_refused(base: Head) -> None:
    with pytest.raises(
        InputError, match=rf"head\.base to be a head of the last feature map.*got {type(base).__name__}"
    ):
        check_base(base)


def test_what_a_base_says_of_its_swaps() -> None:
    check_base(LinearHead())
    assert (swaps_of(LinearHead()), swap_epoch_of(LinearHead())) == (False, 1)
    check_base(DeftHead(swap_epoch=4))
    assert (swaps_of(DeftHead(swap_epoch=4)), swap_epoch_of(DeftHead(swap_epoch=4))) == (True, 4)
