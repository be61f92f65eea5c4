"""Training: one loop for the classifier, IRN's network and the segmentation network.

Batches, augmentation, permutations and rates are functions of (seed, step) and not of hidden generator state, so that
a stopped run resumes from its checkpoint as if it had not been stopped. The loop itself is :mod:`deft.engine.loop`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from torch import nn

from deft.artifacts import write_json
from deft.artifacts.expected import read_expected
from deft.contracts import InputError
from deft.engine import ranks
from deft.engine.budget import AUTO, GigaBytes
from deft.engine.layout import channels_last
from deft.engine.memory import return_freed
from deft.engine.plan import History, Plan, Watch, curves
from deft.engine.reading import Examples
from deft.guards.opening import exists

_HISTORY = {str: [[int, float]]}
_REMEDY = "remove the file: the page is then made without this curve"


def fit(
    trainee: nn.Module,
    examples: Examples,
    plan: Plan,
    *,
    folder: Path,
    seed: int = 0,
    precision: str = "32-true",
    title: str = "training",
    watch: Watch | None = None,
    memory: GigaBytes = AUTO,
) -> History:
    """Train in place, or resume from the checkpoint in ``folder``.

    With several processes (:mod:`deft.engine.ranks`) all of them call this, and each ends with the trained weights;
    rank 0 writes the files.

    Args:
        trainee: an ``nn.Module`` that is a :class:`deft.engine.plan.Trainee`; trained in place and left on the CPU in
            eval mode.
        examples: what to read.
        plan: how long and how.
        folder: of the stage; holds ``checkpoint.safetensors`` while training, ``history.json`` after.
        seed: of batches, augmentation and permutations.
        precision: Lightning's word: "32-true", "bf16-mixed", ...
        title: progress-bar label.
        watch: called with the network while it trains; after a kill, the steps since the checkpoint are seen again.
        memory: most that this process may take on the device that trains, in GB; ``auto`` takes what is free. A batch
            that needs more is computed in parts, see :mod:`deft.engine.footprint`.

    Returns:
        The loss curves.

    Raises:
        deft.engine.plan.TrainingError: the loss is not finite, which names the images of the batch, or one image needs
            more memory than there is.
        InputError: the processes cannot share a batch evenly.
    """
    if plan.batch % ranks.world():
        raise InputError(
            f"{title}: expected a batch that {ranks.world()} processes can share evenly, got {plan.batch} images; set "
            "the plan's batch to a multiple, or use fewer --devices"
        )
    from deft.engine.loop import PARTS, Loop

    checkpoint = folder / "checkpoint.safetensors"
    if ranks.first():
        for left in folder.glob(".part-*"):  # a checkpoint that a kill cut short
            left.unlink()
    channels_last(trainee)
    loop = Loop(cast(Any, trainee), plan, examples, seed, checkpoint, title, watch, precision, memory)
    if ranks.agreed(checkpoint.exists()):
        loop.load()
    loop.remember_parts()
    return_freed()
    if loop.start < loop.steps:
        loop.run()
    trainee.to("cpu").eval()
    trainee.zero_grad(set_to_none=True)
    return_freed()
    if ranks.first():
        (folder / PARTS).unlink(missing_ok=True)
        write_json(folder / "history.json", loop.history)
    history: History = loop.history
    return history


def finish(folder: Path) -> None:
    """Remove the checkpoint of a training whose result is stored."""
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)


def read_history(folder: Path) -> History:
    """Loss curves of a finished training; empty when there was none.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    path = folder / "history.json"
    return curves(read_expected(path, _HISTORY, _REMEDY)) if exists(path) else {}
