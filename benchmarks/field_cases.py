"""Whether inputs that people had trouble with, and hostile ones, end as they have to.

    python benchmarks/field_cases.py
    python benchmarks/field_cases.py --only commas     the groups with this word in their names

Every input is made here: `benchmarks/field/` has them, each with its right outcome: the right tags, masks or pixels, or
one fault with given words and the right exit code; and no file of the user's may have changed. Groups that are named
after a tracker have what was reported there, and more of its kind. Cases of runs copy one short run, or make their
own; they look at which stages were made again, whether files are those of an undisturbed run, and at peak memory. What
cannot be tried on a machine (another user, mounts of one's own, limited memory) is listed as open, with the reason.
Writes `benchmarks/field_cases.json` and `.md`. The exit code is 1 if anything is not right.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import warnings
from pathlib import Path

from field import attacks, hostile, large, odd_pictures, places, stored, trackers, trainings
from field.case import Case, NotHere, outcome

from deft.studies.origin import commit, machine

PARTS = (trackers, hostile, odd_pictures, attacks, places, stored, trainings, large)
CASES: list[Case] = [case for part in PARTS for case in part.CASES]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="groups with this word in their names")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    groups: dict[str, list[dict[str, str]]] = {}
    with tempfile.TemporaryDirectory(prefix="deft-cases-") as place:
        Path(place).chmod(0o755)  # some commands are those of another user
        for number, case in enumerate(CASES):
            if given.only not in case.group:
                continue
            wrong = lacking = ""
            try:
                wrong = outcome(case, Path(place) / f"{number}" / "data").replace(place, "PATH")
            except NotHere as reason:
                lacking = str(reason)
            groups.setdefault(case.group, []).append({"case": case.name, "wrong": wrong, "open": lacking})
            if wrong:
                print(f"{case.group}, {case.name}: {wrong}", flush=True)
    lines = _page(groups)
    print("\n".join(lines))
    if not given.only:
        target = Path(__file__).with_suffix(".json")
        target.write_text(json.dumps(groups, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
        explained = (__doc__ or "").split("\n\n")[2].rpartition("\nWrites ")[0]
        facts = [
            "- command: `python benchmarks/field_cases.py`",
            f"- commit: {commit()}",
            f"- machine: {machine()}, Python {platform.python_version()} on {platform.system()}",
        ]
        head = ["# Field cases", "", *facts, "", explained, ""]
        target.with_suffix(".md").write_text("\n".join([*head, *lines, ""]), encoding="utf-8")
    return 1 if any(row["wrong"] for rows in groups.values() for row in rows) else 0


def _page(groups: dict[str, list[dict[str, str]]]) -> list[str]:
    """The table, and what is not right."""
    rows = ["| group | right | tried | open |", "|---|---|---|---|"]
    totals = [0, 0, 0]
    for name, cases in groups.items():
        tried = [case for case in cases if not case["open"]]
        numbers = [sum(not case["wrong"] for case in tried), len(tried), len(cases) - len(tried)]
        totals = [total + number for total, number in zip(totals, numbers, strict=True)]
        rows.append(f"| {name} | {numbers[0]} | {numbers[1]} | {numbers[2] or ''} |".replace("<", "&lt;"))
    rows.append(f"| all | {totals[0]} | {totals[1]} | {totals[2]} |")
    wrong = [
        f"- {name}, {case['case']}: {case['wrong'][:300]!r}"
        for name, cases in groups.items()
        for case in cases
        if case["wrong"]
    ]
    reasons = dict.fromkeys(
        f"- {name}: {case['open']}" for name, cases in groups.items() for case in cases if case["open"]
    )
    return [
        *rows,
        *(["", "Not right yet:", "", *wrong] if wrong else []),
        *(["", "Open:", "", *reasons] if reasons else []),
    ]


if __name__ == "__main__":
    sys.exit(main())
