"""Ranges of settings, part of a field's type and checked when a dataclass is made.

::

    @dataclass(frozen=True)
    class Blur:
        radius: Annotated[int, Range(0, 64)] = 2
        strength: Share = 0.5                       # a number from 0 to 1

        def __post_init__(self) -> None:
            check_ranges(self)
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from deft.contracts import InputError


@dataclass(frozen=True)
class Range:
    """The range of a number, or of each number of a tuple."""

    least: float
    most: float
    above: bool = False
    """Whether ``least`` itself is excluded."""
    below: bool = False
    """Whether ``most`` itself is excluded."""
    rising: bool = False
    """Whether the numbers of a tuple may not fall."""

    def __contains__(self, value: float) -> bool:
        """Whether a number is in the range; nan is in none."""
        over = value > self.least if self.above else value >= self.least
        return over and (value < self.most if self.below else value <= self.most)

    def __str__(self) -> str:
        """The range in words."""
        low = f"above {self.least:,g}" if self.above else f"from {self.least:,g}"
        return f"{low} to {self.most:,.10g}{', which is excluded' if self.below else ''}"


Share = Annotated[float, Range(0, 1)]
"""A part of a whole, or a probability."""
PartialShare = Annotated[float, Range(0, 1, below=True)]
"""A part that leaves something."""
Weight = Annotated[float, Range(0, 1e6)]
"""A weight of a loss or a kernel, or a multiple of the learning rate."""
Rate = Annotated[float, Range(0, 100)]
"""A learning rate, or a weight decay."""
Factor = Annotated[float, Range(0, 1e6, above=True)]
"""A factor or an exponent that may not be 0."""
Multiple = Annotated[float, Range(0, 16, above=True)]
"""A multiple of the images' typical long side: a larger one would not fit into any memory."""
Multiples = Annotated[tuple[float, ...], Range(0, 16, above=True)]
"""One or more scales, as multiples of a side."""
MultipleRange = Annotated[tuple[float, float], Range(0, 16, above=True, rising=True)]
"""The ends of a range of scales."""
Count = Annotated[int, Range(1, 1_000_000)]
"""A number of things, at least one."""

SIDES = Range(32, 65_536)
MaxSide = Annotated[int, SIDES] | None
"""The longer side at which photographs are read, in pixels; None for any."""


class RangeError(InputError):
    """A setting that is out of its range."""

    def __init__(self, name: str, expected: str, got: Any) -> None:
        shown = repr(got)
        self.reason = f"expected {expected}, got {shown if len(shown) <= 80 else shown[:77] + '...'}"
        super().__init__(f"{name}: {self.reason}")


def check_ranges(settings: Any) -> None:
    """Check every number, switch, text and dataclass among the fields of a dataclass against its type and range.

    Fields of other types, such as protocols, are not looked at.

    Raises:
        RangeError: names the class and the field, the range, and what was got.
    """
    kind = type(settings)
    for name, hint in _hints(cast(Hashable, kind)).items():
        expected = _fault(hint, getattr(settings, name))
        if expected:
            raise RangeError(f"{kind.__name__}.{name}", expected, getattr(settings, name))


@cache
def _hints(kind: Hashable) -> dict[str, Any]:
    settings: Any = kind
    hints = get_type_hints(settings, include_extras=True)
    return {item.name: hints[item.name] for item in dataclasses.fields(settings)}


def _fault(hint: Any, value: Any) -> str:
    """What was expected of a value, in words; empty if it is right or of no type that is checked."""
    options = list(_options(hint))
    faults = [_fault_of_one(plain, bounds, value) for plain, bounds in options]
    return "" if "" in faults else " or ".join(faults)


def _options(hint: Any, bounds: Range | None = None) -> Iterator[tuple[Any, Range | None]]:
    """The types of a union, each with its range."""
    if get_origin(hint) is Annotated:
        inner, *extras = get_args(hint)
        yield from _options(inner, next((extra for extra in extras if isinstance(extra, Range)), bounds))
    elif get_origin(hint) in (Union, UnionType):
        for option in get_args(hint):
            yield from _options(option, bounds)
    else:
        yield hint, bounds


def _fault_of_one(kind: Any, bounds: Range | None, value: Any) -> str:
    if kind in (int, float):
        return "" if _is_number(kind, value) and (bounds is None or value in bounds) else _number_in_words(kind, bounds)
    if kind is bool:
        return "" if isinstance(value, bool) else "true or false"
    if kind is str:
        return "" if isinstance(value, str) else "text"
    if kind is type(None):
        return "" if value is None else "none"
    if get_origin(kind) is Literal:
        return "" if isinstance(value, str | int) and value in get_args(kind) else " or ".join(map(str, get_args(kind)))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return "" if isinstance(value, kind) else f"settings of {kind.__name__}"
    if get_origin(kind) is tuple and get_args(kind)[0] in (int, float):
        return _fault_of_tuple(kind, bounds, value)
    return ""


def _fault_of_tuple(kind: Any, bounds: Range | None, value: Any) -> str:
    inner, *others = get_args(kind)
    any_number = others == [Ellipsis]
    right = isinstance(value, tuple | list) and (len(value) > 0 if any_number else len(value) == 1 + len(others))
    right = right and not any(_fault_of_one(inner, bounds, item) for item in value)
    if right and not (bounds is not None and bounds.rising and list(value) != sorted(value)):
        return ""
    count = "one or more numbers" if any_number else f"{1 + len(others)} numbers"
    order = " that do not fall" if bounds is not None and bounds.rising else ""
    return f"{count}{order}, each {_number_in_words(inner, bounds)}"


def _is_number(kind: type, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        return False
    number: Any = value  # whole ones can be beyond any float, where isfinite fails
    return kind is int or bool(-sys.float_info.max <= number <= sys.float_info.max)


def _number_in_words(kind: type, bounds: Range | None) -> str:
    what = "a whole number" if kind is int else "a number"
    return f"{what} {bounds}" if bounds is not None else what
