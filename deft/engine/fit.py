"""Training: one loop for the classifier, IRN's network and the segmentation network.

Batches, augmentation, permutations and rates are functions of (seed, step) and not of hidden generator state, so that
a stopped run goes on from its checkpoint as if it had not been stopped. Devices, precision and processes are
Lightning's.
"""

from __future__ import annotations

import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset
from tqdm import tqdm

from deft.artifacts import load_tensors, read_json, save_tensors, write_json
from deft.contracts import InputError
from deft.engine.layout import channels_last
from deft.engine.optimise import Adam, AdamW, ParamGroup, Sgd

CHECKPOINT_SECONDS = 20.0
"""How much work a kill may cost."""
LOG_STEPS = 10
"""Loss terms are averaged over this many steps."""

Watch = Callable[[int, nn.Module], None]
"""Called as ``watch(steps done, trainee)`` before the first step and after every one; it must not train."""

History = dict[str, list[tuple[int, float]]]
"""Loss curves: term -> [(step, mean since the last entry)]."""


class TrainingError(InputError):
    """Training cannot go on: the message says at which step and what to change."""


class Examples(Protocol):
    """What a training stage reads."""

    def __len__(self) -> int: ...

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """One training example, a pure function of (index, rng)."""


class Trainee(Protocol):
    """What can be trained; an ``nn.Module``."""

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Weighted loss terms by name; their sum is the loss. ``epoch`` is 1-based."""

    def groups(self) -> list[ParamGroup]:
        """What is trained, at which multiple of the base rate."""


@dataclass(frozen=True)
class Plan:
    """How long and how to train."""

    epochs: int
    """Passes over the data; for small data an epoch is as many passes as ``min_steps`` needs."""
    min_steps: int
    """At least this many steps, so that a few hundred photographs train for long enough."""
    batch: int
    """Images in a step, over all devices."""
    optimiser: Sgd | AdamW | Adam = field(default_factory=Sgd)
    clip: float = 1.0
    """Greatest norm of the gradient; without it plain CAM was seen to collapse on one of two photograph sets."""
    workers: int = 2
    """Processes that read and augment, at most; 0 reads in the training process. On a CPU two cores are left to it."""

    def __post_init__(self) -> None:
        """Refuse a plan that trains nothing."""
        if self.epochs < 1 or self.min_steps < 0 or self.batch < 1 or self.clip < 0 or self.workers < 0:
            raise InputError(
                "expected plan.epochs and plan.batch of at least 1, plan.min_steps, plan.clip and plan.workers of at "
                f"least 0, got {self.epochs}, {self.batch}, {self.min_steps}, {self.clip} and {self.workers}"
            )

    def steps(self, images: int) -> int:
        """Steps for a data set of that many images."""
        return max(self.epochs * math.ceil(images / self.batch), self.min_steps)

    def epoch(self, step: int, images: int) -> int:
        """1-based epoch of a 0-based step."""
        return 1 + step * self.epochs // self.steps(images)


class _Reader(TorchDataset[dict[str, Tensor]]):
    """Reads example ``code % n`` in pass ``code // n``: all randomness follows from the code."""

    def __init__(self, examples: Examples, seed: int) -> None:
        self.examples, self.seed = examples, seed

    def __getitem__(self, code: int) -> dict[str, Tensor]:
        index, around = code % len(self.examples), code // len(self.examples)
        example = self.examples.example(index, np.random.default_rng([self.seed, around, index]))
        return {**example, "index": torch.tensor(index)}


class _Batches(Sampler[list[int]]):
    """Batches of codes for the steps still to do; a rank takes its share of each global batch."""

    def __init__(self, images: int, batch: int, seed: int, steps: range, rank: int = 0, world: int = 1) -> None:
        self.images, self.batch, self.seed, self.steps, self.rank, self.world = images, batch, seed, steps, rank, world

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        order, known = np.empty(0, dtype=np.int64), -1
        for step in self.steps:
            codes = []
            for position in range(step * self.batch, (step + 1) * self.batch):
                around = position // self.images
                if around != known:
                    order = np.random.default_rng([self.seed, 1_000_003, around]).permutation(self.images)
                    known = around
                codes.append(around * self.images + int(order[position % self.images]))
            yield codes[self.rank :: self.world]


def fit(
    trainee: nn.Module,
    examples: Examples,
    plan: Plan,
    *,
    folder: Path,
    seed: int = 0,
    precision: str = "32-true",
    devices: int = 1,
    title: str = "training",
    watch: Watch | None = None,
) -> History:
    """Train in place, or go on from the checkpoint in ``folder``.

    Args:
        trainee: an ``nn.Module`` that is a :class:`Trainee`; trained in place and left on the CPU in eval mode.
        examples: what to read.
        plan: how long and how.
        folder: of the stage; holds ``checkpoint.safetensors`` while training, ``history.json`` after.
        seed: of batches, augmentation and permutations.
        precision: Lightning's word: "32-true", "bf16-mixed", ...
        devices: processes or GPUs of this machine.
        title: beside the progress bar.
        watch: looks at the network while it learns; after a kill the steps since the checkpoint are seen again.

    Returns:
        The loss curves.

    Raises:
        TrainingError: the loss is not finite; names the images of the batch.
    """
    with warnings.catch_warnings():
        # Lightning advises more workers and a logger; both are decided above.
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", module="torch.utils.data")
        import lightning

        for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
            logging.getLogger(name).setLevel(logging.ERROR)

        checkpoint = folder / "checkpoint.safetensors"
        steps = plan.steps(len(examples))
        channels_last(trainee)
        loop = _loop_class()(cast(Any, trainee), plan, examples, seed, checkpoint, title, watch)
        if checkpoint.exists():
            loop.load()
        if loop.start < steps:
            trainer = lightning.Trainer(
                max_steps=steps - loop.start,
                max_epochs=-1,
                accelerator="auto" if torch.cuda.is_available() else "cpu",
                devices=devices,
                # Other processes are forks: a second start of the command would find the run folder taken.
                strategy="auto" if devices == 1 else "ddp_fork_find_unused_parameters_true",
                precision=cast(Any, precision),
                gradient_clip_val=plan.clip or None,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
            )
            try:
                trainer.fit(loop)
            except SystemExit as stop:  # Lightning turns Ctrl-C into an exit
                raise KeyboardInterrupt from stop
            if devices > 1:
                loop.load()  # trained in other processes
    trainee.to("cpu").eval()
    write_json(folder / "history.json", loop.history)
    history: History = loop.history
    return history


def finish(folder: Path) -> None:
    """Remove the checkpoint of a training whose result is stored."""
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)


def read_history(folder: Path) -> History:
    """Loss curves of a finished training; empty when there was none."""
    path = folder / "history.json"
    return _curves(read_json(path)) if path.exists() else {}


def _curves(stored: dict[str, list[list[float]]]) -> History:
    return {name: [(int(step), float(value)) for step, value in curve] for name, curve in stored.items()}


def _loop_class() -> Any:
    """The Lightning module, made late because importing Lightning takes seconds."""
    import lightning

    class Loop(lightning.LightningModule):
        def __init__(
            self,
            trainee: Any,
            plan: Plan,
            examples: Examples,
            seed: int,
            checkpoint: Path,
            title: str,
            watch: Watch | None,
        ) -> None:
            super().__init__()
            self.trainee, self.plan, self.examples, self.seed = trainee, plan, examples, seed
            self.checkpoint, self.title, self.watch = checkpoint, title, watch
            self.images = len(examples)
            self.steps = plan.steps(self.images)
            self.start = 0
            self.history: History = {}
            self.recent: dict[str, list[Tensor]] = {}
            self.loaded: dict[str, Tensor] = {}

        def configure_optimizers(self) -> torch.optim.Optimizer:
            self.optimiser = self.plan.optimiser.build(self.trainee.groups())
            if self.loaded:
                _restore(self.optimiser, self.loaded)
            return self.optimiser

        def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
            rank, world = self.trainer.global_rank, self.trainer.world_size
            batches = _Batches(self.images, self.plan.batch, self.seed, range(self.start, self.steps), rank, world)
            return DataLoader(
                _Reader(self.examples, self.seed),
                batch_sampler=batches,
                num_workers=_workers(self.plan),
                pin_memory=torch.cuda.is_available(),
            )

        def on_train_start(self) -> None:
            self.bar = tqdm(
                total=self.steps,
                initial=self.start,
                desc=self.title,
                unit="step",
                mininterval=1.0,
                disable=not self.trainer.is_global_zero,
            )
            self.saved = time.monotonic()
            if self.start == 0:
                self._look(0)

        def _look(self, done: int) -> None:
            if self.watch is not None and self.trainer.is_global_zero:
                self.watch(done, self.trainee)

        def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
            step = self.start + number
            for group in self.optimiser.param_groups:
                group["lr"] = self.plan.optimiser.lr * group["scale"] * self.plan.optimiser.factor(step, self.steps)
            torch.manual_seed(self.seed * 1_000_003 + step)  # dropout
            rng = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
            terms = self.trainee.terms(batch, self.plan.epoch(step, self.images), rng)
            loss = torch.stack([term.float() for term in terms.values()]).sum()
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"{self.title}: expected a finite loss at step {step + 1}, got "
                    f"{ {name: term.item() for name, term in terms.items()} } on images number "
                    f"{sorted(batch['index'].tolist())}; lower the learning rate or use --precision 32"
                )
            for name, term in terms.items():
                self.recent.setdefault(name, []).append(term.detach())
            return loss

        def on_train_batch_end(self, outputs: Any, batch: Any, number: int) -> None:
            done = self.start + number + 1
            self.bar.update()
            self._look(done)
            if done % LOG_STEPS == 0 or done == self.steps:
                for name, values in self.recent.items():
                    self.history.setdefault(name, []).append((done, float(torch.stack(values).mean())))
                self.recent = {}
                self.bar.set_postfix(loss=f"{sum(curve[-1][1] for curve in self.history.values()):.3f}")
            if self.trainer.is_global_zero and time.monotonic() - self.saved > CHECKPOINT_SECONDS and not self.recent:
                self.save(done)
                self.saved = time.monotonic()

        def on_train_end(self) -> None:
            self.bar.close()
            if self.trainer.is_global_zero:
                self.save(self.steps)

        def save(self, done: int) -> None:
            state = {f"model.{key}": value for key, value in self.trainee.state_dict().items()}
            for number, slot in self.optimiser.state_dict()["state"].items():
                state |= {f"optimiser.{number}.{key}": v for key, v in slot.items() if isinstance(v, Tensor)}
            save_tensors(self.checkpoint, state, {"step": done, "history": self.history})

        def load(self) -> None:
            tensors, header = load_tensors(self.checkpoint)
            model = {key.removeprefix("model."): v for key, v in tensors.items() if key.startswith("model.")}
            self.trainee.load_state_dict(model)
            self.loaded = {key: value for key, value in tensors.items() if key.startswith("optimiser.")}
            self.start = int(header["step"])
            self.history = _curves(header["history"])

    return Loop


def _workers(plan: Plan) -> int:
    """Reading processes: beside a GPU as many as planned, on a CPU only cores that the training leaves over.

    On two cores two readers beside two computing threads halve the speed of a small network.
    """
    cores = os.cpu_count() or 1
    return min(plan.workers, cores if torch.cuda.is_available() else max(0, cores - 2))


def _restore(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put momentum and moments back."""
    state = optimiser.state_dict()
    for key, value in tensors.items():
        _, number, name = key.split(".", 2)
        state["state"].setdefault(int(number), {})[name] = value
    optimiser.load_state_dict(state)
