"""How Fabric is set up; what training makes of it is in ``test_loop.py``."""

from __future__ import annotations

import pytest
import torch
from lightning_fabric.plugins.precision import Precision
from torch import Tensor, nn

from deft.engine.fabric import LossTerms, Mixed, fabric_of, precision_of


def test_float32_is_left_alone_and_a_cpu_replaces_float16_by_bfloat16() -> None:
    assert type(precision_of("32-true", "cpu")) is Precision
    for word in ("bf16-mixed", "16-mixed"):
        mixed = precision_of(word, "cpu")
        assert isinstance(mixed, Mixed)
        assert (mixed.precision, mixed.scaler) == ("bf16-mixed", None)


def test_mixed_precision_rounds_no_input_and_caches_no_weight() -> None:
    mixed = precision_of("bf16-mixed", "cpu")
    batch = {"labels": torch.full((2,), 0.1), "index": torch.tensor([1, 2])}
    assert mixed.convert_input(batch) is batch
    layer = nn.Linear(3, 2)
    with mixed.forward_context():
        assert layer(torch.ones(1, 3)).dtype == torch.bfloat16
        assert not torch.is_autocast_cache_enabled()
    assert torch.is_autocast_cache_enabled()
    assert layer(torch.ones(1, 3)).dtype == torch.float32


def test_a_process_alone_is_one_of_one_in_any_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"JOB_ID": "7", "JOB_NAME": "train", "NTASKS": "4", "PROCID": "3", "LOCALID": "3"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    fabric = fabric_of("bf16-mixed")
    assert (fabric.world_size, fabric.global_rank) == (1, 0)
    assert isinstance(fabric.strategy.precision, Mixed)
    if not torch.cuda.is_available():
        assert fabric.device == torch.device("cpu")


def test_a_forward_pass_gives_the_terms() -> None:
    class Trainee(nn.Module):
        def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
            return {"sum": batch["x"].sum() * epoch + torch.rand(1, generator=rng)}

    rng = torch.Generator().manual_seed(0)
    found = LossTerms(Trainee())({"x": torch.ones(3)}, 2, rng)
    assert found == {"sum": 6 + torch.rand(1, generator=torch.Generator().manual_seed(0))}
