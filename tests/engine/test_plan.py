from __future__ import annotations

import subprocess
import sys

import pytest

from deft.contracts import InputError
from deft.engine.plan import Plan, TrainingError, curves


def test_a_few_images_and_a_large_batch() -> None:
    assert Plan(epochs=5, min_steps=1, batch=16).steps(3) == 5
    assert Plan(epochs=5, min_steps=100, batch=16).steps(33) == 100
    assert Plan(epochs=5, min_steps=0, batch=16).steps(33) == 15


def test_epochs_of_a_longer_training_are_stretched_over_it() -> None:
    plan = Plan(epochs=4, min_steps=40, batch=4)
    assert [plan.epoch(step, 10) for step in (0, 9, 10, 20, 30, 39)] == [1, 1, 2, 3, 4, 4]


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"min_steps": -1}, {"batch": 0}, {"clip": -0.5}, {"workers": -1}])
def test_a_plan_that_trains_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(
        InputError, match=rf"^Plan\.{next(iter(wrong))}: expected .*, got {next(iter(wrong.values()))}$"
    ):
        Plan(**{"epochs": 5, "min_steps": 1, "batch": 16, **wrong})  # type: ignore[arg-type]


def test_curves_come_back_from_json_as_they_were() -> None:
    assert curves({"loss": [[10, 0.5], [20, 1]]}) == {"loss": [(10, 0.5), (20, 1.0)]}


def test_an_error_of_training_is_one_of_input() -> None:
    assert issubclass(TrainingError, InputError)  # exit code 2, with the message alone


def test_plan_and_reading_do_not_need_the_loop() -> None:
    code = "import sys, deft.engine.plan, deft.engine.reading; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "deft.engine.plan" in loaded
    assert not {"deft.engine.fit", "deft.engine.loop", "lightning_fabric"} & set(loaded)
