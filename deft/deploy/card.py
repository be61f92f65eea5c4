"""The model card: what a trained model is, what it was made from and how far to trust it, as README.md of its folder.

The front matter is that of the Hugging Face hub. Whatever the run does not know, such as licences, is left to be filled
in. No path of the training machine is in it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath

from deft import __version__
from deft.deploy.facts import Companion, RunFacts
from deft.evaluate.compare import at
from deft.studies.markdown import escape_markdown

_FILL = "*(to be filled in)*"


def model_card(facts: RunFacts, files: Mapping[str, str], model: str = "FOLDER") -> str:
    """The text of README.md.

    Args:
        facts: of the run.
        files: name of each file in the folder -> what it is.
        model: how the folder is called in commands: ``hub:OWNER/NAME``, or a word that stands for its path.
    """
    settings = facts.record["settings"]
    sections = {
        "Use": _use(files, model),
        "Classes": _classes(facts),
        "Scores": _scores(facts),
        "Thresholds": _thresholds(facts),
        "Bias": _bias(facts),
        "Data": _data(facts),
        "Training": _table(
            ("", ""),
            [
                ("recipe", facts.record["recipe"] or "of the user"),
                ("backbone", settings.get("backbone")),
                ("its weights before training", settings.get("weights")),
                ("precision", settings.get("precision")),
                ("random seed", settings.get("seed")),
            ],
        ),
        "Software": _table(
            ("package", "version"), [("deft", __version__), *dict(facts.record.get("versions") or {}).items()]
        ),
        "Licence": [
            f"- of this model: {_FILL}, and `license` at the top of this file",
            f"- of the photographs and tags it was trained on: {_FILL}",
            f"- of the backbone's weights before training: {_FILL}",
            f"- contact: {_FILL}",
        ],
    }
    lines = [*_front(facts), "", f"# {_title(facts)}", "", *_opening(facts)]
    for title, body in sections.items():
        lines += ["", f"## {title}", "", *body]
    return "\n".join(lines) + "\n"


def _front(facts: RunFacts) -> list[str]:
    tags = ["weakly-supervised", "semantic-segmentation", "deft"]
    return [
        "---",
        "library_name: deft-wsss",
        "pipeline_tag: image-segmentation",
        "license: other",
        f"tags: {json.dumps(tags)}",
        "---",
    ]


def _title(facts: RunFacts) -> str:
    return f"{escape_markdown(facts.record['recipe'] or 'deft')} on {escape_markdown(_data_name(facts))}"


def _data_name(facts: RunFacts) -> str:
    """The kind of the data and the last part of its path: the rest is of the training machine."""
    kind, colon, rest = str(facts.record["data"]["given"]).partition(":")
    place = re.split(r"[?]", rest)[0]
    parts = PureWindowsPath(place).parts if "\\" in place else PurePosixPath(place).parts
    if not re.fullmatch("[a-z]{2,}", kind) or not colon:  # a Python file, or data that were given in Python
        return "images"
    return f"{kind}:{parts[-1]}" if parts else kind


def _opening(facts: RunFacts) -> list[str]:
    data = facts.record["data"]
    networks = "A segmentation network" if facts.record["settings"].get("segment") else "A classifier"
    return [
        f"{networks} for {len(facts.classes)} classes, trained with deft {__version__} on {data['images']} photographs "
        "and the names of what they show. No drawn mask was used in training, so that outlines are approximate and "
        "depend on what classes occur with.",
    ]


def _use(files: Mapping[str, str], model: str) -> list[str]:
    lines = []
    if "run_onnx.py" in files:
        lines += [
            "With onnxruntime, numpy and Pillow alone:",
            "",
            "```sh",
            "python run_onnx.py photo.jpg mask.png",
            "```",
            "",
        ]
    if "model.safetensors" in files:
        lines += [
            "With deft (`pip install deft-wsss`), with the scales, mirrored views and CRF of the run's own inference, "
            "which is somewhat better:",
            "",
            "```sh",
            f"deft predict {model} photos --out masks",
            "```",
            "",
            "```python",
            "import deft",
            "",
            f'found = deft.load("{model}").predict("photo.jpg")',
            "```",
            "",
        ]
    return [*lines, *_table(("file", "content"), [(f"`{name}`", told) for name, told in files.items()], escape=False)]


def _classes(facts: RunFacts) -> list[str]:
    top = next((score for score in facts.scores if score.measure == "mIoU"), None)
    overlap = top.per_class if top is not None and len(top.per_class) == len(facts.classes) + 1 else ()
    parts = {"train": "training images", "val": "held-out images"}
    known = [part for part in parts if part in facts.counts]
    head = ["value", "class", *(parts[part] for part in known), *(["IoU"] if overlap else [])]
    rows: list[tuple[object, ...]] = [(0, "background", *("" for _ in known), *map(_percent, overlap[:1]))]
    for k, name in enumerate(facts.classes):
        rows.append((k + 1, name, *(facts.counts[part][k] for part in known), *map(_percent, overlap[k + 1 : k + 2])))
    after = [] if top is None or not overlap else ["", f"IoU of the {escape_markdown(top.what)}, on {top.truth}."]
    if not known:
        after += ["", "The run does not know how many images each class has."]
    return [*_table(head, rows), *after]


def _scores(facts: RunFacts) -> list[str]:
    if not facts.scores:
        return ["None: the data had no drawn masks to compare with, or the run was not scored."]
    rows = [(score.what, score.truth, score.measure, _percent(score.value)) for score in facts.scores]
    return [
        *_table(("what", "compared with", "measure", "score"), rows),
        "",
        "mIoU is the mean over background and classes of intersection over union, counted over the pixels of all "
        "images; mAP is the mean average precision of the classes. One run: another random seed moves them by points.",
    ]


def _thresholds(facts: RunFacts) -> list[str]:
    rows = []
    found = facts.record.get("thresholds")
    for name, entry in (found if isinstance(found, dict) else {}).items():
        if isinstance(entry, dict) and "threshold" in entry:
            rows.append((name, entry["threshold"], entry.get("chosen", "")))
        elif isinstance(entry, dict):
            rows += [(f"{name}: {field}", value, "auto") for field, value in entry.items()]
        else:
            rows.append((name, entry, ""))
    if not rows:
        return ["Not recorded."]
    return [
        *_table(("of", "threshold", "chosen"), rows),
        "",
        "Background thresholds of class maps in training; the segmentation network itself has none. *auto*: chosen "
        "from maps and photographs without masks, *tuned*: on a few drawn masks, *fixed*: set in advance.",
    ]


def _bias(facts: RunFacts) -> list[str]:
    lines: list[str] = []
    if facts.leaning:
        lines += ["What the classifier leans on, as measured by `deft study bias`:", "", *_list(facts.leaning), ""]
    if facts.companions:
        lines += [
            "What classes occur with in training. A network that learned from names alone may take such a companion "
            "for the class, or miss the class without it:",
            "",
            *_list(facts.companions),
            "",
        ]
    if facts.groups:
        rows = [(name, count, measure, _percent(value)) for name, (count, value, measure) in facts.groups.items()]
        lines += [
            "Parts of the held-out images, by where their objects are; a large gap means that classes lean on the "
            "place:",
            "",
            *_table(("part", "images", "measure", "score"), rows),
            "",
        ]
    if not lines:
        return [
            "Not known: neither contexts nor classes that occur together are recorded. Try photographs of each class "
            "away from its usual surroundings before relying on it.",
        ]
    if not facts.leaning:
        lines.append("Whether it does lean on them was not measured; `deft study bias` measures it.")
    return lines[:-1] if lines[-1] == "" else lines


def _data(facts: RunFacts) -> list[str]:
    data = facts.record["data"]
    side = at(facts.record, "settings", "max_side")
    return [
        *_table(
            ("", ""),
            [
                ("name", _data_name(facts)),
                ("training images", data["images"]),
                ("held-out images", data["held out"]),
                ("classes", len(facts.classes)),
                ("longer side at which photographs were read", f"at most {side} pixels" if side else "as they are"),
                ("fingerprint of the training images", data.get("fingerprint", "")),
            ],
        ),
        "",
        f"Source, and how it was collected and tagged: {_FILL}",
    ]


def _list(companions: Iterable[Companion]) -> list[str]:
    return [
        f"- {escape_markdown(one.name)}: **{escape_markdown(one.with_what)}** ({escape_markdown(one.evidence, 200)})"
        for one in companions
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], escape: bool = True) -> list[str]:
    def cell(value: object) -> str:
        text = str(value)
        return (escape_markdown(text, 200) if escape and text else text).replace("|", "\\|")

    body = ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body]


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"
