"""Peak memory of the commands on photographs of 24 and 79 megapixels: ``python benchmarks/memory.py``.

    python benchmarks/memory.py --photographs 8
    python benchmarks/memory.py --photographs 4 --only "--memory 3"

Makes synthetic JPEGs of 6000 x 4000 pixels (smoothed noise with coloured rectangles, which are the objects) and one PNG
of 10240 x 7680 among them, each with its ground truth. Then every command runs in a process of its own under
``/usr/bin/time -v``, which tells its peak resident memory; where there is none, ``getrusage`` of the child does, which
on Linux is at least the memory of this script. The trainings have few steps: memory depends not on their number, but
on the batch and on the crops, whose side follows from ``--max-side``. One run is at the default side, with ``--memory
3``, so that its batches are computed in parts, and with pretrained weights from a package. Writes
``benchmarks/memory.md`` and ``benchmarks/memory.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import commit, machine, versions
from numpy.typing import NDArray
from PIL import Image

from deft.data.images import read_image, read_scaled

HERE = Path(__file__).parent
TIME = Path("/usr/bin/time")
PACKAGED = "tf_efficientnet_lite0"
"""A network whose pretrained weights are a package."""
CLASSES = ("red", "blue")
COLOURS = ((200, 40, 40), (40, 60, 210))
SIZE, LARGEST = (4000, 6000), (7680, 10240)
"""(H, W) of the JPEGs, and of the PNG."""
DIVIDED = re.compile(r": (\d+ of \d+ images|one image) at a time")
"""What a training says of batches that it computes in parts."""
LIMIT = 3.0
"""GB that no command may exceed."""
SHORT = (
    *("classifier.plan.epochs=2", "classifier.plan.min_steps=2", "classifier.plan.batch=4"),
    "classifier.head.swap_epoch=1",
    *("refine.plan.epochs=1", "refine.plan.min_steps=1", "refine.plan.batch=4"),
    *("segment.plan.epochs=1", "segment.plan.min_steps=1", "segment.plan.batch=4"),
    *("refine.labels.fg=0.02", "refine.labels.bg=0.01"),  # maps that have learned little
)


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--photographs", type=int, default=8)
    reader.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), default=SIZE, help="of the JPEGs")
    reader.add_argument("--largest", type=int, nargs=2, metavar=("H", "W"), default=LARGEST, help="of the PNG")
    reader.add_argument("--backbone", default="mobilenetv2_100")
    reader.add_argument("--max-side", type=int, default=512, help="of the run")
    reader.add_argument("--set", action="append", default=[], help="further settings of the run")
    reader.add_argument("--write", type=Path, default=HERE / "memory", help="the page, without suffix")
    reader.add_argument("--only", default="", help="measure rows with this in their command, and keep the others")
    given = reader.parse_args()
    path = given.write.with_suffix(".json")
    kept = json.loads(path.read_text(encoding="utf-8")) if given.only else {}
    stored = {row["command"]: row for row in kept.get("rows", [])}
    made_by = {"photographs": given.photographs, "commit": commit()}
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "photographs", Path(folder) / "results"
        photographs(data, given.photographs, tuple(given.size), tuple(given.largest))
        settings = [word for each in (*SHORT, *given.set) for word in ("--set", each)]
        run = ["run", "irn_deft", "--data", f"folder:{data}", "--out", str(out / "run"), *settings]
        new = [str(out / "run"), str(data / "images")]
        bounded = ["run", "irn_deft", "--data", f"folder:{data}", "--out", str(out / "bounded"), *settings]
        commands = {
            "deft check": ["check", f"folder:{data}"],
            f"deft run irn_deft --max-side {given.max_side}": [
                *(*run, "--backbone", given.backbone, "--weights", "none", "--max-side", str(given.max_side))
            ],
            "deft run irn_deft --memory 3": [
                *(*bounded, "--backbone", PACKAGED, "--weights", "package", "--memory", "3")
            ],
            "deft predict": ["predict", *new, "--out", str(out / "masks")],
            "deft predict --max-side 1024": ["predict", *new, "--out", str(out / "larger"), "--max-side", "1024"],
            "deft seeds --max-side 1024": ["seeds", *new, "--out", str(out / "seeds"), "--max-side", "1024"],
        }
        decoded = kept.get("decoded_small") or [difference(data / "images" / "000.jpg", side) for side in (512, 1024)]
        rows = []
        for name, words in commands.items():
            if given.only in name:
                network = PACKAGED if PACKAGED in words else given.backbone
                stored[name] = {"command": name, "backbone": network, **made_by, **measured(words)}
            if name in stored:
                rows.append(stored[name])
    record = {
        "size": list(given.size),
        "largest": list(given.largest),
        "versions": versions(),
        "machine": machine(torch.device("cpu")),
        "measured_with": f"{TIME} -v" if TIME.exists() else "getrusage of the child",
        "rows": rows,
        "decoded_small": decoded,
    }
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    given.write.with_suffix(".md").write_text(page(record), encoding="utf-8")
    print(page(record))
    return int(any(row["peak_gb"] > LIMIT or row["exit_code"] for row in rows))


def photographs(folder: Path, count: int, size: tuple[int, int], largest: tuple[int, int]) -> None:
    """A dataset in the layout ``folder:``, with masks; the last photograph is the PNG."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    rows = ["image,labels"]
    for index in range(count):
        rng = np.random.default_rng(index)
        last = index == count - 1
        pixels, mask = photograph(largest if last else size, index % len(CLASSES), rng)
        name = f"{index:03d}.{'png' if last else 'jpg'}"
        picture = Image.fromarray(pixels)
        if last:
            picture.save(folder / "images" / name, compress_level=1)
        else:
            picture.save(folder / "images" / name, quality=92)
        Image.fromarray(mask).save(folder / "masks" / f"{index:03d}.png")
        rows.append(f"{name},{CLASSES[index % len(CLASSES)]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


def photograph(
    size: tuple[int, int], kind: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Smoothed noise with a rectangle of a class's colour, and its mask."""
    height, width = size
    coarse = Image.fromarray(rng.integers(60, 200, (24, 36, 3), dtype=np.uint8))
    pixels = np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))
    top, left = int(rng.integers(height // 8, height // 2)), int(rng.integers(width // 8, width // 2))
    inside = slice(top, top + height // 3), slice(left, left + width // 3)
    pixels[inside] = pixels[inside] // 4 + np.array(COLOURS[kind], dtype=np.uint8) // 4 * 3
    grain = rng.integers(0, 8, (64, width, 1), dtype=np.uint8)
    for row in range(0, height, 64):
        pixels[row : row + 64] += grain[: height - row]
    mask = np.zeros(size, dtype=np.uint8)
    mask[inside] = kind + 1
    return pixels, mask


def difference(path: Path, side: int) -> dict[str, float]:
    """How far a JPEG decoded small is from the whole one resized, in grey levels."""
    small = read_scaled(path, side).pixels
    whole = np.asarray(Image.fromarray(read_image(path)).resize(small.shape[1::-1], Image.Resampling.BICUBIC))
    away = np.abs(small.astype(int) - whole.astype(int))
    return {"side": side, "mean": round(float(away.mean()), 3), "most": int(away.max())}


def measured(words: Sequence[str]) -> dict[str, Any]:
    """Exit code, seconds and peak memory in GB of one command."""
    command = [sys.executable, "-m", "deft", *words]
    start = time.monotonic()
    with tempfile.NamedTemporaryFile("r") as told, tempfile.TemporaryFile("w+") as said:
        if TIME.exists():
            command = [str(TIME), "-v", "-o", told.name, *command]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        found = re.search(r"Maximum resident set size \(kbytes\): (\d+)", told.read())
        said.seek(0)
        words_said = said.read()
        if process.returncode:
            print(words_said[-2000:], file=sys.stderr)
    unit = 1 if sys.platform == "darwin" else 1024
    peak = int(found[1]) * 1024 if found else used.ru_maxrss * unit
    seconds = round(time.monotonic() - start, 1)
    divided = [line.strip() for line in re.split(r"[\r\n]", words_said) if DIVIDED.search(line)]
    return {
        "exit_code": process.returncode,
        "seconds": seconds,
        "peak_gb": round(peak / 1e9, 2),
        **({"divided": divided} if divided else {}),
    }


def page(record: dict[str, Any]) -> str:
    """The table in Markdown."""
    height, width = record["size"]
    high, wide = record["largest"]
    small = record["decoded_small"]
    lines = [
        "# Memory",
        "",
        f"Peak resident memory of each command on photographs: JPEGs of {width} x {height} pixels and a PNG of {wide} "
        f"x {high}, each with ground truth of its size. Trainings have one or two steps with batches of 4. Measured "
        f"with `{record['measured_with']}` by `python benchmarks/memory.py`.",
        "",
        "| command | peak memory, GB | seconds | photographs | network | commit |",
        "|---|---:|---:|---:|---|---|",
        *(
            f"| `{row['command']}` | {row['peak_gb']:.2f} | {row['seconds']:.0f} | {row['photographs']} | "
            f"{row['backbone']} | {row['commit']} |"
            for row in record["rows"]
        ),
        "",
        *(line for row in record["rows"] if "divided" in row for line in said_of(row)),
        "A JPEG that is decoded small differs from the whole one resized, in grey levels of 255: "
        + "; ".join(f"{one['mean']} on average and {one['most']} at most at {one['side']} pixels" for one in small)
        + ".",
        "",
        "Seconds are those of a machine that did other work at the same time; only memory is compared.",
        "",
        f"{'; '.join(f'{name} {value}' for name, value in record['versions'].items())}.  ",
        f"{'; '.join(f'{name}: {value}' for name, value in record['machine'].items())}.",
        "",
    ]
    return "\n".join(lines)


def said_of(row: dict[str, Any]) -> list[str]:
    """What the trainings of a command said of their batches, as a list in Markdown."""
    return [f"`{row['command']}` said of its batches:", "", *(f"- {line}" for line in row["divided"]), ""]


if __name__ == "__main__":
    raise SystemExit(main())
