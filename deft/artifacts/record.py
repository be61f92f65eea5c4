"""The records of a run and its stages, checked: whoever has edited them is told what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deft.artifacts.expected import read_expected
from deft.artifacts.folder import read_run
from deft.contracts import InputError
from deft.guards.words import shown

_KINDS = {
    "recipe": str,
    "settings": dict,
    "data": dict,
    "data.given": str,
    "data.images": int,
    "data.held out": int,
    "data.classes": list,
}
_WORDS = {str: "text", dict: "an object", int: "a whole number", list: "a list of names"}


def run_record(folder: Path, *needed: str) -> dict[str, Any]:
    """The record of a run with the entries that a command needs.

    Args:
        folder: of the run.
        needed: dotted names of entries; all that there are, if none is given.

    Raises:
        InputError: the folder holds no run, or its record lacks an entry or has one of another type.
    """
    record = read_run(folder)
    where = shown(folder / "run.json")
    remedy = "restore the file, or repeat the deft run command in a new folder"
    for name in needed or _KINDS:
        value: Any = record
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                raise InputError(f"{where}: expected the record of a run, found no entry {name!r} in it; {remedy}")
            value = value[part]
        kind = _KINDS[name]
        right = isinstance(value, kind) and not isinstance(value, bool)
        if not right or (kind is list and not all(isinstance(item, str) for item in value)):
            raise InputError(f"{where}: expected {name!r} to be {_WORDS[kind]}, got {str(value)[:60]!r}; {remedy}")
    return record


def stage_key(path: Path) -> str:
    """The key in the record of a stage, ``stage.json``.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    record = read_expected(path, {"key": str}, "repeat the deft run command, which makes the stage again")
    return str(record["key"])
