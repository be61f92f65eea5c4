"""What verbs of the command share: settings, precision, threads, Ray, progress, and options that go together."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deft.contracts import InputError, Progress
from deft.ranges import SIDES

if TYPE_CHECKING:
    from deft.engine.ray_engine import Ray

PRECISIONS = {"auto": "auto", "32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
"""Lightning's name of each precision that the command line takes."""


def assignments(given: argparse.Namespace, *flags: str) -> list[str]:
    """Assignments from ``--set`` and from the flags that are shorthands for it."""
    said = [flag for flag in flags if getattr(given, flag) is not None]
    return [*given.set, *(f"{flag}={_flag(flag, getattr(given, flag))}" for flag in said)]


def _flag(flag: str, value: Any) -> str:
    if flag == "max_side":
        return str(_max_side(value))
    return PRECISIONS[value] if flag == "precision" else str(value)


def _max_side(text: str) -> int | None:
    """The value of ``--max-side``: a number of pixels, or None for ``none``."""
    if text.casefold() == "none":
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 6 or int(text) not in SIDES:
        raise InputError(f"--max-side {text[:40]}: expected a whole number {SIDES} (pixels), or none")
    return int(text)


def reading_side(given: argparse.Namespace) -> int | None:
    """The side at which new photographs are read; 0 takes that of the run."""
    return 0 if given.max_side is None else _max_side(given.max_side)


@contextmanager
def with_threads(given: argparse.Namespace) -> Iterator[None]:
    """Within, as many threads as were asked for, told if they were not; none of these results depends on the number."""
    from deft.engine import threads

    choice = threads.choose(getattr(given, "threads", threads.AUTO))
    with threads.computing(choice, tell=choice.measured):
        yield


@contextmanager
def ray_of(given: argparse.Namespace) -> Iterator[Ray | None]:
    """The Ray cluster that was asked for; None for work in this process."""
    if given.engine != "ray":
        if given.ray_address:
            raise InputError(f"--ray-address {given.ray_address}: expected --engine ray with it; add that")
        yield None
        return
    from deft.engine.ray_engine import Ray

    with Ray(given.ray_address) as ray:
        yield ray


@contextmanager
def bar(title: str) -> Iterator[Progress]:
    """A progress bar over files."""
    from tqdm import tqdm

    with tqdm(desc=title, unit="file", mininterval=0.5) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def in_shards(given: argparse.Namespace) -> bool:
    """Whether images are those of shards."""
    shards = str(given.images).startswith("shards:")
    if given.tags_from and not shards:
        raise InputError("--tags-from: expected shards:PATTERN, got a folder or a photograph; give a table with --tags")
    return shards


def refuse_alone(given: argparse.Namespace, needed: str, *flags: str) -> None:
    """Refuse options that mean nothing without another one."""
    for flag in flags:
        if getattr(given, flag) is not None:
            raise InputError(f"--{flag}: expected {needed} with it; add that, or leave it out")


def refuse_beside(given: argparse.Namespace, other: str, *flags: str) -> None:
    """Refuse options that another one replaces."""
    for flag in flags:
        if getattr(given, flag) not in (None, ""):
            raise InputError(f"--{flag.replace('_', '-')}: it has no meaning with {other}; leave one of them out")


def separated(texts: Sequence[str]) -> tuple[str, ...]:
    """Words of an option that may be given several times, each separated by commas."""
    return tuple(word for text in texts for part in text.split(",") if (word := part.strip()))


def image_names(texts: Sequence[str]) -> tuple[str, ...]:
    """Names of images: separated by commas, or listed in a file after ``@``."""
    from deft.data.faults import Faults, refuse
    from deft.data.layouts.name_lists import read_names

    faults = Faults()
    found: list[str] = []
    for text in texts:
        if text.startswith("@"):
            found += [name for _, name in read_names(Path(text[1:]).expanduser(), faults)]
        else:
            found += separated([text])
    refuse(faults.all, "--only")
    return tuple(found)
