"""The training loop: Lightning's, with a state that is a function of (seed, step). The only door to Lightning.

Imported by :func:`deft.engine.fit.fit` when it trains, because importing Lightning takes seconds.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from deft.artifacts import load_tensors, read_json, save_tensors, write_json
from deft.engine import plan as settings
from deft.engine import ranks, stop
from deft.engine.launch import by_torchrun, processes_of_this_machine
from deft.engine.optimise import built
from deft.engine.plan import History, Plan, Trainee, TrainingError, Watch
from deft.engine.reading import Examples, reader

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    import lightning
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

PARTS = "parts.json"
"""Beside the checkpoint: in how many parts a batch is computed, where a process among several ran out of memory."""


def train(loop: Loop, precision: str) -> None:
    """Train the loop's network to the last step.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        deft.engine.stop.Stopped: SIGTERM; where a step ended in time, a checkpoint was written.
    """
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    here, together = processes_of_this_machine(), ranks.world()
    with warnings.catch_warnings():
        # Lightning advises more workers and a logger; both are decided by the caller.
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", module="torch.utils.data")
        trainer = lightning.Trainer(
            max_steps=loop.steps - loop.start,
            max_epochs=-1,
            accelerator="auto" if torch.cuda.is_available() else "cpu",
            devices=here,
            num_nodes=together // here,
            strategy="auto" if together == 1 else "ddp_find_unused_parameters_true",
            plugins=[_environment(together)],
            precision=cast(Any, precision),
            gradient_clip_val=loop.plan.clip or None,
            sync_batchnorm=together > 1 and torch.cuda.is_available(),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        try:
            with stop.between_steps():
                trainer.fit(loop)
        except SystemExit as left:  # Lightning turns Ctrl-C into an exit
            raise KeyboardInterrupt from left
        except Exception as error:
            if stop.asked():  # the signal reaches readers and other processes too, and they end first
                raise stop.Stopped from error
            raise


class Loop(lightning.LightningModule):
    """A trainee, its batches and its checkpoint."""

    def __init__(
        self,
        trainee: Trainee,
        plan: Plan,
        examples: Examples,
        seed: int,
        checkpoint: Path,
        title: str,
        watch: Watch | None,
    ) -> None:
        super().__init__()
        self.trainee: Any = trainee
        self.plan, self.examples, self.seed = plan, examples, seed
        self.checkpoint, self.title, self.watch = checkpoint, title, watch
        self.images = len(examples)
        self.steps = plan.steps(self.images)
        self.start = 0
        self.history: History = {}
        self.recent: dict[str, list[Tensor]] = {}
        self.loaded: dict[str, Tensor] = {}
        self.scale: dict[str, Any] = {}
        self.unchecked: tuple[int, Tensor, dict[str, Tensor]] | None = None
        self.trainee.parts = 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The plan's, with its moments as they were."""
        self.optimiser = built(self.plan.optimiser, self.trainee.groups())
        if self.loaded:
            _restore(self.optimiser, self.loaded)
        return self.optimiser

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Batches of the steps to do."""
        return reader(self.examples, self.plan, self.seed, range(self.start, self.steps))

    def on_train_start(self) -> None:
        """Begin to show and to count time."""
        if signal.getsignal(signal.SIGTERM) is not stop.handle and stop.installed():
            signal.signal(signal.SIGTERM, stop.handle)  # Lightning has put its own there, which waits for all ranks
        self.recent = {name: [value.to(self.device) for value in values] for name, values in self.recent.items()}
        if self.scale and self._scaler is not None:
            self._scaler.load_state_dict(self.scale)
        self.bar = tqdm(
            total=self.steps,
            initial=self.start,
            desc=self.title,
            unit="step",
            mininterval=1.0,
            disable=not ranks.first(),
        )
        self.saved = time.monotonic()
        if self.start == 0:
            self._look(0)

    def _look(self, done: int) -> None:
        if self.watch is not None and ranks.first():
            self.watch(done, self.trainee)

    def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
        """The loss, all chance in which follows from the step."""
        step = self.start + number
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.optimiser.lr * group["scale"] * self.plan.optimiser.factor(step, self.steps)
        torch.manual_seed(self.seed * 1_000_003 + step + 1_000_000_007 * ranks.rank())  # dropout
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        self.terms: dict[str, Tensor] = self.trainee.terms(batch, self.plan.epoch(step, self.images), rng)
        return torch.stack([term.float() for term in self.terms.values()]).sum()

    def optimizer_step(self, epoch: int, number: int, optimizer: Any, closure: Any = None) -> None:
        """The step; where memory is short the same once more, its batch in twice as many parts."""
        while True:
            try:
                return super().optimizer_step(epoch, number, optimizer, closure)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                reason = str(error).split(". ")[0]
            # Here the error is gone, and with it the frames that held the tensors of the step.
            self._halve(reason)

    def _halve(self, reason: str) -> None:
        images = self.plan.batch // ranks.world()
        if self.trainee.parts >= images:
            raise TrainingError(
                f"{self.title}: one image at a time does not fit into memory ({reason}); take smaller crops, another "
                "backbone, or a machine with more memory"
            )
        self.trainee.parts *= 2
        optimizer = self.optimiser
        optimizer.zero_grad(set_to_none=True)
        self.terms = {}
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        size = -(-images // self.trainee.parts)
        if ranks.world() > 1:
            # The others wait in an exchange of gradients that this process cannot enter a second time.
            write_json(self.checkpoint.parent / PARTS, self.trainee.parts)
            raise TrainingError(
                f"{self.title}: out of memory ({reason}); give the same command to go on with {size} of {images} "
                "images at a time, to the same result"
            )
        print(
            f"\n{self.title}: out of memory; goes on with {size} of {images} images at a time, and the same batch of "
            f"{images} for each step",
            file=sys.stderr,
        )

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Tensor], number: int) -> None:
        """Count, look, keep."""
        done = self.start + number + 1
        terms = {name: term.detach() for name, term in self.terms.items()}
        for name, term in terms.items():
            self.recent.setdefault(name, []).append(term.float())
        # One step late, so that a GPU need not wait for the answer before it goes on.
        self._check()
        self.unchecked = done, batch["index"], terms
        self.bar.update()
        self._look(done)
        if done % settings.LOG_STEPS == 0 or done == self.steps:
            self._check()
            for name, values in self.recent.items():
                self.history.setdefault(name, []).append((done, float(torch.stack(values).mean())))
            self.recent = {}
            self.bar.set_postfix(loss=f"{sum(curve[-1][1] for curve in self.history.values()):.3f}")
        if stop.asked():
            self.save(done)
            raise stop.Stopped
        if time.monotonic() - self.saved > settings.CHECKPOINT_SECONDS:
            self.save(done)
            self.saved = time.monotonic()

    def _check(self) -> None:
        """Stop at a loss that is no number."""
        if self.unchecked is None:
            return
        step, indices, terms = self.unchecked
        self.unchecked = None
        if torch.isfinite(torch.stack([term.float() for term in terms.values()]).sum()):
            return
        names = ", ".join(sorted(self.examples.name(int(index)) for index in indices))
        found = ", ".join(f"{name} {term.item():g}" for name, term in terms.items())
        raise TrainingError(
            f"{self.title}: expected a finite loss at step {step}, got {found} on the images {names}; lower the "
            "learning rate or use --precision 32. The weights of the last checkpoint are kept"
        )

    def on_train_end(self) -> None:
        """The last checkpoint holds the result until it is stored."""
        self.bar.close()
        self.save(self.steps)

    def save(self, done: int) -> None:
        """Write the checkpoint, unless a weight is no number."""
        self._check()
        if not ranks.first():
            return
        state = {f"model.{key}": value for key, value in self.trainee.state_dict().items()}
        broken = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
        if broken:
            raise TrainingError(
                f"{self.title}: expected finite weights after step {done}, got {broken[0].removeprefix('model.')} that "
                "is not; lower the learning rate or use --precision 32. The weights of the last checkpoint are kept"
            )
        for number, slot in self.optimiser.state_dict()["state"].items():
            state |= {f"optimiser.{number}.{key}": v for key, v in slot.items() if isinstance(v, Tensor)}
        state |= {f"recent.{name}": torch.stack(values) for name, values in self.recent.items()}
        header = {
            "step": done,
            "history": self.history,
            "recent": list(self.recent),
            "parts": self.trainee.parts,
            "scaler": self._scaler.state_dict() if self._scaler is not None else {},
        }
        save_tensors(self.checkpoint, state, header)

    @property
    def _scaler(self) -> Any:
        """Of the loss, in float16; it changes with what it meets, so that it is a part of the checkpoint."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def load(self) -> None:
        """Go back to the checkpoint."""
        tensors, header = load_tensors(self.checkpoint)
        model = {key.removeprefix("model."): v for key, v in tensors.items() if key.startswith("model.")}
        self.trainee.load_state_dict(model)
        self.loaded = {key: value for key, value in tensors.items() if key.startswith("optimiser.")}
        self.recent = {name: list(tensors[f"recent.{name}"].unbind()) for name in header["recent"]}
        self.start = int(header["step"])
        self.history = settings.curves(header["history"])
        self.trainee.parts = int(header["parts"])
        self.scale = header["scaler"]

    def remember_parts(self) -> None:
        """Begin with the parts that an earlier start, of several processes, found it needs."""
        path = self.checkpoint.parent / PARTS
        if path.exists():
            self.trainee.parts = max(self.trainee.parts, int(read_json(path)))


def _environment(together: int) -> Any:
    """Lightning's word for who started the processes; left to itself it would take any job of SLURM for its own.

    It would also answer a scheduler's warning with a checkpoint of its own kind; ours is enough.
    """
    if together == 1:
        return LightningEnvironment()
    return TorchElasticEnvironment() if by_torchrun() else SLURMEnvironment(auto_requeue=False)


def _out_of_memory(error: Exception) -> bool:
    """A GPU has an error of its own; a CPU's allocator has a sentence."""
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory: you tried to allocate" in str(error)


def _restore(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put momentum and moments back, laid out in memory as the weights they belong to."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state = optimiser.state_dict()
    for key, value in tensors.items():
        _, number, name = key.split(".", 2)
        like = parameters[int(number)]
        laid_out = torch.empty_like(like, device=value.device).copy_(value) if value.shape == like.shape else value
        state["state"].setdefault(int(number), {})[name] = laid_out
    optimiser.load_state_dict(state)
