"""The processes of one run on a Ray cluster, placed by Ray Train (https://docs.ray.io/en/latest/train/train.html).

Ray Train reserves a GPU, or a core where there are none, for each process, tells the processes of each other as
torchrun does, and notices when one is lost. The run is then started again, on what is left of the cluster or has joined
it, and resumes from its last checkpoint.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import TextIOBase
from tempfile import TemporaryDirectory
from typing import Any

import torch

from deft import __version__
from deft.contracts import InputError
from deft.engine.launch import NAME, PATIENCE
from deft.engine.ray_engine import Call, Ray, arrive

RESTARTS = 3
"""How often a run is started again after it lost a process."""


class Ended(Exception):
    """A process that ended with another exit code than 0, after it has said why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def start(call: Call, processes: int, cluster: Ray) -> int:
    """Run a command as several processes of a cluster; what they print is printed here.

    Args:
        call: the command, for one process; returns its exit code.
        processes: how many; there has to be a GPU for each, or a core if the cluster has no GPUs.
        cluster: where.

    Returns:
        The exit code: that of the first process that failed, or 0.

    Raises:
        InputError: the cluster is too small, lacks Ray Train, or lost processes too often.
    """
    ray = cluster.connected()
    train = _ray_train()
    resources = ray.cluster_resources()
    kind = "GPU" if resources.get("GPU", 0) >= 1 else "CPU"
    there = int(resources.get(kind, 0))
    if processes > there:
        word = "GPU" if kind == "GPU" else "core"
        raise InputError(f"--devices {processes}: expected at most {there}, one for each {word} of the cluster")
    needs = {"CPU": 1.0, **({"GPU": 1.0} if kind == "GPU" else {})}
    for left in reversed(range(RESTARTS + 1)):
        with TemporaryDirectory(prefix="deft-") as notes, _printing(ray) as lines:
            trainer = train.torch.TorchTrainer(
                _process,
                train_loop_config={"call": call, "here": os.getcwd(), "version": __version__, "lines": lines},
                torch_config=train.torch.TorchConfig(timeout_s=int(PATIENCE.total_seconds())),
                scaling_config=train.ScalingConfig(
                    num_workers=processes, use_gpu=kind == "GPU", resources_per_worker=needs
                ),
                run_config=train.RunConfig(
                    name=NAME,
                    storage_path=notes,
                    failure_config=train.FailureConfig(max_failures=0),
                    worker_runtime_env={"env_vars": {"RAY_TRAIN_ENABLE_PRINT_PATCH": "0"}},  # or lines come twice
                ),
            )
            try:
                _fit(trainer)
                return 0
            except train.TrainingFailedError as error:
                failures = getattr(error, "worker_failures", {})
                codes = [one.code for _, one in sorted(failures.items()) if isinstance(one, Ended)]
                if codes:
                    return codes[0]
                first = str(next(iter(failures.values()), error)).strip().partition("\n")[0]
        print(f"deft: a process of the run was lost: {first}", file=sys.stderr)
        if left:
            print("starting again from the last checkpoint", file=sys.stderr, flush=True)
    raise InputError(
        f"the run lost a process {RESTARTS + 1} times; finished work is kept. See the logs of Ray, then repeat the "
        "same command to resume"
    )


def _fit(trainer: Any) -> None:
    """Run a trainer in a thread of its own: in the main one, Ray Train would take over Ctrl-C and end with code 0."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            trainer.fit()
        except BaseException as error:  # raised below, where the caller expects it
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.5)  # not for ever, so that signals are handled meanwhile
    if errors:
        raise errors[0]


def _process(config: Mapping[str, Any]) -> None:
    """What each process does: the command, as under torchrun."""
    import ray.train.torch

    os.environ["TORCHELASTIC_RUN_ID"] = NAME
    out, err = (_Lines(name, config["lines"].put_nowait) for name in ("stdout", "stderr"))
    with redirect_stdout(out), redirect_stderr(err):
        try:
            arrive(config["here"], config["version"])
        except InputError as error:
            print(f"deft: {error}", file=sys.stderr)
            raise Ended(2) from None
        device = ray.train.torch.get_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        code = config["call"]()
    if code:
        raise Ended(code)


class _Lines(TextIOBase):
    """A stream that gives its name and what is written to it to a function, in whole lines or as it is flushed."""

    encoding = "utf-8"

    def __init__(self, stream: str, give: Callable[[tuple[str, str]], object]) -> None:
        self._stream, self._give = stream, give
        self._held = ""

    def write(self, text: str) -> int:
        self._held += text
        if text.endswith("\n"):
            self.flush()
        return len(text)

    def flush(self) -> None:
        if self._held:
            self._give((self._stream, self._held))
        self._held = ""


@contextmanager
def _printing(ray: Any) -> Iterator[Any]:
    """A queue of pairs, ``stdout`` or ``stderr`` and a text, which is printed there while they come."""
    from ray.util.queue import Empty, Queue

    queue = Queue(actor_options={"num_cpus": 0})
    over = threading.Event()

    def pass_on() -> None:
        while True:
            last = over.is_set()
            try:
                name, text = queue.get(timeout=0.5)
                print(text, end="", file=getattr(sys, name), flush=True)
            except Empty:
                if last:
                    return
            except ray.exceptions.RayError:
                return  # the cluster has gone

    thread = threading.Thread(target=pass_on, daemon=True)
    thread.start()
    try:
        yield queue
    finally:
        over.set()
        thread.join()
        queue.shutdown()


def _ray_train() -> Any:
    """Ray Train; raises InputError if it is not installed."""
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    try:
        import ray.train
        import ray.train.torch
    except ImportError as error:
        raise InputError(
            f"--engine ray --devices: expected Ray Train, got {error}; pip install 'deft-wsss[ray]'"
        ) from None
    return ray.train
