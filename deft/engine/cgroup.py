"""Limits of a container or a batch job on processors and memory, as Linux keeps them in files of control groups.

A process belongs to a group, and the limits of all groups above it apply too. Both versions of control groups are read.
Where there are none (macOS, Windows, a machine that hides them) nothing is limited.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_UNLIMITED = 2**60
"""Version 1 has no word for no limit, but a number near the largest one."""


@dataclass(frozen=True)
class MemoryLimit:
    """Memory that a group may use."""

    limit: int
    """Bytes."""
    used: int
    """Bytes in use, without what the system can drop at any time."""


def processor_quota() -> float | None:
    """Processor time that a group may use, in cores; None if it is not limited."""
    found = []
    for folder in _groups("cpu"):
        words = _text(folder / "cpu.max").split() or [_text(folder / f"cpu.cfs_{n}_us") for n in ("quota", "period")]
        numbers = [number for word in words if (number := _number(word))]
        if len(numbers) == 2:  # the quota is the word max, or -1, where there is none
            found.append(numbers[0] / numbers[1])
    return min(found, default=None)


def memory_limit() -> MemoryLimit | None:
    """The limit on memory that leaves least; None if it is not limited."""
    found = []
    for folder in _groups("memory"):
        for limit, used, dropped in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most = _number(_text(folder / limit))
            if most is not None and most < _UNLIMITED:
                now = _number(_text(folder / used)) or 0
                statistics = dict(line.split(maxsplit=1) for line in _lines(folder / "memory.stat") if " " in line)
                found.append(MemoryLimit(most, max(0, now - (_number(statistics.get(dropped, "")) or 0))))
    return min(found, key=lambda one: one.limit - one.used, default=None)


def _groups(controller: str) -> Iterator[Path]:
    """Folders of this process's group and of those above it, nearest first."""
    for line in _lines(_OWN):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            bases = [_ROOT, _ROOT / "unified"]
        elif controller in controllers.split(","):
            bases = [_ROOT / controllers, _ROOT / controller]
        else:
            continue
        for base in bases:
            own = base / path.lstrip("/")  # not there within some containers, which see their own group at the top
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(base))


def _lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text(errors="replace").splitlines()
    return []


def _text(path: Path) -> str:
    return "".join(_lines(path)[:1])


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None
