"""Starting the processes that work on one run: torchrun's own launcher, SLURM's tasks, or none.

``deft run --devices 4`` starts torchrun's agent in this process, and the agent four copies of the command. Under
torchrun or ``srun`` the copies are there already. Each then calls :func:`join`, and from there on
:mod:`deft.engine.ranks` knows the others.
"""

from __future__ import annotations

import datetime
import logging
import os
import sys
import uuid
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

from deft.contracts import InputError
from deft.engine import ranks
from deft.engine.cores import cores

PATIENCE = datetime.timedelta(hours=2)
"""How long a process waits for another live one; a dead process is noticed within seconds."""
NAME = "deft"
"""Start of the name that is given to the processes of :func:`start`, here or on a Ray cluster."""


def number_from(name: str, default: int, least: int = 0, most: int = 2**31 - 1) -> int:
    """A whole number in the environment, as torchrun and SLURM set them.

    Raises:
        InputError: the variable holds something else.
    """
    text = os.environ.get(name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise InputError(
            f"the environment variable {name}: expected a whole number from {least} to {most}, got {text[:40]!r}; "
            f"correct it, or unset it to run one process"
        )
    return value


def launched() -> bool:
    """Whether torchrun or SLURM started this process as one of several."""
    return by_torchrun() or _slurm_tasks() > 1


def by_torchrun() -> bool:
    """Whether torchrun's agent, ours or the user's, started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def started_here() -> bool:
    """Whether it was :func:`start` that started this process."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(NAME)


def join() -> None:
    """Meet the other processes; each of them must call it. On a machine with GPUs each takes one.

    Ray Train has done so for the processes that it starts.

    Raises:
        InputError: there are more processes on this machine than GPUs, or torch was built without torch.distributed.
    """
    _check_distributed()
    if ranks.together():
        return
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"):
        number_from(name, 0)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if not by_torchrun():
        from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

        cluster = SLURMEnvironment(auto_requeue=False)
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = cluster.main_address, str(cluster.main_port)
        os.environ["RANK"], os.environ["WORLD_SIZE"] = str(cluster.global_rank()), str(cluster.world_size())
        os.environ["LOCAL_RANK"] = str(cluster.local_rank())
    if backend == "nccl":
        place, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if place >= there:
            raise InputError(f"expected a GPU for each process, got {there} for at least {place + 1}; lower --devices")
        torch.cuda.set_device(place)
    dist.init_process_group(backend, timeout=PATIENCE)


def leave() -> None:
    """Leave the process group."""
    if ranks.together():
        dist.destroy_process_group()


def processes_of_this_machine() -> int:
    """Number of the run's processes on this machine."""
    if not ranks.together():
        return 1
    if "LOCAL_WORLD_SIZE" in os.environ:
        return number_from("LOCAL_WORLD_SIZE", 1, least=1)
    return dist.get_world_size() // number_from("SLURM_STEP_NUM_NODES", 1, least=1)


def start(words: Sequence[str], devices: int, nodes: int) -> int:
    """Run the command ``deft WORDS`` as ``devices`` processes here, and as many on each of the other machines.

    Of several machines each is given the same command, with MASTER_ADDR, MASTER_PORT and its NODE_RANK in its
    environment, as for Lightning.

    Returns:
        The exit code: that of the first process that failed, or 0.

    Raises:
        InputError: there are not so many GPUs or cores, an environment variable is missing or is no number, or torch
            was built without torch.distributed.
    """
    _check_distributed()
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    most, each = (gpus, "one per GPU") if gpus else (4 * cores(), "four per core")
    if devices > most:
        raise InputError(f"--devices {devices}: expected at most {most}, {each} of this machine")
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    # As many threads in all as there are cores: two copies of a program that takes all of them are slower than one.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // devices)))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # or every process says that no parameter went unused
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=devices,
        max_restarts=0,
        monitor_interval=0.5,
        start_method="spawn",
        **_meeting_place(nodes),
    )
    try:
        elastic_launch(config, entrypoint=sys.executable)("-m", "deft", *words)
    except ChildFailedError as failed:
        _, first = failed.get_first_failure()
        if first.exitcode < 0:
            print(
                f"deft: process {first.local_rank} of {devices} was killed by signal {-first.exitcode}, and the others "
                "were stopped; finished work is kept. Repeat the same command to resume",
                file=sys.stderr,
            )
            return 128 - first.exitcode
        return int(first.exitcode)
    except SignalException as came:
        return 128 + int(came.sigval)
    return 0


def _meeting_place(nodes: int) -> dict[str, Any]:
    """Where torchrun's agents find each other."""
    if nodes == 1:
        return {
            "rdzv_backend": "c10d",
            "rdzv_endpoint": "localhost:0",
            "run_id": f"{NAME}-{uuid.uuid4()}",
            "local_addr": "localhost",
        }
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if name not in os.environ]
    if missing:
        raise InputError(
            f"--num-nodes {nodes}: expected MASTER_ADDR, MASTER_PORT and NODE_RANK in the environment of each machine, "
            f"found no {', '.join(missing)}; set them, or start the command with torchrun or srun"
        )
    number_from("MASTER_PORT", 0, least=1, most=65535)
    return {
        "rdzv_backend": "static",
        "rdzv_endpoint": f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}",
        "rdzv_configs": {"rank": number_from("NODE_RANK", 0, most=nodes - 1)},
        "run_id": NAME,
    }


def _check_distributed() -> None:
    if not dist.is_available():
        raise InputError(
            "this build of torch has no torch.distributed; run one process, or install a build that has it"
        )


def _slurm_tasks() -> int:
    """Tasks of the ``srun`` step this process is one of; a batch script itself is none."""
    return number_from("SLURM_STEP_NUM_TASKS", 1, least=1)
