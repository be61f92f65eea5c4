"""How reviewed masks teach: which of them, and how much each counts.

A reviewed image either teaches or is held out, by a hash of its name: that never moves it from one side to the other,
whatever else is reviewed. Of a held-out image nothing teaches a network of masks, neither the reviewed mask nor the
pseudo-mask, so that the masks of others can be scored on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated

from deft.ranges import PartialShare, Range, check_ranges


@dataclass(frozen=True)
class Corrections:
    """Settings of what a review teaches."""

    held_out: PartialShare = 0.2
    """Share of all images that teach no masks once they are reviewed, and are scored instead."""
    repeats: Annotated[int, Range(1, 100)] = 5
    """How often an epoch shows an image with a reviewed mask, where it shows one with a pseudo-mask once."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)


def is_held_out(name: str, share: float) -> bool:
    """Whether an image belongs to the share that is held out once it is reviewed."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def repeated(indices: Sequence[int], taught: Collection[int], repeats: int) -> tuple[int, ...]:
    """Indices of training images, those with a reviewed mask as often as they are shown in an epoch."""
    return tuple(index for index in indices for _ in range(repeats if index in taught else 1))
