"""Work on a Ray cluster: the only import of Ray (https://docs.ray.io).

Items are numbers: the index of an image, or of a shard. Ray Data streams blocks of them through a pool of actors, one
for each GPU, or for each core where there are none. Each actor loads its networks once. Ray schedules the blocks,
restarts an actor that died or lost its machine, and gives its blocks to others.

What an actor does is a function of an installed package with plain arguments (:class:`Call`), so that no object of the
command is sent. Relative paths in the arguments are read from the folder in which the command was started.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from deft import __version__
from deft.contracts import InputError
from deft.engine import threads
from deft.engine.cores import cores
from deft.engine.memory import keep_freed
from deft.engine.shortage import out_of_memory, reason_of
from deft.engine.stop import Stopped

BLOCK = 8
"""Most items in a block where there are few; a worker that dies loses the time of one image, and looks at a block."""
MOST_BLOCKS = 10_000
"""Most blocks; the driver keeps some kilobytes for each."""
TRIES = 11
"""How often a block is begun: an image that ends every worker must not be tried forever, as Ray Data would."""
ATTEMPTS = 3
"""How often a cluster of this machine is started, at most."""
CORES = 1
"""Cores of an actor, which computes with as many threads; images are shared among actors, not among its threads."""
AUTO = "auto"
"""The address of the cluster that this machine belongs to."""
PATIENCE = 20.0
"""Seconds in which the head of a cluster has to accept a connection."""
STORE = 200_000_000
"""Bytes of memory for objects of a cluster that is started here: numbers go in, and small files come out."""
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray would tell its makers about the cluster
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what concerns the user arrives as an exception
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # actors without a GPU see none
}


@dataclass(frozen=True)
class Call:
    """A function and its arguments, as another machine can repeat the call."""

    function: str
    """``module:name``."""
    arguments: Mapping[str, Any]
    """Plain values, or calls."""

    @classmethod
    def of(cls, function: Callable[..., Any], **arguments: Any) -> Self:
        """The call of a function of a module."""
        return cls(f"{function.__module__}:{function.__qualname__}", arguments)

    def __call__(self, **more: Any) -> Any:
        """Call the function, with further arguments."""
        module, _, name = self.function.partition(":")
        return getattr(import_module(module), name)(**self.arguments, **more)


class Tries:
    """An actor beside the driver that counts how often each block is begun."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, first: int) -> int:
        """Note that the block with this first item is begun; returns how often it was, this time included."""
        self._begun[first] += 1
        return self._begun[first]


class Worker:
    """An actor: prepares a call once, and applies what it returns to blocks of items.

    Input that cannot be used, lack of memory, and errors of the system that name a file or a limit, are answers: the
    driver raises them. Any other exception is a bug, and Ray passes on its traceback.
    """

    def __init__(self, call: Call, here: str, version: str, tries: Callable[[int], bool] = lambda first: True) -> None:
        """Prepare the call.

        Args:
            call: returns the function of a list of items.
            here: folder in which the command was started.
            version: of deft where the command runs.
            tries: given the first item of a block that is begun, returns whether it may be tried (again).
        """
        self._tries = tries
        self._work: Callable[[Sequence[int]], Any] | None = None
        self._fault: dict[str, Any] = {}
        try:
            arrive(here, version)
            with _computing():
                self._work = call()
        except Exception as error:
            self._fault = _told(error)

    def __call__(self, block: Mapping[str, NDArray[np.int64]]) -> dict[str, list[str]]:
        """The answer to a block, in JSON."""
        return {"answer": [json.dumps(self._answer(block["data"].tolist()))]}

    def _answer(self, items: list[int]) -> dict[str, Any]:
        if self._work is None:
            return self._fault
        if not self._tries(items[0]):
            between = f"number {items[0] + 1}" if len(items) == 1 else f"numbers {items[0] + 1} to {items[-1] + 1}"
            return _told(
                InputError(
                    f"every worker that was given {between} of the work died, out of memory, for example; finished "
                    "work is kept. Give workers more memory or look at these photographs, then repeat the command"
                )
            )
        try:
            with _computing():
                return {"result": self._work(items)}
        except Exception as error:
            return _told(error)


class Ray:
    """A Ray cluster; a context manager, which connects when it is first used and disconnects at its end."""

    def __init__(self, address: str = "") -> None:
        """Name a cluster.

        Args:
            address: ``HOST:PORT`` of its head, or ``auto`` for the one that this machine belongs to; empty starts one
                on this machine, which ends with this process.

        Raises:
            InputError: Ray is not installed, or the address is not of that form, or one of Ray Client.
        """
        if "://" in address:
            raise InputError(
                f"--ray-address {address}: expected HOST:PORT or auto; Ray Client is not supported: start the command "
                "on a machine of the cluster"
            )
        if address not in ("", AUTO):
            _host_and_port(address)
        self.address = address
        self._ray = _import_ray()
        self._own = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own:
            self._ray.shutdown()
            self._own = False

    def map(self, call: Call, items: Sequence[int], *, on_device: bool = True, most: int = BLOCK) -> Iterator[Any]:
        """Apply a function to blocks of items; yields its results as they come, in any order.

        Args:
            call: made once by each actor; returns a function of a list of items whose result can be written as JSON. A
                block may be given to it a second time if a worker dies.
            items: numbers.
            on_device: False for work that does not use a GPU.
            most: most items in a block where there are few blocks.

        Raises:
            InputError: raised by the call or the function; the cluster cannot be reached; or workers died too often.
        """
        if not items:
            return
        self.connected()
        blocks = np.array_split(np.asarray(items, dtype=np.int64), block_count(len(items), most))
        resources = self._ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if on_device else 0
        slots = max(1, gpus or int(resources.get("CPU", 1)))
        if gpus and torch.cuda.is_available():
            torch.cuda.empty_cache()  # an actor may get the GPU of this process
        data = self._ray.data
        mapped = data.from_numpy(blocks).map_batches(
            Worker,
            fn_constructor_kwargs={
                **{"call": call, "here": os.getcwd(), "version": __version__},
                "tries": _Limit(self._counter(), TRIES),
            },
            batch_size=None,
            compute=data.ActorPoolStrategy(min_size=1, initial_size=min(slots, len(blocks))),
            num_cpus=CORES,
            num_gpus=1 if gpus else 0,
        )
        try:
            for row in mapped.iter_rows():
                yield _result(json.loads(row["answer"]))
        except self._ray.exceptions.RayTaskError:
            raise  # an exception of the function
        except self._ray.exceptions.RayError as error:
            first = str(error).strip().partition("\n")[0]
            raise InputError(f"Ray gave up: {first} Finished work is kept: repeat the same command") from error

    def _counter(self) -> Any:
        """A new actor of :class:`Tries` on this machine, which dies with the driver or its machine only."""
        strategies = self._ray.util.scheduling_strategies
        here = strategies.NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=True)
        options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
        return self._ray.remote(Tries).options(**options).remote()

    def connected(self) -> Any:
        """Ray itself, after this process has connected to the cluster or started one; signals are handled as before.

        Raises:
            InputError: the cluster cannot be reached.
        """
        ray = self._ray
        if ray.is_initialized():
            return ray  # connected by this object, or by the program that called
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if not self.address:
            options |= {"num_cpus": cores(), "object_store_memory": STORE, "include_dashboard": False}
        else:
            _answers(self.address)
        main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM)
        try:
            self._init(address=self.address or "local", **options)
        except SystemExit:  # what Ray's handler makes of SIGTERM
            raise Stopped from None
        finally:
            if main:
                signal.signal(signal.SIGTERM, before)  # Ray's own would end the process without its last words
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False  # there is a bar already
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # for warnings and progress there are its log files
        return ray

    def _init(self, **options: Any) -> None:
        """``ray.init``, tried again where a new cluster did not start: it has half a minute, whatever the load."""
        for attempt in range(1 if self.address else ATTEMPTS):
            self._own = True  # so that what has begun is ended, even by Ctrl-C
            try:
                self._ray.init(**options)
                return
            except Exception as error:  # Ray raises that class itself
                self._ray.shutdown()
                self._own = False
                if not self.address and attempt + 1 < ATTEMPTS:
                    continue
                first = str(error).strip().partition("\n")[0]
                where = f"--ray-address {self.address}" if self.address else "--engine ray"
                raise InputError(
                    f"{where}: expected a Ray cluster that this machine belongs to, got: {first}; start one with "
                    "`ray start`, and set RAY_AUTH_MODE=token if it asks for a token, see docs/scale.md"
                ) from error


@dataclass(frozen=True)
class _Limit:
    """Whether a block may be begun once more, by the count of :class:`Tries`."""

    counter: Any
    most: int

    def __call__(self, first: int) -> bool:
        return bool(_import_ray().get(self.counter.begin.remote(first)) <= self.most)


def block_count(items: int, most: int = BLOCK) -> int:
    """Into how many blocks items are divided: at most ``most`` in each, unless that makes too many blocks."""
    return max(1, min(MOST_BLOCKS, -(-items // most)))


def _host_and_port(address: str) -> tuple[str, int]:
    """The parts of an address; raises InputError for another form."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
        raise InputError(f"--ray-address {address}: expected HOST:PORT, such as head:6379, or auto; correct it")
    return host.strip("[]"), int(port)


def _answers(address: str) -> None:
    """Raise InputError if nothing listens at an address: Ray would try for many minutes."""
    if address == AUTO:  # this variable says where, or Ray looks for a cluster on this machine, and tells at once
        address = os.environ.get("RAY_ADDRESS", "")
        if not address or "://" in address:
            return
    try:
        socket.create_connection(_host_and_port(address), timeout=PATIENCE).close()
    except OSError as error:
        raise InputError(
            f"--ray-address {address}: expected a Ray cluster, got: {error.strerror or error}; start one with "
            "`ray start`, see docs/scale.md, or correct the address"
        ) from None


def arrive(here: str, version: str) -> None:
    """Prepare the process of a worker.

    Raises:
        InputError: this machine has another version of deft, or does not see the folder of the command.
    """
    if version != __version__:
        raise InputError(f"expected deft {version} on every machine, as where the command runs, got {__version__}")
    try:
        os.chdir(here)
    except OSError:
        raise InputError(
            f"expected the folder {here}, in which the command was started, on every machine; start the command in a "
            "folder on shared storage"
        ) from None
    keep_freed()


def _computing() -> AbstractContextManager[None]:
    """Within, torch uses the threads of an actor, whatever the environment of its machine says."""
    return threads.computing(threads.Choice(CORES, "the cores of a worker"), tell=False)


def _told(error: Exception) -> dict[str, Any]:
    """An error as an answer; one that only a bug explains is raised."""
    if isinstance(error, InputError):
        return {"input": f"{error} (on {socket.gethostname()})"}
    if out_of_memory(error):
        return _told(
            InputError(
                f"not enough memory for a worker ({reason_of(error)}); give it more, or take a smaller --max-side, "
                "then repeat the command. Finished work is kept"
            )
        )
    if isinstance(error, OSError):
        name = None if error.filename is None else os.fsdecode(error.filename)
        return {"system": [error.errno, error.strerror or str(error), name]}
    raise error


def _result(answer: Mapping[str, Any]) -> Any:
    """The result in an answer; raises the error that is one."""
    if "input" in answer:
        raise InputError(answer["input"])
    if "system" in answer:
        raise OSError(*answer["system"])
    return answer["result"]


def _import_ray() -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
        import ray.exceptions
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise InputError(
            f"--engine ray: expected Ray with Ray Data, got {error}; pip install 'deft-wsss[ray]'"
        ) from None
    return ray
