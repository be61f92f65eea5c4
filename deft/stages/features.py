"""The stage that looks at every image once, for a backbone that is not trained.

Its key is that of the network and of how it looks, and says nothing of the data: files are named after the contents of
images. A run with other tags, other masks or some other images therefore takes over the files of the images that it
shares with runs in ``--reuse``, finished or not, and looks at the rest. Files of images that the run does not have are
removed.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np

from deft.artifacts import Stage
from deft.backbone import Backbone
from deft.contracts import Dataset, InputError, Sample
from deft.data.examples import without_truth
from deft.engine import ranks
from deft.engine.features import Frozen, find_features, save_features
from deft.engine.infer import device
from deft.engine.share import Share
from deft.guards.opening import exists
from deft.guards.words import shown
from deft.refine.affinity import affinities_of
from deft.stages.context import FEATURES, Run


def find_all_features(run: Run, frozen: Frozen) -> Stage:
    """Look at the images of both splits that have not been looked at.

    Raises:
        InputError: the features would take more space than ``frozen.gigabytes``, or than the disk has; nothing is
            computed then.
    """
    p = run.pipeline
    stage = run.stage(FEATURES, (frozen.identity, p.backbone, run.initial_weights, p.stride, p.precision))
    files = run.features.every
    if ranks.agreed(stage.done and set(stage.folder.glob("*.safetensors")) == set(files)):
        return stage
    backbone = run.untrained().to(device())
    needed = frozen.bytes_of(backbone, len(files))
    if needed > frozen.gigabytes * 1e9:
        raise InputError(
            f"frozen.gigabytes: expected features that fit into {_gigabytes(frozen.gigabytes * 1e9)} GB, got "
            f"{len(files):,} images that may take {_gigabytes(needed)} GB; raise it to that, or take a larger "
            "frozen.stride, a smaller frozen.side or fewer frozen.taps"
        )
    with run.making(stage):
        if ranks.first():
            for left in set(stage.folder.glob("*.safetensors")) - set(files):
                left.unlink()
            stage.borrow(run.reuse, [path.name for path in files])
        ranks.barrier()
        _refuse_full_disk(stage.folder, needed / len(files) * sum(not exists(path) for path in files))
        for part, data in run.parts():
            run.engine.make(describing(run, stage, part, data, backbone, frozen))
    return stage


def _gigabytes(size: float) -> str:
    """Bytes in GB with three digits, rounded up and never to 0, as a setting takes them."""
    digits = 2 - math.floor(math.log10(size / 1e9))
    step = 10.0**digits
    return np.format_float_positional(math.ceil(round(size / 1e9 * step, 6)) / step, trim="-")


def _refuse_full_disk(folder: Path, needed: float) -> None:
    """Refuse features that the disk has no room for, before any is made."""
    free = -ranks.highest(-shutil.disk_usage(folder).free)
    if free < needed:
        raise InputError(
            f"--out {shown(folder.parent)}: features of the images may take {needed / 1e6:,.0f} MB and the disk has "
            f"{free / 1e6:,.0f} MB free; make room, name a folder on another disk, or take a larger frozen.stride"
        )


def describing(run: Run, stage: Stage, part: str, data: Dataset, backbone: Backbone, frozen: Frozen) -> Share:
    """Features of one split."""
    paths = run.features.of(part)

    def work(index: int, sample: Sample) -> None:
        found = find_features(backbone, sample.image, run.pipeline.precision, affinities_of, frozen.radius)
        save_features(paths[index], found, stage.key)

    return Share(f"features ({part})", without_truth(data), stage.folder, paths, work)
