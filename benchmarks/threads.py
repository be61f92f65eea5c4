"""A training step with one and with two threads, alone and beside a busy process, and what ``auto`` chooses there.

    python benchmarks/threads.py
    python benchmarks/threads.py --quick

Steps of MobileNetV2 on batches of 16 crops of 224 pixels; numbers of threads take turns, step by step, so that both see
the same machine. `auto` is asked three times in each situation; every answer has to be at most 1.2 times as slow as the
better number of threads. Run it on a machine that does nothing else. `--quick` takes a tiny network and few steps, and
writes nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent / "speed"))

import networks
from machine import commit, machine, versions
from training import stepper

from deft.classify.linear import LinearHead
from deft.engine.cores import cores
from deft.engine.layout import channels_last
from deft.engine.memory import keep_freed
from deft.engine.precision import choose as choose_precision
from deft.engine.threads import choose, measured

NUMBERS = (1, 2)
GOAL = 1.2
"""Times the seconds of the better number of threads that ``auto`` may cost."""
ASKED = 3


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--quick", action="store_true", help="a tiny network and few steps")
    reader.add_argument("--steps", type=int, default=20, help="steps for each number of threads")
    given = reader.parse_args()
    os.environ.pop("OMP_NUM_THREADS", None)  # or that would be the answer
    usual = torch.get_num_threads()
    torch.set_num_threads(max(usual, min(cores(), max(NUMBERS))))  # the variable lowered it, if there was one
    lines = ["| situation | threads | seconds a step | auto chose | times the better one |", "|---|---:|---:|---|---:|"]
    worst = 0.0
    keep_freed()
    step = _step(given.quick)
    for situation, busy in (("alone", 0), ("beside one busy process", 1)):
        with _busy(busy):
            chosen = _asked()
            times = _times(step, 2 if given.quick else given.steps)
        best = min(times.values())
        cost = max(times[min(number, max(NUMBERS))] / best for number in chosen)
        worst = max(worst, cost)
        for number, seconds in times.items():
            answer = ", ".join(map(str, chosen)) if number == NUMBERS[0] else ""
            lines.append(f"| {situation} | {number} | {seconds:.3g} | {answer} | {f'{cost:.2f}' if answer else ''} |")
    lines.append(f"\nGoal: at most {GOAL} times the better one; got {worst:.2f} at worst.")
    print("\n".join(lines))
    if not given.quick:
        facts = {**machine(torch.device("cpu")), **versions(), "commit": commit()}
        facts["threads"] = f"{usual} by default"
        head = ["# Threads", "", (__doc__ or "").partition("--quick\n\n")[2]]
        body = [*(f"- {name}: {value}" for name, value in facts.items()), "", *lines, ""]
        Path(__file__).with_suffix(".md").write_text("\n".join([*head, *body]), encoding="utf-8")
    return int(worst > GOAL)


def _step(quick: bool) -> Callable[[], object]:
    """One training step of the classifier, as a run takes it."""
    device = torch.device("cpu")
    name, side, images = ("test_resnet", 64, 2) if quick else ("mobilenetv2_100", 224, 16)
    network = networks.trainee(name, LinearHead(), device)
    channels_last(network)
    take = stepper(network, choose_precision(device), device)
    batch = networks.batch(images, side, 0, device)
    return lambda: take(batch, 1)


def _times(step: Callable[[], object], steps: int) -> dict[int, float]:
    """Median seconds of a step for each number of threads, which take turns."""
    before = torch.get_num_threads()
    taken: dict[int, list[float]] = {number: [] for number in NUMBERS}
    for turn in range(steps + 1):
        for number in NUMBERS:
            torch.set_num_threads(number)
            start = time.perf_counter()
            step()
            if turn:  # the first steps allocate
                taken[number].append(time.perf_counter() - start)
    torch.set_num_threads(before)
    return {number: statistics.median(seconds) for number, seconds in taken.items()}


def _asked() -> list[int]:
    """What ``auto`` answers, each time as in a new process."""
    answers = []
    for _ in range(ASKED):
        measured.cache_clear()
        answers.append(choose().number)
    measured.cache_clear()
    return answers


@contextmanager
def _busy(number: int) -> Iterator[None]:
    """So many processes that compute all the time."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        time.sleep(1.0 if number else 0.0)  # Python has to start
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


if __name__ == "__main__":
    raise SystemExit(main())
