"""Lightning Fabric: device, mixed precision, gradient scaling for float16, gradients averaged over processes."""

from __future__ import annotations

import logging
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from torch import Tensor, nn

from deft.engine import ranks
from deft.engine.launch import processes_of_this_machine
from deft.engine.precision import EXACT


class LossTerms(nn.Module):
    """The loss terms as a forward pass, which is what Fabric and DistributedDataParallel wrap."""

    def __init__(self, trainee: Any) -> None:
        super().__init__()
        self.trainee = trainee

    def forward(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """As :meth:`deft.engine.plan.Trainee.terms`."""
        terms: dict[str, Tensor] = self.trainee.terms(batch, epoch, rng)
        return terms


class Mixed(MixedPrecision):
    """Mixed precision that keeps in float32 what Fabric's own would round to 16 bits."""

    def convert_input(self, data: Any) -> Any:
        """Inputs unchanged: labels and weights of the loss among them are float32."""
        return data

    def forward_context(self) -> torch.autocast:
        """Autocast without cache: a weight used twice is cast twice, so that its gradients are summed in float32."""
        dtype = torch.bfloat16 if self.precision == "bf16-mixed" else torch.float16
        return torch.autocast(self.device, dtype=dtype, cache_enabled=False)


def fabric_of(precision: str) -> Fabric:
    """Fabric on this process's device, with the other processes of the run."""
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)  # or it advises on float32 matrix products
    together, here = ranks.world(), processes_of_this_machine()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fabric = Fabric(
        accelerator=device,
        devices=here,
        num_nodes=together // here,
        strategy="auto" if together == 1 else "ddp_find_unused_parameters_true",
        plugins=[
            # torchrun's variables, which `launch.join` sets for SLURM's tasks too. Left to itself Fabric would take a
            # process alone in a SLURM job for one of several.
            TorchElasticEnvironment(),
            precision_of(precision, device),
        ],
    )
    fabric.launch()
    return fabric


def precision_of(word: str, device: str) -> Precision:
    """Autocast and gradient scaling for a precision; on a CPU bfloat16 replaces float16."""
    if word == EXACT:
        return Precision()
    return Mixed(cast(Any, word) if device == "cuda" else "bf16-mixed", device)
