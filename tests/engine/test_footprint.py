from __future__ import annotations

import gc
import signal
import weakref
from _thread import interrupt_main
from functools import partial

import pytest
import torch
from torch import nn

from deft.engine.footprint import SLACK, SPARE, Footprint, footprint, parts_for, peak_of
from deft.engine.parts import in_parts

MB = 1_000_000
STEP = Footprint(fixed=100 * MB, image=10 * MB, part=200 * MB)


@pytest.mark.parametrize(("batch", "at_once", "counted"), [(16, 16, 3460), (16, 1, 460), (4, 2, 540), (1, 1, 310)])
def test_what_a_step_needs_by_hand(batch: int, at_once: int, counted: int) -> None:
    assert STEP.need(batch, at_once) == round(SLACK * counted * MB + SPARE)


@pytest.mark.parametrize(
    ("counted", "at_once"), [(10_000, 16), (3461, 16), (3459, 15), (1200, 4), (461, 1), (459, 0), (100, 0), (-5000, 0)]
)
def test_as_many_images_at_a_time_as_fit(counted: int, at_once: int) -> None:
    assert STEP.at_once(16, SLACK * counted * MB + SPARE) == at_once


def test_images_that_hold_nothing_while_they_are_computed_are_not_divided_for_nothing() -> None:
    step = Footprint(fixed=0, image=100 * MB, part=0)
    assert step.at_once(8, SLACK * 801 * MB + SPARE) == 8
    assert step.at_once(8, SLACK * 799 * MB + SPARE) == 0


@pytest.mark.parametrize(
    ("batch", "at_once", "parts"), [(16, 16, 1), (16, 15, 2), (16, 8, 2), (16, 7, 3), (16, 1, 16), (5, 0, 5), (1, 0, 1)]
)
def test_the_fewest_parts(batch: int, at_once: int, parts: int) -> None:
    assert parts_for(batch, at_once) == parts
    assert -(-batch // parts) <= max(1, at_once)


def told(fixed: int, image: int, part: int, asked: list[tuple[int, int]]) -> object:
    def peak(images: int, parts: int) -> int:
        asked.append((images, parts))
        return fixed + images * image + -(-images // parts) * part

    return peak


def test_three_small_steps_tell_the_three_numbers() -> None:
    asked: list[tuple[int, int]] = []
    assert footprint(told(7, 30, 500, asked), 16, lambda need: False) == Footprint(7, 30, 500)  # type: ignore[arg-type]
    assert asked == [(1, 1), (2, 1), (2, 2), (3, 3)]


def test_of_two_images_no_more_are_measured() -> None:
    asked: list[tuple[int, int]] = []
    found = footprint(told(7, 30, 500, asked), 2, lambda need: False)  # type: ignore[arg-type]
    assert found == Footprint(7, 30, 500)
    assert asked == [(1, 1), (2, 1), (2, 2)]


def test_one_small_step_is_enough_where_there_is_plenty_and_for_one_image() -> None:
    asked: list[tuple[int, int]] = []
    needs: list[int] = []
    found = footprint(told(7, 30, 500, asked), 16, lambda need: not needs.append(need))  # type: ignore[arg-type, func-returns-value]
    assert found == Footprint(0, 537, 0)
    assert needs == [round(SLACK * 16 * 537 + SPARE)]
    footprint(told(7, 30, 500, asked), 1, lambda need: False)  # type: ignore[arg-type]
    assert asked == [(1, 1), (1, 1)]


def test_the_peak_is_that_of_storages_alive_together() -> None:
    def work() -> None:
        first = torch.zeros(1000, dtype=torch.uint8)
        second = first.view(10, 100).T[3:]  # of the same storage
        third = torch.zeros(500, dtype=torch.uint8)
        del first, second
        fourth = torch.zeros(700, dtype=torch.uint8)
        del third, fourth

    assert peak_of(work) == 1500


def test_ctrl_c_that_comes_as_a_storage_is_freed_is_not_lost() -> None:
    held = []

    def work() -> None:
        values = torch.zeros(3)
        # Called before any other callback, and without any code of Python's, where the interrupt would be raised.
        interrupts = partial(next, map(interrupt_main, [signal.SIGINT]))
        held.append(weakref.ref(values.untyped_storage(), interrupts))
        del values
        torch.zeros(3)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            peak_of(work)
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_was_there_before_is_not_counted() -> None:
    there = torch.zeros(1000)
    assert peak_of(lambda: there.view(10, 100).add_(1)) == 0
    assert peak_of(lambda: there + 1) == 4000
    assert peak_of(lambda: None) == 0


def test_it_is_the_same_every_time_and_leaves_nothing() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    x = torch.ones(1, 3, 32, 32)

    def step() -> None:
        layers.zero_grad(set_to_none=True)
        loss: torch.Tensor = layers(x).square().mean()
        torch.autograd.backward(loss)

    gc.disable()
    try:
        assert peak_of(step) == peak_of(step) > 2 * 8 * 30 * 30 * 4
    finally:
        gc.enable()


@pytest.mark.parametrize("side", [64, 128])
def test_of_a_network_what_is_divided_and_what_is_not(side: int) -> None:
    """Five layers keep their inputs, one map of a channel each, in parts; the joined result is kept by the loss."""
    weight = torch.ones((), requires_grad=True)
    size = 4 * side * side

    def layers(x: torch.Tensor) -> torch.Tensor:
        x = x * weight
        for _ in range(4):
            x = x.sin()
        return x

    def peak(images: int, parts: int) -> int:
        x = torch.ones(images, 1, side, side)

        def step() -> None:
            torch.autograd.backward(in_parts(layers, x, parts).square().sum())

        found = peak_of(step)
        weight.grad = None
        return found

    found = footprint(peak, 8, lambda need: False)
    assert 4 * size <= found.part <= 8 * size
    assert 1 * size <= found.image <= 4 * size
    assert found.fixed < 2 * size
    for parts in (1, 2, 4, 8):  # the three numbers never say too little: loss and part do not peak at the same time
        counted = found.fixed + 8 * found.image + 8 // parts * found.part
        assert peak(8, parts) <= 1.05 * counted <= 2.2 * peak(8, parts)
