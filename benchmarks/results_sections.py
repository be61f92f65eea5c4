"""The sections of ``docs/results.md`` that are no table of systems: what explains the tables, and what they cost."""

from __future__ import annotations

import json
import statistics

from results_data import BACKBONES, HERE, STUDIES, Json, interval, read

from deft.studies.outcome import NOTHING, cell
from deft.studies.paired import significance


def context() -> str:
    """Table 3: classes with their usual context, before and after DEFT."""
    results = {backbone: found for backbone in BACKBONES if (found := read(f"msrc/{backbone}/context.json"))}
    if not results:
        return ""
    lines = [
        "## Classes with their usual context (Table 3)",
        "",
        "IoU of the class on its photographs that show the context: seeds at the best threshold of the split, and "
        "masks at the run's threshold.",
    ]
    for backbone, one in results.items():
        known = one["found"]
        systems = [name for name in ("irn", "irn_deft") if known.get(name)]
        pairs = list(dict.fromkeys(pair for name in systems for run in known[name].values() for pair in run))
        lines += ["", f"[{BACKBONES[backbone]}](../benchmarks/msrc/{backbone}/context.md):", ""]
        lines += [
            f"| class, context | {' | '.join(f'{kind}, `{name}`' for kind in ('seeds', 'masks') for name in systems)} |"
        ]
        lines += ["|---" * (1 + 2 * len(systems)) + "|"]
        for pair in pairs:
            cells = [
                cell([run.get(pair, {}).get("with", {}).get(kind, {}).get("class") for run in known[name].values()])
                for kind in ("seeds", "masks")
                for name in systems
            ]
            lines.append(f"| {pair} | {' | '.join(cells)} |")
    lines += ["", "![IoU of each class on its photographs with the context, plain CAM and DEFT](results/context.png)"]
    return "\n".join(lines)


def leaning() -> str:
    """What each class leans on, before and after DEFT."""
    results = {backbone: found for backbone in BACKBONES if (found := read(f"msrc/{backbone}/leaning.json"))}
    if not results:
        return ""
    lines = [
        "## What each class leans on, before and after DEFT",
        "",
        "The share of a context's pixels that the seeds give to the class, on the training photographs of the class "
        "that show the context: seeds of boats that lie on the water. Context masks are seen by no run. The pairs in "
        "which plain CAM takes most:",
        "",
        "![Share of each context that is taken by the seeds of a class, plain CAM and DEFT](results/leaning.png)",
    ]
    for backbone, one in results.items():
        both = {pair: found for pair, found in one["found"].items() if len(found) == 2}
        means = {pair: [statistics.fmean(values) for values in found.values()] for pair, found in both.items()}
        less = sum(after < before for before, after in means.values())
        before, after = (statistics.fmean(values) for values in zip(*means.values(), strict=True))
        lines += [
            "",
            f"{BACKBONES[backbone]}: in {less} of {len(means)} pairs DEFT takes less of the context; in the mean over "
            f"pairs {100 * before:.1f} % before and {100 * after:.1f} % after "
            f"([all pairs](../benchmarks/msrc/{backbone}/leaning.json)).",
        ]
    return "\n".join(lines)


def readings() -> str:
    """How the maps are best read."""
    known = read("readings.json")
    if not known:
        return ""
    lines = [
        "## How the maps are read",
        "",
        "Eq. 7 leaves open how logits are brought to the scale of its 1. The same classifiers, read in every way: mIoU "
        "at the best threshold, in brackets at the one chosen without masks and at Otsu's; means over the classifiers "
        "in [readings.md](../benchmarks/readings.md).",
        "",
    ]
    groups = {"images trained on": "train", "held-out images": "held out"}
    found: Json = known["found"]
    names = list(dict.fromkeys(name for one in found.values() for name in one["readings"]))
    lines += ["| reading | " + " | ".join(groups) + " |", "|---" * (1 + len(groups)) + "|"]
    for name in names:
        cells = []
        for part in groups.values():
            runs = [
                one["readings"][name]
                for run, one in found.items()
                if run.endswith(f", {part}") and name in one["readings"]
            ]
            means = (
                [statistics.fmean(100 * run[at][1] for run in runs) for at in ("best", "both", "Otsu")] if runs else []
            )
            cells.append(f"{means[0]:.1f} ({means[1]:.1f}, {means[2]:.1f})" if means else NOTHING)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for title, part in groups.items():
        shares = [one["negative"] for run, one in found.items() if run.endswith(f", {part}") and one["negative"]]
        if shares:
            objects, grounds = (
                100 * statistics.fmean(one[side] for one in shares) for side in ("object", "background")
            )
            lines += [
                "",
                f"On {title}, the background score is negative in {objects:.0f} % of the cells of the object and "
                f"{grounds:.0f} % of those of the background.",
            ]
    lines += ["", "![mIoU of every reading, mean over all classifiers and images](results/readings.png)"]
    return "\n".join(lines)


def mechanism() -> str:
    """Variants of attention and swaps."""
    files = {path.stem: json.loads(path.read_text()) for path in sorted((HERE / "mechanism").glob("*.json"))}
    if not files:
        return ""
    lines = ["## Why DEFT's maps are better, and what the swaps do", ""]
    for name, known in files.items():
        split, backbone = name.split("-", 1)
        lines += [
            f"{BACKBONES[backbone]}, trained on and scored on `{split}`:",
            "",
            "| variant | seeds | auto (swept) | object attention: order, perplexity | background attention |",
            "|---|---|---|---|---|",
        ]
        for variant, runs in known["found"].items():
            values = list(runs.values())
            attention = [
                ", ".join(
                    f"{statistics.fmean(one[what][side] for one in values):.2f}" for what in ("order", "perplexity")
                )
                if all("order" in one for one in values)
                else NOTHING
                for side in ("object", "background")
            ]
            scored = f"{cell([one['auto'] for one in values])} ({cell([one['swept'] for one in values])})"
            lines.append(f"| {variant} | {len(values)} | {scored} | {attention[0]} | {attention[1]} |")
        lines += ["", f"![Seeds of every variant, mIoU](results/mechanism-{name}.png)", ""]
    return "\n".join(lines).rstrip()


STAGES = {
    "seeds": ("classifier", "localiser", "seeds"),
    "masks": ("refine", "refined", "masks"),
    "network": ("segment", "predictions"),
}
"""What a row costs, by what it is made for."""
SAME = {"base": "irn", "both_swaps": "irn_deft"}
"""Rows of the ablation that are rows of other tables."""


def costs() -> str:
    """Seconds of every row, if they were measured."""
    known = {backbone: read(f"msrc/{backbone}/seconds.json") for backbone in BACKBONES}
    if not any(known.values()):
        return ""
    lines = [
        "## What each row costs",
        "",
        "Seconds on one core: to train the classifier and make the seeds, to refine them to masks, and to train the "
        "segmentation network and predict. Two such runs, and at times other work, shared the two cores, so these are "
        "upper bounds; where several seeds were run, it is the least of them.",
        "",
    ]
    heads = [f"{name}, {part}" for name in BACKBONES.values() for part in STAGES]
    lines += [f"| row | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    rows = dict.fromkeys(row for study in STUDIES for row in study.rows if row not in SAME)
    for row in rows:
        cells = []
        for backbone in BACKBONES:
            runs = known[backbone].get(row, {}).values()
            for stages in STAGES.values():
                spent = [min(found) for stage in stages if (found := [run[stage] for run in runs if stage in run])]
                needed = stages[0] in {stage for run in runs for stage in run}
                cells.append(f"{sum(spent):.0f}" if needed else NOTHING)
        if any(one != NOTHING for one in cells):
            lines.append(f"| `{row}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def twins() -> str:
    """DEFT on top of other augmentations: which of its parts loses."""
    results = {backbone: found for backbone in BACKBONES if (found := read(f"msrc/{backbone}/twins.json"))}
    if not results:
        return ""
    lines = [
        "## DEFT on top of other augmentations",
        "",
        "Training images at the best threshold, mIoU. DEFT's maps are read as the score of the object alone (f_fg), as "
        "that of the background alone (f_bg), and as Eq. 7. *Order* is how well an attention tells cells of the object "
        "from others (0.5 is chance, and 0 would be the ideal of the background's), *perplexity* how even the object "
        "attention is (1 is average pooling). No reading makes up for what is lost: on pictures that are mixed or "
        "hidden, both attentions become even, and the background's points at the object as well.",
    ]
    for backbone, one in results.items():
        lines += ["", f"[{BACKBONES[backbone]}](../benchmarks/msrc/{backbone}/twins.json):", ""]
        lines += [
            "| augmentation | plain CAM | f_fg | f_bg | Eq. 7 | object attention: order, perplexity | background |",
            "|---|---|---|---|---|---|---|",
        ]
        found = one["found"]
        for name in (name for name in found if not name.endswith("_deft") and f"{name}_deft" in found):
            twin = found[f"{name}_deft"]
            scored = [found[name]["CAM"], *(twin[part] for part in ("f_fg", "f_bg", "Eq. 7"))]
            cells = [f"{100 * score:.1f}" for score in scored]
            attended = [twin["order"]["object"], twin["perplexity"]["object"], twin["order"]["background"]]
            label = "none" if name == "irn" else f"`{name}`"
            lines.append(
                f"| {label} | {' | '.join(cells)} | {attended[0]:.2f}, {attended[1]:.2f} | {attended[2]:.2f} |"
            )
    return "\n".join(lines)


SAMPLED = {
    "cam": "plain CAM",
    "advcam": "AdvCAM",
    "cam_deft": "DEFT's classifier, plain CAM",
    "advcam_deft": "DEFT's classifier, AdvCAM",
}
"""Rows of ``advcam.json``."""
COMPARED = (("advcam", "cam"), ("advcam_deft", "cam_deft"), ("advcam_deft", "advcam"))


def sampled(found: Json, row: str, base: str) -> Json | None:
    """The difference between two rows of ``advcam.json`` over the seeds of both, like ``against`` of a study."""
    first, second = ({int(seed): each for seed, each in found["found"].get(name, {}).items()} for name in (row, base))
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    counts = [images for side in (first, second) for one in side.values() for images in one["counted"].values()]
    classes = 1 + max(int(k) for images in counts for k in images)
    sides = [
        {seed: {"counted": {"seeds": side[seed]["counted"]}, "classes": range(classes)} for seed in seeds}
        for side in (first, second)
    ]
    difference = significance(sides[0], sides[1], seeds, "seeds")
    if difference is None:
        return None
    return {"mean": difference.mean, "low": difference.low, "high": difference.high, "seeds": seeds}


def advcam() -> str:
    """AdvCAM on a sample of the photographs."""
    results = {backbone: found for backbone in BACKBONES if (found := read(f"msrc/{backbone}/advcam.json"))}
    if not results:
        return ""
    lines = [
        "## AdvCAM on a sample",
        "",
        "AdvCAM climbs for many steps on every image and class, so that its rows are measured on a sample of the "
        "training photographs, which its file names; thresholds are chosen from the maps of the sample. CAM and AdvCAM "
        "read the same classifiers.",
    ]
    for backbone, one in results.items():
        count = len(one["facts"]["photographs"])
        lines += ["", f"[{BACKBONES[backbone]}](../benchmarks/msrc/{backbone}/advcam.json), {count} photographs:", ""]
        lines += ["| seeds | auto (swept) | difference | seconds an image |", "|---|---|---|---|"]
        for name, label in SAMPLED.items():
            runs = list(one["found"].get(name, {}).values())
            if not runs:
                continue
            scored = f"{cell([run['auto'] for run in runs])} ({cell([run['swept'] for run in runs])})"
            compared = [(base, sampled(one, row, base)) for row, base in COMPARED if row == name]
            differences = [f"{interval(found)} to {SAMPLED[base]}" for base, found in compared if found is not None]
            spent = min(run["seconds an image"] for run in runs)
            lines.append(f"| {label} | {scored} | {'; '.join(differences) or NOTHING} | {spent:.1f} |")
        climbing = max((run["seconds an image"] for run in one["found"].get("advcam", {}).values()), default=0.0)
        if climbing:
            hours = 2 * climbing * one["facts"]["of"] / 3600
            lines += [
                "",
                f"Climbing on all {one['facts']['of']} training photographs, which pseudo-masks need, takes "
                f"{hours:.1f} hours on one core for both systems: masks and networks of `advcam` were not made.",
            ]
    return "\n".join(lines)
