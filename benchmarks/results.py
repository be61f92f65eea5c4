"""Draw ``docs/results.md``, its pictures and the README's table of results: ``python benchmarks/results.py``.

Every number comes from a ``.json`` that a script of this folder has written. ``tests/test_results.py`` compares the
texts with the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from results_data import BACKBONES, HERE, PLAIN, STUDIES, Json, Study, interval, read, scores
from results_pictures import pictures
from results_sections import advcam, context, costs, leaning, mechanism, readings, sampled, twins

from deft.artifacts import atomic_write
from deft.studies.outcome import NOTHING, cell
from deft.studies.score_tables import mean_and_spread

DOCS = HERE.parent / "docs"
SEEDS = 3
README = HERE.parent / "README.md"
BEGIN, END = "<!-- drawn by benchmarks/results.py -->\n", "<!-- end -->"
"""What encloses the table in the README."""


def main() -> None:
    for name, png in pictures().items():
        atomic_write(DOCS / "results" / name, png)
    (DOCS / "results.md").write_text(page())
    README.write_text(readme(README.read_text()))


def readme(text: str) -> str:
    """The README with the present table."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + headline(studies()) + "\n" + END + after


def headline(known: Mapping[str, Mapping[str, Json]]) -> str:
    """Systems without and with DEFT, at thresholds chosen alike: seeds and masks of each backbone."""
    lines: list[str] = []
    for study, what in (("localisation", "seeds"), ("augmentations", "seeds"), ("masks", "pseudo-masks")):
        results, score = known[study], next(one for one in STUDIES if one.name == study).auto
        if not lines:
            heads = [f"{name}, {part}" for name in BACKBONES.values() for part in ("alone", "with DEFT", "difference")]
            lines = [f"| | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
        names = dict.fromkeys(name for one in results.values() for name in one["found"] if not name.endswith("_deft"))
        for name in names:
            if study == "augmentations" and name == "irn":
                continue  # the row of localisation
            cells = []
            for backbone in BACKBONES:
                rows = results.get(backbone, {}).get("found", {})
                alone, twin = rows.get(name, {}), rows.get(f"{name}_deft", {})
                found = twin.get("against", {}).get(name)
                cells += [cell(scores(alone, score)), cell(scores(twin, score)), interval(found) if found else NOTHING]
            lines.append(f"| `{name}`, {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def page() -> str:
    """The page, in Markdown."""
    known = studies()
    parts = [INTRODUCTION.strip().replace("{data}", data(known)), claims(known)]
    for study in STUDIES:
        parts.append(table(study, known))
    parts += [
        advcam(),
        context(),
        leaning(),
        readings(),
        mechanism(),
        twins(),
        costs(),
        missing(known),
        NOT_RUN.strip(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def data(known: Mapping[str, Mapping[str, Json]]) -> str:
    """The numbers of photographs and classes, as the studies recorded them."""
    facts = next(one["facts"]["data"] for results in known.values() for one in results.values())
    return str(facts).partition(", ")[2]


def studies() -> dict[str, dict[str, Json]]:
    """The results of each study by backbone."""
    return {
        study.name: {backbone: found for backbone in BACKBONES if (found := study.results(backbone))}
        for study in STUDIES
    }


INTRODUCTION = """
# Results

Every system of the paper and its variant with DEFT, on real photographs, at thresholds that the runs chose themselves
without masks. The paper reports VOC 2012 with a ResNet-50; here it is MSRC with two small networks, on two CPU cores.
Compare rows with each other, not with the paper's numbers.

- **Data:** MSRC, {data}.
  It suits the question: every cow and every sheep stands on grass, and nearly every boat is on water.
- **Protocol:** the same for every row: crops of 0.7 of the typical side, at least 180 steps, three scales, equal
  batches and seeds. Settings were chosen on a third split, `test`, with MobileNetV2
  ([studies.md](studies.md#what-was-tried)).
- **Numbers** are mIoU in per cent with background, mean ± standard deviation over random seeds. The first is at the
  threshold that the run chose from its maps and photographs; in brackets, the best of 100 thresholds, chosen on the
  ground truth that scores it. Seeds and masks are of the photographs that the classifier was trained on, as
  pseudo-masks are; *held out* are the seeds of the others.
- **Differences** are between runs of the same seed, at the chosen thresholds, with a 95 % interval: a paired bootstrap
  over images and seeds. An interval that contains 0 does not tell two systems apart. With one seed it covers the images
  only, and is too narrow.
- **Source:** each table is drawn from a file in [benchmarks/](../benchmarks/README.md), which names its command, commit
  and machine and has the scores of each class; `python benchmarks/results.py` draws this page. Rows were trained by
  commits between the one that introduced automatic thresholds and the one that is named: those changed rounding, not
  methods.
"""

NOT_RUN = """
## Not run

VOC 2012, COCO, ResNet-50 and any GPU. [protocols.md](protocols.md#hours-to-expect) has the commands for VOC, and
estimates the hours of every stage and study on a GPU; AdvCAM is most of them. COCO's training split is eight times as
large as VOC's. On two CPU cores neither is feasible.
"""


def table(study: Study, known: Mapping[str, Mapping[str, Json]]) -> str:
    """The section of a study: what was measured, the table, the picture."""
    results = known[study.name]
    if not results:
        return ""
    heads = ["system"]
    for backbone in results:
        name = BACKBONES[backbone]
        heads += [f"{name}, runs", name, *(["held out"] if study.held else []), "difference"]
    lines = [f"| {' | '.join([*heads, 'paper'])} |", "|---" * (len(heads) + 1) + "|"]
    names = list(dict.fromkeys([*study.rows, *(name for one in results.values() for name in one["found"])]))
    for name in names:
        cells, label, paper = [], name, ""
        for backbone, one in results.items():
            row = one["found"].get(name, {})
            label, paper = row.get("label", label), row.get("paper") or paper
            count = len(row.get("seeds", {}))
            text = cell(scores(row, study.auto))
            if study.swept and count:
                text += f" ({cell(scores(row, study.swept))})"
            difference = next(iter(row.get("against", {}).items()), None)
            against = NOTHING if difference is None else f"{interval(difference[1])} to `{difference[0]}`"
            held = [cell(scores(row, study.held))] if study.held else []
            cells += [str(count) if count else unmade(study, name, backbone), text, *held, against]
        lines.append(f"| {label if ' ' in label else f'`{label}`'} | {' | '.join(cells)} | {paper or NOTHING} |")
    files = ", ".join(
        f"[{BACKBONES[one]}](../benchmarks/msrc/{one}/{name}.md)"
        for one in results
        for name in study.files
        if read(f"msrc/{one}/{name}.json")
    )
    return "\n".join(
        [
            f"## {study.title}" + (f" (Table {study.table})" if study.table else ""),
            "",
            f"Class by class, with curves over thresholds: {files}.",
            "",
            *lines,
            "",
            *([study.note, ""] if study.note else []),
            f"![{study.title}: {words(study, results)}](results/{study.name}.png)",
        ]
    )


def unmade(study: Study, row: str, backbone: str) -> str:
    """What stands for the number of runs where there is none."""
    if row.startswith("advcam") and read(f"msrc/{backbone}/advcam.json"):
        return "[sample](#advcam-on-a-sample)" if study.name == "localisation" else "not made"
    return "open"


def words(study: Study, results: Mapping[str, Json]) -> str:
    """The picture's numbers as alternative text."""
    parts = []
    for backbone, one in results.items():
        means = {name: mean_and_spread(scores(row, study.auto))[0] for name, row in one["found"].items()}
        named = (f"{name} {100 * mean:.1f}" for name, mean in means.items() if mean == mean)
        parts.append(f"{BACKBONES[backbone]}: {', '.join(named)}")
    return "; ".join(parts).replace("_", r"\_")


@dataclass(frozen=True)
class Claim:
    """A statement of the paper that a difference of two rows decides."""

    text: str
    study: str
    row: str
    base: str


def stated() -> Iterator[Claim]:
    """The paper's statements, and those that a fair comparison would support."""
    for name in ("irn", "psa", "amn", "advcam"):
        yield Claim(f"Seeds of `{name}` are better with DEFT", "localisation", f"{name}_deft", name)
    for name in PLAIN:
        yield Claim(f"Seeds of `{name}` are better with DEFT", "augmentations", f"{name}_deft", name)
    for name in PLAIN:
        yield Claim(f"DEFT's seeds are better than those of `{name}`", "augmentations", "irn_deft", name)
    for name in ("irn", "psa", "amn", "advcam"):
        yield Claim(f"Masks of `{name}` are better with DEFT", "masks", f"{name}_deft", name)
    for name in ("irn", "psa", "amn", "advcam"):
        yield Claim(f"The network of `{name}` is better with DEFT", "segmentation", f"{name}_deft", name)
    yield Claim("The losses of Eq. 3 improve on plain CAM", "ablation", "disentangle", "base")
    yield Claim("The background swap improves on Eq. 3", "ablation", "background_swap", "disentangle")
    yield Claim("Both swaps improve on the background swap", "ablation", "both_swaps", "background_swap")
    yield Claim("Swapped backgrounds matter to the swaps", "ablation", "both_swaps", "no_background")


def claims(known: Mapping[str, Mapping[str, Json]]) -> str:
    """Which statements held, by backbone."""
    heads = [name for backbone, name in BACKBONES.items() if any(backbone in known[study.name] for study in STUDIES)]
    lines = [
        "## What held",
        "",
        "*Held*: the whole interval is above 0; *contradicted*: below it; otherwise the data do not decide. Seeds in "
        "square brackets.",
        "",
        f"| statement | {' | '.join(heads)} |",
        "|---" * (len(heads) + 1) + "|",
    ]
    for claim in stated():
        cells = []
        for backbone, name in BACKBONES.items():
            if name not in heads:
                continue
            rows = known[claim.study].get(backbone, {}).get("found", {})
            found = rows.get(claim.row, {}).get("against", {}).get(claim.base)
            if claim.row == "advcam_deft" and claim.study == "localisation":
                sample = read(f"msrc/{backbone}/advcam.json")
                found = sampled(sample, claim.row, claim.base) if sample else None
            cells.append("open" if found is None else verdict(found))
        lines.append(f"| {claim.text} | {' | '.join(cells)} |")
    return "\n".join(lines)


def verdict(found: Json) -> str:
    """Whether a difference is one."""
    judged = "held" if found["low"] > 0 else "**contradicted**" if found["high"] < 0 else "undecided"
    return f"{judged}, {interval(found)} [{len(found['seeds'])}]"


def missing(known: Mapping[str, Mapping[str, Json]]) -> str:
    """Rows that have fewer seeds than a table needs."""
    lines = ["## What is open", "", f"Rows with fewer than {SEEDS} seeds, and the number of runs to make:", ""]
    for study in STUDIES:
        for backbone, name in BACKBONES.items():
            rows = known[study.name].get(backbone, {}).get("found", {})
            counts = {
                row: SEEDS - len(rows.get(row, {}).get("seeds", {}))
                for row in study.rows
                if row in rows or unmade(study, row, backbone) == "open"
            }
            texts = [f"`{row}` ({count})" for row, count in counts.items() if count > 0]
            if texts:
                title = f"Table {study.table}" if study.table else study.title
                lines.append(f"- {title}, {name}: {', '.join(texts)}")
    return "\n".join(lines) if len(lines) > 4 else ""


if __name__ == "__main__":
    main()
