"""Where DEFT loses on top of other augmentations: in its reading, in its scores, or in its attention.

    python benchmarks/twins.py --data voc:PATH --runs runs/mobilenetv2_100 --backbone mobilenetv2_100

The runs are those of ``benchmarks/studies.py augmentations``, seed 0. Maps of the training images are read as the score
of the object alone, as that of the background alone and as Eq. 7, each at its best threshold; the attentions are
measured as in ``mechanism.py``. Writes ``twins.json`` to ``benchmarks/msrc/BACKBONE/``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mechanism import attention
from readings import measure

from deft.artifacts import read_json, write_json
from deft.classify.classifier import load_classifier
from deft.classify.deft import DeftModule
from deft.data import open_data
from deft.settings import restore
from deft.studies.origin import commit, machine

BASES = ("irn", "cutout", "mixup", "manifold_mixup", "cutmix", "hide_and_seek")
OBJECT = {"DEFT": "f_fg, positive part of the sum", "plain CAM": "plain CAM, positive part of the sum"}
BACKGROUND, BOTH = "f_bg alone, stretched, power 2", "Eq. 7, stretched, power 2 (`Eq7`, the default)"
EVERY = 3


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", required=True, help="voc:PATH of MSRC")
    reader.add_argument("--runs", type=Path, required=True, help="the folder of the studies' runs of this backbone")
    reader.add_argument("--backbone", default="mobilenetv2_100")
    given = reader.parse_args()
    train = open_data(given.data).train
    found: dict[str, Any] = {}
    for base in BASES:
        for system in (base, f"{base}_deft"):
            folder = run_of(given.runs / "runs" / "0", system)
            if folder is None:
                print(f"no run of {system}: left out", flush=True)
                continue
            best = {name: one["best"][1] for name, one in measure(folder, "train", train, EVERY)[1]["readings"].items()}
            network = load_classifier(
                folder / "classifier" / "model.safetensors",
                restore(read_json(folder / "run.json")["settings"]).own_classifier.head,
            )
            if isinstance(network.head, DeftModule):
                found[system] = {"f_fg": best[OBJECT["DEFT"]], "f_bg": best[BACKGROUND], "Eq. 7": best[BOTH]}
                found[system] |= attention(network, train, EVERY)
            else:
                found[system] = {"CAM": best[OBJECT["plain CAM"]]}
            print(f"read {system}", flush=True)
    facts = {
        "command": f"`python benchmarks/twins.py --backbone {given.backbone}`",
        "commit": commit(),
        "machine": machine(),
        "photographs": f"every {EVERY}rd of train",
    }
    write_json(Path(__file__).parent / "msrc" / given.backbone / "twins.json", {"facts": facts, "found": found})


def run_of(folder: Path, system: str) -> Path | None:
    """A finished run of a system; all of its runs have the same classifier."""
    runs = sorted(path.parent for path in folder.glob(f"{system}-????????/study.json"))
    return runs[-1] if runs else None


if __name__ == "__main__":
    main()
