"""All stages from Python on the embedded dataset: from tags to masks and a network.

python examples/quickstart.py
python examples/quickstart.py --data demo:bias=0.5,train=200 classifier.plan.min_steps=100

Without arguments it takes as long as one of the two runs of ``make demo``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import deft
from deft import recipes
from deft.settings import assign


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, write the report, and segment an image without tags."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--data", default="demo:", help="KIND:PATH, as for deft run")
    reader.add_argument("--out", type=Path, default=Path("runs/quickstart"))
    reader.add_argument("settings", nargs="*", metavar="FIELD=VALUE", help="fields of the recipe, as for --set")
    given = reader.parse_intermixed_args(arguments)

    # A recipe is a function that returns settings; nothing runs yet. assign() checks the type of each value.
    pipeline = assign(recipes.demo(), given.settings)

    # All stages. Stored results are not recomputed, so that an interrupted run resumes.
    page = deft.run(pipeline, given.data, given.out, name="demo")
    print(f"look at {page}")

    # The trained network has its classes stored and needs no tags.
    predictor = deft.load(given.out)
    print(f"it knows {', '.join(predictor.classes)}")

    held_out = deft.open_data(given.data).val
    if held_out is not None:
        sample = held_out[0]
        found = predictor.predict(sample.image)
        there = [held_out.classes[k] for k in sample.labels.nonzero()[0]]
        print(f"{sample.name} shows {', '.join(there)}; found: {', '.join(found.found) or 'nothing'}")


if __name__ == "__main__":
    main()
