"""How many inputs each reader has met, over all starts of ``python -m fuzz``: ``benchmarks/fuzz.json``."""

from __future__ import annotations

import json
import platform
import threading
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deft.artifacts import write_json
from fuzz.watch import Outcome

KINDS = {"traceback": "tracebacks", "hang": "hangs", "memory": "memory", "crash": "crashes"}
_MOST = 50
"""Failing inputs of a reader whose numbers are kept."""


class Counts:
    """The table, written after each part; used by several threads."""

    def __init__(self, path: Path, shares: Mapping[str, float], afresh: bool = False) -> None:
        """Read the table, or begin one.

        Args:
            path: its file.
            shares: how many inputs each reader gets for one of another.
            afresh: begin a new one.
        """
        self._path, self._shares = path, shares
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        known: dict[str, Any] = json.loads(path.read_text()) if path.exists() and not afresh else {}
        self.readers: dict[str, dict[str, Any]] = known.get("readers", {})
        for name in shares:
            self.readers.setdefault(name, _nothing())

    def take(self, names: list[str]) -> tuple[str, int]:
        """The reader with the fewest inputs for its share that nobody works on, and the number of its next input."""
        with self._lock:
            free = [name for name in names if name not in self._busy]
            name = min(free, key=lambda name: (self.readers[name]["inputs"] / self._shares[name], names.index(name)))
            self._busy.add(name)
            return name, self.readers[name]["next"]

    def add(self, name: str, found: Outcome, guided: bool = False) -> None:
        """Add the outcome of some inputs, and write the table."""
        with self._lock:
            self._busy.discard(name)
            row = self.readers[name]
            row["inputs"] += found.inputs
            row["accepted"] += found.accepted
            row["seconds"] = round(row["seconds"] + found.seconds, 2)
            if guided:
                row["guided"] += found.inputs
            else:
                row["next"] = found.next
            for failure in found.failures:
                row[KINDS[str(failure["kind"])]] += 1
                if len(row["failing"]) < _MOST and not guided:
                    row["failing"].append(failure)
            self._write()

    def mended(self, name: str, number: int) -> None:
        """An input that failed is read or refused by now."""
        with self._lock:
            row = self.readers[name]
            row["failing"] = [failure for failure in row["failing"] if failure["number"] != number]
            row["mended"] += 1
            self._write()

    @property
    def total(self) -> int:
        """Inputs of all readers."""
        return sum(row["inputs"] for row in self.readers.values())

    def lines(self) -> list[str]:
        """The table as text."""
        head = f"{'reader':12} {'inputs':>9} {'read':>9} {'seconds':>9} {'failures':>9} {'mended':>7}"
        rows = [
            f"{name:12} {row['inputs']:9,} {row['accepted']:9,} {row['seconds']:9.0f} "
            f"{sum(row[kind] for kind in KINDS.values()):9} {row['mended']:7}"
            for name, row in self.readers.items()
        ]
        return [head, *rows, f"{self.total:,} inputs"]

    def _write(self) -> None:
        system = {"python": platform.python_version(), "system": platform.system()}
        packages = {name: version(name) for name in ("hypothesis", "Pillow", "numpy", "torch")}
        table = {"inputs": self.total, **system, "versions": packages, "readers": self.readers}
        write_json(self._path, table)


def _nothing() -> dict[str, Any]:
    numbers = ("inputs", "guided", "accepted", *KINDS.values(), "mended")
    return {**dict.fromkeys(numbers, 0), "seconds": 0.0, "next": 1, "failing": []}
