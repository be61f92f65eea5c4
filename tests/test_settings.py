from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import pytest

from deft.contracts import InputError
from deft.engine.optimise import AdamW
from deft.engine.plan import Plan
from deft.recipes import irn_deft
from deft.settings import MOVED, assign, fields_of, flat, key_of, plain, restore


def test_fields_are_set_by_type() -> None:
    changed = assign(
        irn_deft(),
        [
            "seed=3",
            "classifier.head.swap_epoch=2",
            "classifier.head.eq3_literal=true",
            "classifier.long_side=[0.5, 2.0]",
            "seeds.scales=(1.0, 2)",
            "classifier.head.map=eq7",
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
    assert (head.swap_epoch, head.eq3_literal, head.map) == (2, True, "eq7")  # type: ignore[attr-defined]


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
        ("classifier.head.map=best", "expected"),
        ("classifier=3", "a group of fields"),
        ("classifier.plan=none", "a group of fields"),
        ("classifier.plan.optimiser=Lion", "or AdamW to change it whole"),
        ("seed", "expected FIELD=VALUE"),
        ("seed.more=1", "no such field"),
    ],
)
def test_wrong_fields_and_types_are_told(assignment: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        assign(irn_deft(), [assignment])


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
