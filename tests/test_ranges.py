from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from deft.contracts import InputError
from deft.ranges import Count, MultipleRange, Multiples, Range, RangeError, Rate, Share, check_ranges
from deft.recipes import RECIPES
from deft.settings import assign, plain, restore


@dataclass(frozen=True)
class Own:
    share: Share = 0.5
    count: Count = 1
    some: Annotated[int, Range(0, 8)] | None = None
    auto: float | Literal["auto"] = "auto"
    ends: MultipleRange = (0.5, 1.0)
    scales: Multiples = (1.0,)
    half: Annotated[float, Range(0, 1, above=True, below=True)] = 0.5
    rate: Rate = 0.1
    switch: bool = False
    word: str = ""
    inner: object = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("share", 0), ("share", 1), ("share", 0.25), ("count", 1_000_000), ("some", None), ("some", 8),
        ("auto", 3.5), ("ends", (1, 1)), ("ends", [0.1, 16.0]), ("scales", (2.0, 0.5)), ("rate", 0), ("switch", True),
    ],
)  # fmt: skip
def test_values_in_their_range_are_taken(name: str, value: Any) -> None:
    assert getattr(Own(**{name: value}), name) == value


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("share", -1e-9, "a number from 0 to 1"),
        ("share", NAN, "a number from 0 to 1"),
        ("share", "0.5", "a number from 0 to 1"),
        ("share", True, "a number from 0 to 1"),
        ("rate", INF, "a number from 0 to 100"),
        ("count", 0, "a whole number from 1 to 1,000,000"),
        ("count", 1.0, "a whole number from 1 to 1,000,000"),
        ("count", 1e20, "a whole number from 1 to 1,000,000"),
        ("some", 9, "a whole number from 0 to 8 or none"),
        ("auto", "none", "a number or auto"),
        ("auto", None, "a number or auto"),
        ("auto", NAN, "a number or auto"),
        ("share", 10**30, "a number from 0 to 1"),
        ("ends", (1.0, 0.5), "2 numbers that do not fall, each a number above 0 to 16"),
        ("ends", (0.5,), "2 numbers that do not fall, each a number above 0 to 16"),
        ("ends", 0.5, "2 numbers that do not fall, each a number above 0 to 16"),
        ("scales", (), "one or more numbers, each a number above 0 to 16"),
        ("scales", (1.0, 1e9), "one or more numbers, each a number above 0 to 16"),
        ("scales", (1.0, "a"), "one or more numbers, each a number above 0 to 16"),
        ("half", 0, "a number above 0 to 1, which is excluded"),
        ("half", 1, "a number above 0 to 1, which is excluded"),
        ("switch", 1, "true or false"),
        ("word", None, "text"),
    ],
)
def test_others_are_refused_with_field_range_and_what_was_got(name: str, value: Any, expected: str) -> None:
    with pytest.raises(RangeError) as told:
        Own(**{name: value})
    assert str(told.value) == f"Own.{name}: expected {expected}, got {value!r}"


@pytest.mark.parametrize("name", ["share", "rate", "auto"])
@pytest.mark.parametrize("sign", [1, -1])
def test_whole_numbers_beyond_any_float_are_no_numbers(name: str, sign: int) -> None:
    with pytest.raises(RangeError, match=r"expected a number .*got -?1000+"):
        Own(**{name: sign * 10**400})


def test_a_long_value_is_cut() -> None:
    with pytest.raises(RangeError) as told:
        Own(word=list(range(10_000)))  # type: ignore[arg-type]
    assert len(str(told.value)) < 150


WRONG = [
    "seed=9223372036854775808", "seed=-1", "classifier.plan.optimiser.lr=-1", "classifier.plan.optimiser.lr=nan",
    "classifier.plan.optimiser.lr=inf", "classifier.plan.optimiser.momentum=5", "classifier.plan.optimiser.decay=-1",
    "classifier.plan.epochs=1e20", "classifier.plan.epochs=0", "classifier.plan.batch=1000000000",
    "classifier.plan.workers=-1", "classifier.plan.clip=-0.5", "classifier.crop=1e9", "classifier.crop=0",
    "classifier.long_side=(2.0, 1.0)", "classifier.freeze_stride=-5", "classifier.jitter=2",
    "classifier.head.maps=0", "classifier.head.temperature=0", "classifier.head.uniform=1.5",
    "classifier.head.map.power=-1", "classifier.head.swap_rate=-1", "seeds.scales=(1.0, 1e9)", "seeds.scales=()",
    "seeds.present=5", "refine.radius=1", "refine.steps=0", "refine.beta=1e30", "refine.labels.gt_prob=1",
    "refine.labels.crf.iterations=-1", "refine.labels.crf.bilateral_srgb=0", "segment.dropout=2", "segment.dropout=1",
    "segment.freeze_stride=-5", "segment.head_rate=-3", "segment.channels=0", "inference.scales=(1e9,)",
    "inference.max_side=0", "stride=-16",
]  # fmt: skip


@pytest.mark.parametrize("assignment", WRONG)
def test_set_names_the_field_and_its_range(assignment: str) -> None:
    field = assignment.partition("=")[0]
    with pytest.raises(InputError, match=f"^--set {field}=.*: expected .*") as told:
        assign(RECIPES["irn_deft"](), [assignment])
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_is_in_range_and_survives_its_record(name: str) -> None:
    pipeline = RECIPES[name]()
    assert restore(plain(pipeline)) == pipeline


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("seed",), "one"), (("seed",), None), (("classifier", "plan", "epochs"), [1]), (("classifier", "flip"), "yes"),
        (("classifier", "plan", "optimiser", "lr"), "fast"), (("classifier",), 3), (("segment", "plan"), "long"),
        (("seeds", "scales"), [[1.0]]), (("seeds",), []), (("inference", "class"), "deft.no.Such"),
        (("refine", "class"), "deft.refine.crf.dense_crf"), (("refine", "labels"), None), (("backbone",), 5),
        (("classifier", "plan", "optimiser"), {}), (("classifier", "head", "map"), "eq99"), (("weights",), {"a": 1}),
    ],
)  # fmt: skip
def test_an_edited_record_is_one_message(path: tuple[str, ...], value: Any) -> None:
    record = plain(RECIPES["irn_deft"]())
    inner = record
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    with pytest.raises(InputError):
        restore(record)
