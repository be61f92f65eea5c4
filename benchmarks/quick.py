"""``deft quick`` on photographs with masks: seconds, mIoU and memory of a first answer, and of those after it.

    python benchmarks/quick.py --data voc:PATH --weights FOLDER

Each answer is a ``deft quick`` command in a process of its own. The first looks at all photographs; the second is asked
with another tag on one of them; before the third, the masks of ten training images are corrected by their true masks.
The page of ``deft review`` asks for the others, of a process that has begun before, with its imports behind it: one
after ten more corrections, and one after a change of tags. Their seconds are those until the new masks are there; where
tags change these are the pseudo-masks, and the network's come later.
``--beside RUN`` adds the scores of finished runs of trained networks on the same data. Seconds are of the wall clock,
and the load beside them is the average of the minute before the command: measure on a quiet machine.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deft.artifacts import read_json, write_json
from deft.artifacts.journal import UNREVIEWED
from deft.artifacts.review import CORRECTED, Decision, Review
from deft.data import open_data
from deft.engine.corrections import Corrections, is_held_out
from deft.runner.quick import answers
from deft.studies.origin import commit, machine, versions

STAGES = ("features", "classifier", "seeds", "seeds/val", "refined", "masks", "segment", "predictions")
NETWORK, WHOLE = "network's masks", "whole"
"""Columns of the seconds until the network has made its masks, and until an answer is scored and its page is drawn."""
CORRECTIONS = 10
SCORES = {
    "seeds": ("train", "seeds", "used", "miou"),
    "best seeds": ("train", "seeds", "swept", "miou"),
    "masks": ("train", "masks", "used", "miou"),
    "best masks": ("train", "masks", "swept", "miou"),
    "network, held out": ("val", "segmentation", "miou"),
}
"""Columns, and where their numbers are in ``scores.json``."""


def main() -> None:
    given = arguments()
    rows: list[dict[str, Any]] = []
    for recipe in given.recipes:
        out = given.out / recipe
        shutil.rmtree(out, ignore_errors=True)
        rows.append({"recipe": recipe, "what": "first answer", **ask(given, recipe, given.data, out)})
        if given.data.startswith("voc:"):
            changed = other_tags(Path(given.data.removeprefix("voc:")), given.out / "photographs")
            rows.append({"recipe": recipe, "what": "another tag", **ask(given, recipe, f"voc:{changed}", out)})
            data = f"voc:{changed}"
        else:
            data = given.data
        correct(answers(out)[-1], data)
        rows.append({"recipe": recipe, "what": f"{CORRECTIONS} corrections", **ask(given, recipe, data, out)})
        correct(answers(out)[-1], data, skip=CORRECTIONS)
        more = on_the_page(answers(out)[-1], data)
        rows.append({"recipe": recipe, "what": f"{CORRECTIONS} more, on the page", **more})
        retag(answers(out)[-1], data)
        rows.append({"recipe": recipe, "what": "tags, on the page", **on_the_page(answers(out)[-1], data)})
    rows += [{"recipe": read_json(run / "run.json")["recipe"], "what": "trained", **known(run)} for run in given.beside]
    record = {
        "command": f"python benchmarks/quick.py --data {given.data.partition(':')[0]}:PATH --backbone {given.backbone}",
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "settings": given.set,
        "rows": rows,
    }
    write_json(given.publish.with_suffix(".json"), record)
    given.publish.with_suffix(".md").write_text(page(record), encoding="utf-8")
    print(page(record))


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of the command."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", required=True, help="voc:PATH of MSRC, or other data with masks")
    reader.add_argument("--weights", required=True, help="folder of the backbones' weights, or a file")
    reader.add_argument("--backbone", default="tf_efficientnet_lite0")
    reader.add_argument("--recipes", nargs="+", default=["frozen", "frozen_deft"], choices=["frozen", "frozen_deft"])
    reader.add_argument("--beside", type=Path, nargs="*", default=[], help="finished runs to compare with")
    reader.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    reader.add_argument("--out", type=Path, default=Path("runs/quick-benchmark"), help="made anew by every command")
    reader.add_argument("--publish", type=Path, default=Path(__file__), help="where .md and .json are written")
    return reader.parse_args(words)


def ask(given: argparse.Namespace, recipe: str, data: str, out: Path) -> dict[str, Any]:
    """Run a command, and tell what it took and found."""
    words = [sys.executable, "-m", "deft", "quick", data, "--out", str(out)]
    words += [
        "--backbone",
        given.backbone,
        "--weights",
        given.weights,
        "--deft" if recipe == "frozen_deft" else "--no-deft",
    ]
    words += [word for item in given.set for word in ("--set", item)]
    before = {run: stages(run) for run in answers(out)}
    load, begin = os.getloadavg()[0], time.monotonic()
    process = subprocess.Popen(words)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - begin
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    run = answers(out)[-1]
    taken = {name: record["seconds"] for name, record in stages(run).items() if record != before.get(run, {}).get(name)}
    if len(answers(out)) > 1 and run not in before:  # what was taken over has the seconds of the answer before
        last = stages(answers(out)[-2])
        taken = {name: value for name, value in taken.items() if stages(run)[name]["key"] != last[name]["key"]}
    return {
        "seconds": round(seconds, 1),
        "processor seconds": round(used.ru_utime + used.ru_stime, 1),
        "load before": round(load, 2),
        "peak MB": round(used.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)),
        "stages": taken | {WHOLE: seconds},
        **known(run),
    }


def on_the_page(run: Path, data: str) -> dict[str, Any]:
    """Ask for a round as the page does; the process is ready before it is asked."""
    words = [sys.executable, "-c", f"from deft.review.learner import main; main({os.fspath(run)!r})"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"ready": True}
    used, load = cpu_seconds(process.pid), os.getloadavg()[0]
    before, begin = stages(run), time.monotonic()
    there: dict[str, float] = {}
    process.stdin.write(json.dumps({"run": os.fspath(run), "data": data}) + "\n")
    process.stdin.flush()
    for line in process.stdout:
        said = json.loads(line)
        there.setdefault(said.get("stage"), time.monotonic() - begin)
        if "error" in said:
            raise SystemExit(said["error"])
        if "learned" in said:
            break
    whole, taken = time.monotonic() - begin, cpu_seconds(process.pid) - used
    process.stdin.close()
    process.wait()
    return {
        "seconds": round(there["segment" if "masks" in there else "scores"], 1),
        "processor seconds": round(taken, 1),
        "load before": round(load, 2),
        "peak MB": "–",
        "stages": {
            **{name: each["seconds"] for name, each in stages(run).items() if each != before.get(name)},
            NETWORK: there["scores"],
            WHOLE: whole,
        },
        **known(run),
    }


def cpu_seconds(process: int) -> float:
    """Seconds of processor time that a process has taken; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stages(run: Path) -> dict[str, dict[str, Any]]:
    """Key and seconds of each finished stage of a run."""
    records = {name: run / name / "stage.json" for name in STAGES}
    found = {name: read_json(path) for name, path in records.items() if path.exists()}
    return {name: {"key": each["key"], "seconds": each["seconds"]} for name, each in found.items()}


def known(run: Path) -> dict[str, Any]:
    """The scores of a run, in [0, 1], and the size of its features in MB."""
    scores = read_json(run / "scores.json")
    found: dict[str, Any] = {}
    for name, place in SCORES.items():
        value: Any = scores
        for part in place:
            value = value.get(part) if isinstance(value, dict) else None
        found[name] = value
    files = list((run / "features").glob("*.safetensors"))
    return {"scores": found, "features MB": round(sum(path.stat().st_size for path in files) / 1e6)}


def other_tags(data: Path, folder: Path) -> Path:
    """A VOC folder with links to the photographs of another, and one tag less."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for item in data.iterdir():
        if item.name != "image_labels.csv":
            (folder / item.name).symlink_to(item.resolve())
    train = set((data / "ImageSets" / "Segmentation" / "train.txt").read_text().split())
    with (data / "image_labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    row = next(row for row in rows[1:] if row[0] in train and len(row[1].split()) > 1)
    row[1] = row[1].split()[0]
    with (folder / "image_labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder


def correct(run: Path, data: str, skip: int = 0) -> None:
    """Correct the masks of some training images by the truth; others than the first ``skip`` ones."""
    train = open_data(data).train
    scored = [index for index in range(len(train)) if train.scored[index]]
    chosen = scored[skip // CORRECTIONS :: max(1, len(scored) // CORRECTIONS)][:CORRECTIONS]
    decisions = [Decision(train.names[index], CORRECTED, train[index].mask) for index in chosen]
    Review(run, train.classes).write_all(decisions)


def retag(run: Path, data: str) -> None:
    """Take one tag away from a training image with several, as on the page."""
    train, share = open_data(data).train, Corrections().held_out
    review = Review(run, train.classes)
    known = review.read()
    for name, row in zip(train.names, train.labels, strict=True):
        if row.sum() > 1 and name not in known and not is_held_out(name, share):
            tags = tuple(train.classes[k] for k in row.nonzero()[0][1:])
            review.step(Decision(name, UNREVIEWED, tags=tags), review.journal(name).revision)
            return
    raise SystemExit("expected a training image with two tags that was not reviewed")


def page(record: dict[str, Any]) -> str:
    """The tables."""
    lines = ["# Masks while you wait", "", *(f"- {key}: {record[key]}" for key in ("command", "commit", "machine"))]
    lines += [f"- versions: {record['versions']}", f"- settings: {' '.join(record['settings']) or 'the defaults'}", ""]
    measured = ("seconds", "processor seconds", "load before", "peak MB", "features MB")
    lines += [
        f"| recipe | answer | {' | '.join([*measured, *SCORES])} |",
        "|---|---|" + "---|" * (len(measured) + len(SCORES)),
    ]
    for row in record["rows"]:
        scores = ["–" if row["scores"][name] is None else f"{100 * row['scores'][name]:.1f}" for name in SCORES]
        values = [str(row.get(column, "–")) for column in measured]
        lines.append(f"| `{row['recipe']}` | {row['what']} | {' | '.join([*values, *scores])} |")
    lines += [
        "",
        "mIoU in per cent, with background: of seeds and masks on the training images, at the thresholds that",
        "the run chose and at the best one; of the network on the held-out images.",
        "",
        "Seconds of each stage; stages without any are those of the answer before:",
        "",
    ]
    columns = (*STAGES, NETWORK, WHOLE)
    lines += [f"| recipe | answer | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for row in record["rows"]:
        if "stages" in row:
            values = [f"{row['stages'][name]:.1f}" if name in row["stages"] else "–" for name in columns]
            lines.append(f"| `{row['recipe']}` | {row['what']} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
