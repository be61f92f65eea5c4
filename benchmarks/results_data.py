"""What ``docs/results.md`` is drawn from: the studies, their rows, and the files of this folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BACKBONES = {"mobilenetv2_100": "MobileNetV2", "tf_efficientnet_lite0": "EfficientNet-Lite0"}

Json = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """A table of the paper that is a table of scores."""

    name: str
    table: str
    """Number of the paper's table; empty for rows that the paper does not have."""
    title: str
    auto: str
    """Key of the score that a user gets."""
    swept: str = ""
    """Key of the score at the best threshold; empty where there is no threshold."""
    held: str = ""
    """Key of the score on the held-out images; empty if they are not scored."""
    rows: tuple[str, ...] = ()
    """Names of its rows; those without a run are listed as open."""
    note: str = ""
    """What to know when reading the table."""
    more: tuple[str, ...] = ()
    """Further files with rows of the table, which were run later, each beside the row that it is compared with; a row
    that two files have is that of the later one."""

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files, in a folder for each backbone."""
        return (self.name, *self.more)

    def results(self, backbone: str) -> Json:
        """What is known of it: the first file with the rows of the others; empty if there are none."""
        known = [found for name in self.files if (found := read(f"msrc/{backbone}/{name}.json"))]
        if not known:
            return {}
        rows: Json = {}
        for name in self.files:
            rows |= read(f"msrc/{backbone}/{name}.json").get("found", {})
        ordered = {row: rows[row] for row in self.rows if row in rows}
        return known[0] | {"found": ordered | rows}


SYSTEMS = tuple(f"{name}{twin}" for name in ("psa", "irn", "advcam", "amn") for twin in ("", "_deft"))
PLAIN = ("mixup", "manifold_mixup", "cutout", "cutmix", "hide_and_seek", "cda")
AUGMENTED = ("irn", *PLAIN, "irn_deft", *(f"{name}_deft" for name in PLAIN))
ABLATION = (
    *("base", "base_stretched", "background", "disentangle"),
    *("background_swap", "object_swap", "no_background", "both_swaps"),
)
SEED_SCORES = ("seeds train, auto", "seeds train, swept", "seeds val, auto")
FURTHER = tuple(
    f"{name}{twin}"
    for name in ("seam", "puzzle_cam", "recam", "drs", "sipe", "icd", "rib", "ood")
    for twin in ("", "_deft")
)
MIXES = tuple(
    f"{name}{twin}" for name in ("noisy_feature_mixup", "puzzle_mix", "super_mix", "co_mixup") for twin in ("", "_deft")
)
VOTES = tuple(f"{name}{twin}" for name in ("pamr", "par", "sam_vote", "seam") for twin in ("", "_deft"))
BOTH = ("irn", "irn_deft")
UNTUNED = (
    "Settings are those of the papers, which train on 10,000 photographs, but for what was chosen on MSRC's `test`: "
    "the rates of DRS, ReCAM and B-CAM, that SIPE compares cells around the mean of the image, and that W-OoD compares "
    "directions of features; what else differs is listed for each in [systems.md](systems.md). `ood` has the "
    "photographs without objects as negatives, and its maps are plain class "
    "maps. Puzzle-CAM asks for the same score of a cell with and without the rest of the image in sight; where the "
    "scene gives a class away, the cheapest such score is one of the scene, and its maps cover most of an image."
)
STUDIES = (
    Study("localisation", "1a", "Seeds of each system", *SEED_SCORES, SYSTEMS),
    Study("augmentations", "1b", "Seeds by augmentation", *SEED_SCORES, AUGMENTED),
    Study(
        "further-localisation",
        "",
        "Seeds of further systems",
        *SEED_SCORES,
        (*BOTH, *FURTHER, "bcam"),
        UNTUNED,
        ("further-localisation-later", "further-localisation-more", "further-localisation-again"),
    ),
    Study(
        "further-augmentations",
        "",
        "Seeds by further augmentations",
        *SEED_SCORES,
        (*BOTH, *MIXES),
        more=("further-augmentations-later",),
    ),
    Study("masks", "2a", "Pseudo-masks of each system", "masks train, auto", "masks train, swept", "", SYSTEMS),
    Study(
        "further-masks",
        "",
        "Pseudo-masks of further systems",
        "masks train, auto",
        "masks train, swept",
        "",
        (*BOTH, *VOTES),
        "`sam_vote` votes with superpixels (SLIC) here. Its own threshold is 0.5, a majority, at which masks are no "
        "worse than the seeds that vote: 54.5 for seeds of 54.2 (MobileNetV2), and 56.5 for 56.2 (EfficientNet-Lite0). "
        "The table has the threshold that is chosen from the maps, as in all other rows.",
        ("further-masks-again",),
    ),
    Study("segmentation", "2b", "Segmentation network", "network val", "", "", SYSTEMS),
    Study("ablation", "4", "Ablation of DEFT", *SEED_SCORES, ABLATION),
)


def read(name: str) -> Json:
    """A file of this folder; empty if it is not there yet."""
    path = HERE / name
    return json.loads(path.read_text()) if path.exists() else {}


def scores(found: Json, key: str) -> list[float | None]:
    """One score of a row, by seed."""
    return [one.get(key) for one in found.get("seeds", {}).values()]


def interval(found: Json) -> str:
    """A difference with its interval."""
    return f"{100 * found['mean']:+.1f} ({100 * found['low']:+.1f} to {100 * found['high']:+.1f})"
