from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from deft.contracts import InputError
from deft.refine.labels import ConfidentLabels
from deft.seeds.advcam import AdvCam
from deft.seeds.amn import Amn
from deft.seeds.base import check_base
from deft.seeds.cam import Cam
from deft.seeds.ood import Ood
from deft.seeds.recam import ReCam

AMN = partial(Amn, labels=ConfidentLabels())


@pytest.mark.parametrize("method", [AMN, Ood, ReCam])
def test_a_base_trains_nothing(method: Callable[..., Any]) -> None:
    for base in (Cam(), AdvCam()):
        check_base(base)
        assert method(base=base).base == base
    for trains in (AMN(), Ood(), ReCam()):
        name = type(trains).__name__
        with pytest.raises(InputError, match=rf"seeds\.base to be a method that trains nothing itself.*, got {name}$"):
            method(base=trains)
