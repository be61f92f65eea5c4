"""Whether two run folders hold the same results, file by file: what a change that only moves code has to show.

    python benchmarks/same.py runs/before runs/after

Files of different bytes are decoded, because they may contain the key of the run, and compared bit by bit: tensors,
arrays, pixels, and JSON without keys, seconds and versions. The page and the lock are left out. Exits with 1 if
anything differs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open

LEFT_OUT = ("lock", "report.html")
NOT_RESULTS = ("key", "made_by", "made_of", "seconds", "versions")


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("before", type=Path)
    reader.add_argument("after", type=Path)
    given = reader.parse_args()
    before, after = files_of(given.before), files_of(given.after)
    different = sorted(before ^ after)
    equal = decoded = 0
    for name in sorted(before & after):
        one, other = given.before / name, given.after / name
        if one.read_bytes() == other.read_bytes():
            equal += 1
        elif same_content(one, other):
            decoded += 1
        else:
            different.append(name)
    print(f"{equal} files of equal bytes, {decoded} of equal content, {len(different)} different")
    print("\n".join(different[:20]))
    return 1 if different else 0


def files_of(folder: Path) -> set[str]:
    """Names of the files below a folder that hold results."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if Path(name).name not in LEFT_OUT}


def same_content(one: Path, other: Path) -> bool:
    """Whether two files of different bytes hold the same result."""
    if one.suffix == ".json":
        return bool(result(json.loads(one.read_text())) == result(json.loads(other.read_text())))
    if one.suffix == ".png":
        return np.array_equal(np.array(Image.open(one)), np.array(Image.open(other)))
    if one.suffix == ".npz":
        with np.load(one) as first, np.load(other) as second:
            names = set(first.files) - set(NOT_RESULTS)
            return names == set(second.files) - set(NOT_RESULTS) and all(
                np.array_equal(first[name], second[name]) for name in names
            )
    if one.suffix == ".safetensors":
        with safe_open(one, "np") as first, safe_open(other, "np") as second:
            return set(first.keys()) == set(second.keys()) and all(
                np.array_equal(first.get_tensor(name), second.get_tensor(name))
                for name in first.keys()  # noqa: SIM118 (not a mapping)
            )
    return False


def result(value: Any) -> Any:
    """A JSON value without what may differ between two runs of the same result."""
    if isinstance(value, dict):
        return {key: result(item) for key, item in value.items() if key not in NOT_RESULTS}
    return [result(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    raise SystemExit(main())
