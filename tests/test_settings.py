from __future__ import annotations

from dataclasses import dataclass, field, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated

import pytest
from torch import Tensor

from deft import classify
from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.classify.readings import READINGS, Eq7, ObjectMap
from deft.classify.swap_forms import SWAP_FORMS, MlpSwap, SharedSwap
from deft.contracts import InputError
from deft.engine.optimise import AdamW
from deft.engine.plan import Plan
from deft.ranges import Range, check_ranges
from deft.recipes import frozen_deft, irn_deft
from deft.refine.crf import DenseCrf
from deft.segment.inference import Inference
from deft.settings import (
    MOVED,
    assign,
    fields_of,
    flat,
    key_of,
    place,
    places_of,
    plain,
    refuse_other,
    restore,
)


def test_fields_are_set_by_type() -> None:
    changed = assign(
        irn_deft(),
        [
            "seed=3",
            "classifier.head.swap_epoch=2",
            "classifier.head.eq3_literal=true",
            "classifier.long_side=[0.5, 2.0]",
            "seeds.scales=(1.0, 2)",
            "classifier.head.map=Eq7",
            "classifier.head.map.power=2",
            "classifier.head.swap_head=shared",
            "backbone=resnet18",
            "segment=none",
            "classifier.plan.optimiser=AdamW",
            "classifier.plan.optimiser.lr=0.001",
        ],
    )
    assert changed.seed == 3
    assert changed.segment is None
    assert changed.classifier.plan.optimiser == AdamW(lr=0.001)
    assert changed.backbone == "resnet18"
    assert changed.classifier.long_side == (0.5, 2.0)
    assert changed.seeds.scales == (1.0, 2.0)
    head = changed.classifier.head
    assert (head.swap_epoch, head.eq3_literal) == (2, True)  # type: ignore[attr-defined]
    assert (head.map, head.swap_head) == (Eq7(power=2.0), SharedSwap())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("classifier.plan.epoch=3", r"did you mean 'classifier.plan.epochs'.*\n  classifier"),
        ("seed=x", r"--set seed=x: expected int \(now 0\), got 'x'"),
        ("seed=1.5", "expected int"),
        ("seed_threshold=otsu", r"expected float or auto \(now 'auto'\), got 'otsu'"),
        ("seed_threshold=none", "expected float or auto"),
        ("refine.labels.bg=low", "expected float or auto"),
        ("seed_threshold=1.0", r"expected seed_threshold to be auto or one of 0\.00, 0\.01, \.\.\. 0\.99, got 1\.0"),
        ("refine.background=-0.1", r"expected refine\.background to be auto or one of .* got -0\.1"),
        ("classifier.head.eq3_literal=perhaps", "expected bool"),
        ("classifier.head.map=best", r"expected ObjectMap or .* or Eq7Sigmoid \(now Eq7\), got 'best'"),
        ("classifier.head.map.powr=2", "did you mean 'classifier.head.map.power'"),
        ("classifier=3", "a group of fields"),
        ("classifier.plan=none", "a group of fields"),
        ("classifier.plan.optimiser=Lion", "set one of them, or replace the whole group by AdamW or Adam$"),
        ("classifier.head=Deft", "or replace the whole group by LinearHead, FrozenDeftHead, .* or BackgroundHead$"),
        ("seed", "expected FIELD=VALUE"),
        ("seed.more=1", "no such field"),
    ],
)
def test_wrong_fields_and_types_are_told(assignment: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        assign(irn_deft(), [assignment])


@dataclass(frozen=True)
class Fitting:
    """Two fields that have to fit, beside a group."""

    low: Annotated[int, Range(0, 9)] = 1
    high: Annotated[int, Range(0, 9)] = 2
    plan: Plan = field(default_factory=lambda: Plan(epochs=5, min_steps=0, batch=16))

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.low >= self.high:
            raise InputError(f"expected low below high, got {self.low} and {self.high}")


def test_fields_that_have_to_fit_are_given_in_any_order() -> None:
    for order in (["low=5", "high=7"], ["high=7", "low=5"]):
        assert assign(Fitting(), order) == Fitting(5, 7)
    with pytest.raises(InputError, match="expected low below high, got 5 and 2"):
        assign(Fitting(), ["low=5"])
    assert assign(Fitting(), ["low=5", "high=7", "low=3"]) == Fitting(3, 7)
    with pytest.raises(InputError, match=r"^--set high=12: expected a whole number from 0 to 9, got 12"):
        assign(Fitting(), ["low=5", "high=12", "plan.epochs=3"])
    with pytest.raises(InputError, match=r"^--set plan\.epochs=-1: expected a whole number"):
        assign(Fitting(), ["low=5", "plan.epochs=-1", "high=7"])
    words = ["plan.epochs=7", "plan.optimiser=AdamW", "plan.optimiser.lr=0.5", "plan.batch=2"]
    assert assign(Fitting(), words).plan == Plan(epochs=7, min_steps=0, batch=2, optimiser=AdamW(lr=0.5))
    with pytest.raises(InputError, match=r"did you mean 'plan\.optimiser\.layer_decay'"):  # of the chosen group
        assign(Fitting(), ["plan.optimiser=AdamW", "plan.optimiser.layer_deca=1"])
    assert assign(Fitting(), []) == Fitting()


@pytest.mark.parametrize("field", ["seed_threshold", "refine.labels.fg", "refine.labels.bg", "refine.background"])
def test_a_threshold_is_a_number_or_auto(field: str) -> None:
    assert fields_of(assign(irn_deft(), [f"{field}=0.31"]))[field] == 0.31
    assert fields_of(assign(irn_deft(), [f"{field}=0"]))[field] == 0
    assert assign(irn_deft(), [f"{field}=0.31", f"{field}=auto"]) == irn_deft()
    key = key_of("stage", irn_deft())
    assert key_of("stage", assign(irn_deft(), [f"{field}=0.31"])) != key
    assert key_of("stage", restore(plain(irn_deft()))) == key


def test_keys_follow_settings_and_inputs() -> None:
    key = key_of("seeds", irn_deft().seeds, "a")
    assert key == key_of("seeds", irn_deft().seeds, "a")
    assert len({key, key_of("seeds", irn_deft().seeds, "b"), key_of("masks", irn_deft().seeds, "a")}) == 3


def test_flat_names() -> None:
    assert flat({"a": {"b": 1, "c": [2]}, "d": None}) == {"a.b": 1, "a.c": [2], "d": None}


def test_every_field_has_a_name() -> None:
    names = fields_of(irn_deft())
    assert names["classifier.head.swap_epoch"] == 6
    assert names["refine.labels.fg"] == "auto"
    assert (names["classifier.head.map"], names["classifier.head.map.power"]) == ("Eq7", 2.0)
    assert names["classifier.head.swap_head"] == "LinearSwap"
    assert all("(" not in str(value) or isinstance(value, tuple) for value in names.values())


def test_settings_come_back_from_json_and_no_foreign_class_is_built() -> None:
    changed = replace(irn_deft(), seed=7)
    assert restore(plain(changed)) == changed
    for name in ("os.system", "deft.cli.main.main", "deft.artifacts.RunFolder", "nothing"):
        with pytest.raises(InputError, match="not part of deft"):
            restore({"class": name})


def test_a_moved_class_keeps_its_name_in_records_and_its_key() -> None:
    plan = Plan(epochs=5, min_steps=0, batch=16)
    assert plain(plan)["class"] == "deft.engine.fit.Plan"
    assert key_of("stage", plan) == "44c0fa3c786357a94cc34b61"  # as before the move
    for recorded, now in MOVED.items():
        module, _, name = now.rpartition(".")
        kind = getattr(import_module(module), name)
        assert f"{kind.__module__}.{kind.__qualname__}" == now != recorded
    assert restore(plain(plan)) == plan


def test_other_settings_are_named_up_to_a_point_and_some_do_not_bind() -> None:
    before = {"lr": 0.1, "plan": {"epochs": 5}, "versions": {"torch": "1"}}
    refuse_other("--out x holds a run", before, {**before, "versions": {"torch": "2", "new": "1"}}, ("versions.",))
    with pytest.raises(InputError) as told:
        refuse_other("--out x holds a run", before, {**before, "plan": {"epochs": 6}, "seed": 0}, ("versions.",))
    assert str(told.value).splitlines() == [
        "--out x holds a run with other settings:",
        "  plan.epochs: 5 in the folder, 6 now",
        "  seed: None in the folder, 0 now",
        "name another folder, or use the settings the folder was begun with",
    ]
    with pytest.raises(InputError, match=r"  e11: 11 in the folder, 12 now\n  and 8 more\nname another folder"):
        refuse_other("x", {f"e{i:02}": i for i in range(20)}, {f"e{i:02}": i + 1 for i in range(20)})


@pytest.mark.parametrize(
    ("head", "words", "key"),
    [
        (DeftHead(map=Eq7(power=3.0)), ("eq7", 3.0, "linear"), "0ff3506f730f346fdb7fe5ce"),
        (DeftHead(map=ObjectMap(), swap_head=SharedSwap()), ("fg", 3.0, "shared"), "51403943aeb8d4896d018fda"),
        (DeftHead(map=Eq7(power=2.0), swap_head=MlpSwap()), ("eq7", 2.0, "mlp"), "a45441aa9f546ba243ed4960"),
    ],
)
def test_choices_stand_in_records_and_keys_as_when_they_were_words(
    head: DeftHead, words: tuple[str, float, str], key: str
) -> None:
    recorded = plain(head)
    assert (recorded["map"], recorded["map_power"], recorded["swap_head"]) == words
    assert key_of("stage", head) == key  # as before they were objects
    assert restore(recorded) == head


def test_how_a_classifier_is_read_is_not_part_of_what_was_trained() -> None:
    before = plain(DeftHead(map=Eq7(power=3.0)))
    for reading in READINGS.values():
        assert plain(DeftHead(map=reading()), trained=True) == before  # the default when it was still part of the key
    assert plain(DeftHead(map=ObjectMap())) != plain(DeftHead(map=ObjectMap()), trained=True)
    assert plain(DeftHead(maps=8), trained=True) != before
    assert plain(LinearHead(stretched=True), trained=True) == plain(LinearHead())
    assert plain(LinearHead(stretched=True)) == plain(LinearHead()) | {"stretched": True}
    assert "stretched" not in plain(LinearHead())  # as before there was such a field
    assert restore(plain(LinearHead(stretched=True))) == LinearHead(stretched=True)


def test_every_choice_comes_back_from_its_record() -> None:
    for reading in READINGS.values():
        for form in SWAP_FORMS.values():
            head = DeftHead(map=reading(), swap_head=form())
            assert restore(plain(head)) == head


def test_a_record_of_a_choice_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="'eq9'"):
        restore({**plain(DeftHead()), "map": "eq9"})
    with pytest.raises(InputError, match="had a field 'map_margin'"):
        restore({**plain(DeftHead()), "map_margin": 1.0})


@dataclass(frozen=True)
class Loud:
    """A reading that is no part of the package."""

    gain: float = 2.0

    def activation(self, fg: Tensor, bg: Tensor) -> Tensor:
        return fg.relu()[:, None]

    def combine(self, activation: Tensor) -> Tensor:
        return activation[0] * self.gain


def test_an_object_of_ones_own_is_recorded_with_its_class() -> None:
    pipeline = irn_deft()
    own = replace(pipeline, classifier=replace(pipeline.own_classifier, head=DeftHead(map=Loud())))
    changed = assign(own, ["classifier.head.map.gain=3"])
    assert fields_of(changed)["classifier.head.map.gain"] == 3.0
    recorded = plain(changed.own_classifier.head)
    assert recorded["map"] == {"class": f"{Loud.__module__}.Loud", "gain": 3.0}
    assert "map_power" not in recorded
    with pytest.raises(InputError, match="not part of deft"):
        restore(recorded)
    assert assign(changed, ["classifier.head.map=eq7"]) == irn_deft()


def test_what_differs_can_be_told_in_better_words_or_be_let_pass() -> None:
    before, now = {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 4, "c": 5}
    with pytest.raises(InputError) as told:
        refuse_other("x", before, now, told={"a": "not said", "b": "two more bees", "c": ""})
    assert str(told.value).splitlines()[1:-1] == ["  two more bees"]
    refuse_other("x", before, now, told={"b": "", "c": ""})


@dataclass(frozen=True)
class Inner:
    """Settings with a place."""

    folder: str = field(default="", metadata=place())
    scale: float = 1.0


@dataclass(frozen=True)
class Outer:
    """Settings around it."""

    base: Inner = Inner()
    where: str = field(default="here", metadata=place())


def test_places_are_recorded_and_in_no_key() -> None:
    one, moved = Outer(), Outer(Inner("there"), "elsewhere")
    assert places_of(one) == ["base.folder", "where"]
    assert plain(moved)["base"]["folder"] == "there" and plain(moved)["where"] == "elsewhere"
    assert key_of("a", one) == key_of("a", moved) and key_of("a", (1, [one])) == key_of("a", (1, [moved]))
    assert key_of("a", one) != key_of("a", Outer(Inner(scale=2.0)))


@pytest.mark.parametrize("word", ["none", "None", "null"])
def test_a_number_that_may_be_left_out_takes_a_word_for_it(word: str) -> None:
    assert assign(irn_deft(), [f"max_side={word}"]).max_side is None
    assert assign(irn_deft(), [f"classifier.plan.workers={word}"]).own_classifier.plan.workers is None
    with pytest.raises(InputError, match="seed=none: expected int"):
        assign(irn_deft(), ["seed=none"])


def test_a_head_of_the_package_is_named_by_its_class() -> None:
    heads = [kind for path in Path(classify.__path__[0]).glob("*.py") for kind in _heads(path.stem)]
    assert len(heads) == 10
    for head in heads:
        changed = assign(irn_deft(), [f"classifier.head={head.__name__}"])
        assert changed.own_classifier.head == head() and restore(plain(changed)) == changed
    assert assign(irn_deft(), ["classifier.head=DeftHead"]) == irn_deft()
    changed = assign(frozen_deft(), ["classifier.head=DeftHead", "classifier.head.maps=8"])
    assert changed.own_classifier.head == DeftHead(maps=8)


def _heads(module: str) -> list[type]:
    """Settings of the heads that a module of the package defines."""
    found = vars(import_module(f"deft.classify.{module}")).values()
    own = [kind for kind in found if is_dataclass(kind) and isinstance(kind, type) and kind.__name__.endswith("Head")]
    return [kind for kind in own if kind.__module__ == f"deft.classify.{module}"]


def test_a_group_that_a_recipe_leaves_out_is_named_by_its_class() -> None:
    changed = assign(irn_deft(), ["inference.crf=DenseCrf", "inference.crf.iterations=3"])
    assert changed.inference.crf == DenseCrf(iterations=3)
    assert assign(changed, ["inference.crf=none"]) == irn_deft()
    with pytest.raises(InputError, match=r"inference\.crf=3: expected DenseCrf or none \(now None\), got '3'"):
        assign(irn_deft(), ["inference.crf=3"])


def test_fields_that_were_added_later_leave_earlier_records_as_they_are() -> None:
    assert plain(Inference()).keys() == {"class", "scales", "flip", "max_side"}
    assert restore(plain(Inference(crf=DenseCrf(), crf_side=80))) == Inference(crf=DenseCrf(), crf_side=80)
