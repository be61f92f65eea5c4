"""The training loop: batches, loss, optimiser step, loss curves, checkpoint.

The state of a training is a function of (seed, step) and of nothing else. Imported by :func:`deft.engine.fit.fit` when
it trains, because importing Lightning takes seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from deft.artifacts import load_tensors, read_json, save_tensors, told_damaged, write_json
from deft.engine import plan as settings
from deft.engine import ranks, stop
from deft.engine.batch_norm import synchronised, trains_statistics
from deft.engine.budget import AUTO, GigaBytes
from deft.engine.division import STATISTICS, choose_parts
from deft.engine.fabric import LossTerms, fabric_of
from deft.engine.optimise import built
from deft.engine.plan import History, Plan, Trainee, TrainingError, Watch
from deft.engine.precision import EXACT
from deft.engine.reading import Examples, batches_of, reader
from deft.engine.shortage import out_of_memory, reason_of, release

PARTS = "parts.json"
"""File beside the checkpoint: the number of parts of a batch, and for how much memory it was chosen."""


class Loop:
    """A training in progress: network, optimiser, loss curves and checkpoint."""

    def __init__(
        self,
        trainee: Trainee,
        plan: Plan,
        examples: Examples,
        seed: int,
        checkpoint: Path,
        title: str,
        watch: Watch | None,
        precision: str = EXACT,
        memory: GigaBytes = AUTO,
    ) -> None:
        self.trainee: Any = trainee
        self.plan, self.examples, self.seed = plan, examples, seed
        self.checkpoint, self.title = checkpoint, title
        self.watch: Watch = watch if watch is not None and ranks.first() else lambda done, trainee: None
        self.images = len(examples)
        self.steps = plan.steps(self.images)
        self.start = 0
        self.history: History = {}
        self.recent: dict[str, list[Tensor]] = {}
        self.unchecked: tuple[int, Tensor, dict[str, Tensor]] | None = None
        self.trainee.parts = 1
        self.memory = memory
        self.divided_for: object = None
        """For which memory the number of parts was chosen; None if it was not."""
        self.fabric = fabric_of(precision)
        optimiser = built(plan.optimiser, self.trainee.groups())
        self.network, self.optimiser = self.fabric.setup(LossTerms(self.trainee), optimiser)

    def run(self) -> None:
        """Train to the last step.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            deft.engine.stop.Stopped: SIGTERM; where a step ended in time, a checkpoint was written.
        """
        together = ranks.world() > 1 and torch.cuda.is_available()
        loader = reader(self.examples, self.plan, self.seed, range(self.start, self.steps))
        with (
            stop.between_steps(),
            synchronised(self.trainee) if together else nullcontext(),
            tqdm(
                total=self.steps,
                initial=self.start,
                desc=self.title,
                unit="step",
                mininterval=1.0,
                disable=not ranks.first(),
            ) as bar,
            batches_of(loader) as batches,
        ):
            saved = time.monotonic()
            if self.start == 0:
                self.watch(0, self.trainee)
            for step, batch in enumerate(self._read(batches), self.start):
                batch = self.fabric.to_device(batch)
                self._divide(batch, ahead=2 + 2 * loader.num_workers)
                terms = self._step(step, batch)
                # One step late, so that a GPU need not wait for the answer before it goes on.
                self._check()
                done = step + 1
                self.unchecked = done, batch["index"], terms
                bar.update()
                self.watch(done, self.trainee)
                self._log(done, terms, bar)
                if stop.asked():
                    self.save(done)
                    raise stop.Stopped
                if time.monotonic() - saved > settings.CHECKPOINT_SECONDS:
                    self.save(done)
                    saved = time.monotonic()
            self.save(self.steps)  # holds the result until it is stored

    def _divide(self, batch: dict[str, Tensor], ahead: int) -> None:
        """Choose the number of parts, unless that was done for this memory when the training was begun."""
        if self.divided_for == self.memory:
            return
        self.trainee.parts = choose_parts(
            self.trainee,
            batch,
            epoch=self.plan.epoch(self.steps - 1, self.images),
            asked=self.memory,
            ahead=ahead,
            precision=self.fabric.autocast,
            title=self.title,
        )
        self.divided_for = self.memory
        if ranks.first():  # for a start after a kill that comes before the first checkpoint
            self._keep_parts()

    def _keep_parts(self) -> None:
        write_json(self.checkpoint.parent / PARTS, {"parts": self.trainee.parts, "memory": self.memory})

    def _step(self, step: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """One optimiser step; if memory runs out it is repeated with the batch in twice as many parts."""
        while True:
            try:
                terms = self._gradients(step, batch)
                break
            except Exception as error:
                if not out_of_memory(error):
                    raise
                reason = reason_of(error)
            # Here the error is gone, and with it the frames that held the tensors of the step.
            self._halve(reason)
        try:
            self.optimiser.step()
        except Exception as error:  # some weights may have changed: the step cannot be repeated
            if not out_of_memory(error):
                raise
            raise TrainingError(
                f"{self.title}: the optimiser's state does not fit into memory ({reason_of(error)}); take a smaller "
                f"backbone, or a machine with more memory. {self._kept()}"
            ) from None
        return terms

    def _read(self, batches: Iterator[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        """The batches; not enough memory to read one is an error with a remedy."""
        try:
            yield from batches
        except Exception as error:
            if not out_of_memory(error):
                raise
            raise TrainingError(
                f"{self.title}: the photographs of a batch cannot be read, there is not enough memory "
                f"({reason_of(error)}); take a smaller --max-side, fewer plan.workers, or a machine with more memory. "
                f"{self._kept()}"
            ) from None

    def _gradients(self, step: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The gradients of one step, whose randomness follows from its number. Returns the loss terms."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.optimiser.lr * group["scale"] * self.plan.optimiser.factor(step, self.steps)
        torch.manual_seed(self.seed * 1_000_003 + step + 1_000_000_007 * ranks.rank())  # dropout
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        self.optimiser.zero_grad()
        terms: dict[str, Tensor] = self.network(batch, self.plan.epoch(step, self.images), rng)
        self.fabric.backward(_total(terms))
        if self.plan.clip:
            # The norm is not finite where float16 overflows; the scaler then skips the step.
            self.fabric.clip_gradients(self.network, self.optimiser, max_norm=self.plan.clip, error_if_nonfinite=False)
        return {name: term.detach().float() for name, term in terms.items()}

    def _halve(self, reason: str) -> None:
        """Double the number of parts; a process among several stores it for the next start instead."""
        images = self.plan.batch // ranks.world()
        if self.trainee.parts >= images:
            raise TrainingError(
                f"{self.title}: one image at a time does not fit into memory ({reason}); take smaller crops, another "
                "backbone, or a machine with more memory"
            )
        self.trainee.parts *= 2
        self.optimiser.zero_grad()
        release()
        size = -(-images // self.trainee.parts)
        if ranks.world() > 1:
            # The others wait in an exchange of gradients that this process cannot enter a second time.
            self._keep_parts()
            raise TrainingError(
                f"{self.title}: out of memory ({reason}); repeat the same command to continue with {size} of {images} "
                "images at a time, to the same result"
            )
        print(
            f"\n{self.title}: out of memory; continues with {size} of {images} images at a time, and the same batch of "
            f"{images} for each step" + ("; " + STATISTICS if trains_statistics(self.trainee) else ""),
            file=sys.stderr,
        )

    def _log(self, done: int, terms: dict[str, Tensor], bar: Any) -> None:
        """Add to the loss curves: every ``LOG_STEPS`` steps the mean of each term since the last entry."""
        for name, term in terms.items():
            self.recent.setdefault(name, []).append(term)
        if done % settings.LOG_STEPS == 0 or done == self.steps:
            self._check()
            for name, values in self.recent.items():
                self.history.setdefault(name, []).append((done, float(torch.stack(values).mean())))
            self.recent = {}
            bar.set_postfix(loss=f"{sum(curve[-1][1] for curve in self.history.values()):.3f}")

    def _check(self) -> None:
        """Raise an error if the loss of the last unchecked step is not finite."""
        if self.unchecked is None:
            return
        step, indices, terms = self.unchecked
        self.unchecked = None
        if torch.isfinite(_total(terms)):
            return
        names = ", ".join(sorted(self.examples.name(int(index)) for index in indices))
        found = ", ".join(f"{name} {term.item():g}" for name, term in terms.items())
        raise TrainingError(
            f"{self.title}: expected a finite loss at step {step}, got {found} on the images {names}; lower the "
            f"learning rate or use --precision 32. {self._kept()}"
        )

    def _kept(self) -> str:
        """Whether the error of a training leaves anything of it."""
        if self.checkpoint.exists():
            return "The weights of the last checkpoint are kept"
        return "There was no checkpoint yet: the training begins again"

    def save(self, done: int) -> None:
        """Write the checkpoint; if a weight is not finite, raise an error and keep the old one."""
        self._check()
        if not ranks.first():
            return
        state = {f"model.{key}": value for key, value in self.trainee.state_dict().items()}
        broken = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
        if broken:
            raise TrainingError(
                f"{self.title}: expected finite weights after step {done}, got {broken[0].removeprefix('model.')} that "
                f"is not; lower the learning rate or use --precision 32. {self._kept()}"
            )
        for number, slot in self.optimiser.state_dict()["state"].items():
            state |= {f"optimiser.{number}.{key}": v for key, v in slot.items() if isinstance(v, Tensor)}
        state |= {f"recent.{name}": torch.stack(values) for name, values in self.recent.items()}
        header = {
            "step": done,
            "history": self.history,
            "recent": list(self.recent),
            "parts": self.trainee.parts,
            "memory": self.memory,
            "scaler": self.fabric.strategy.precision.state_dict(),
        }
        save_tensors(self.checkpoint, state, header)

    def load(self) -> None:
        """Restore the checkpoint."""
        tensors, header = load_tensors(self.checkpoint)
        with told_damaged(self.checkpoint):
            model = {key.removeprefix("model."): v for key, v in tensors.items() if key.startswith("model.")}
            self.trainee.load_state_dict(model)
            _restore(self.optimiser, {key: value for key, value in tensors.items() if key.startswith("optimiser.")})
            device = self.fabric.device
            self.recent = {name: list(tensors[f"recent.{name}"].to(device).unbind()) for name in header["recent"]}
            self.start = int(header["step"])
            self.history = settings.curves(header["history"])
            self.trainee.parts = int(header["parts"])
            self.divided_for = header.get("memory", AUTO)
            if header["scaler"]:
                self.fabric.strategy.precision.load_state_dict(header["scaler"])

    def remember_parts(self) -> None:
        """Start with the number of parts of an earlier start, or more, if one of several processes needed them."""
        path = self.checkpoint.parent / PARTS
        found = read_json(path) if path.exists() else None
        if isinstance(found, int):  # as earlier versions have written it
            found = {"parts": found}
        if isinstance(found, dict) and isinstance(found.get("parts"), int):
            self.trainee.parts = max(self.trainee.parts, min(found["parts"], self.plan.batch))
            self.divided_for = found.get("memory", AUTO)


def _total(terms: dict[str, Tensor]) -> Tensor:
    """The loss: the sum of its terms, float32."""
    return torch.stack([term.float() for term in terms.values()]).sum()


def _restore(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Load momentum and moments, each laid out in memory as its weight."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state = optimiser.state_dict()
    for key, value in tensors.items():
        _, number, name = key.split(".", 2)
        like = parameters[int(number)]
        laid_out = torch.empty_like(like, device=value.device).copy_(value) if value.shape == like.shape else value
        state["state"].setdefault(int(number), {})[name] = laid_out
    optimiser.load_state_dict(state)
