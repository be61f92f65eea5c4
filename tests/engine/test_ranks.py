"""Run as a program this file is one of two processes: ``test_ranks.py FILE RANK``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from deft.engine import ranks
from deft.engine.ranks import (
    agreed,
    barrier,
    first,
    first_alone,
    gathered,
    highest,
    mean_over_ranks,
    of_first,
    own,
    rank,
    world,
)
from processes import together

RANKS = 2


def test_a_process_alone_is_the_first_of_one() -> None:
    x = torch.randn(4, 2, requires_grad=True)
    assert (rank(), world(), first()) == (0, 1, True)
    assert agreed(True) and not agreed(False)
    assert gathered(x) is x and mean_over_ranks(x) is x
    assert torch.equal(own(x), x)
    barrier()
    assert of_first([3, 1]) == [3, 1]
    assert highest(-5) == -5
    with first_alone() as mine:
        assert mine


def test_two_processes(tmp_path: Path) -> None:
    together(Path(__file__), tmp_path / "meeting", processes=RANKS)
    assert sorted(path.name for path in tmp_path.glob("*.ok")) == ["0.ok", "1.ok"]


def whole_batch() -> Tensor:
    return torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def weights() -> Tensor:
    return torch.linspace(-1, 1, 20, dtype=torch.float64).view(4, 5).requires_grad_(True)


def swap_loss(z: Tensor) -> Tensor:
    """A loss in which images meet, and each counts differently."""
    return (torch.cat([z, z.roll(1, 0).detach()], dim=1).tanh() * torch.arange(6.0)[:, None]).pow(2).mean()


def mixed(z: Tensor) -> Tensor:
    return z * 0.3 + z.flip(0) * 0.7


def global_order() -> None:
    batch = whole_batch()
    part = own(batch)
    assert torch.equal(part, batch[[rank(), rank() + 2, rank() + 4]])
    for kind in (torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.uint8):
        values = (10 * batch).abs().to(kind)
        assert torch.equal(gathered(own(values)), values)
    images = torch.arange(6 * 3 * 2 * 2.0).view(6, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    assert torch.equal(gathered(own(images)), images)
    assert not gathered(part).requires_grad


def gradients() -> None:
    """Averaged over the processes they are those of one process with the whole batch."""
    one = weights()
    swap_loss(whole_batch() @ one).backward()
    several = weights()
    swap_loss(gathered(own(whole_batch()) @ several)).backward()
    assert several.grad is not None
    torch.testing.assert_close(averaged(several.grad), one.grad)

    one = weights()
    mixed(whole_batch() @ one).cosh().mean().backward()
    several = weights()
    own(mixed(gathered(own(whole_batch()) @ several))).cosh().mean().backward()
    assert several.grad is not None
    torch.testing.assert_close(averaged(several.grad), one.grad)


def shares() -> None:
    """A mean over what only some images have; at first one image of all has it."""
    for counted in ([0, 0, 0, 0, 1, 0], [3, 0, 2, 0, 0, 7], [0] * 6):
        counts = torch.tensor(counted)
        one, several = weights(), weights()
        ((whole_batch() @ one).sum(1) * counts).sum().div(counts.sum().clamp(min=1)).backward()
        total = ((own(whole_batch()) @ several).sum(1) * own(counts)).sum()
        total.div(mean_over_ranks(own(counts).sum()).clamp(min=1 / world())).backward()
        assert several.grad is not None
        torch.testing.assert_close(averaged(several.grad), one.grad)
    mine = torch.tensor([1.0, rank()])
    assert torch.equal(mean_over_ranks(mine), torch.tensor([1.0, 0.5]))
    assert torch.equal(mine, torch.tensor([1.0, rank()]))  # what comes in is not written to


def averaged(gradient: Tensor) -> Tensor:
    dist.all_reduce(gradient)
    return gradient / world()


def decisions() -> None:
    assert (world(), first()) == (RANKS, rank() == 0)
    assert agreed(rank() == 0) is True
    assert agreed(rank() != 0) is False
    assert highest(10**12 + rank()) == 10**12 + RANKS - 1
    assert -highest(-rank()) == 0
    barrier()
    for numbers in ([], [7], [3, 2**40, 0]):
        assert of_first(numbers if first() else [1, 1]) == numbers


def waits() -> None:
    """The second process waits for the first, which gives signs of life, and goes on in step with it."""
    ranks.BEAT = 0.05
    done = Path(sys.argv[1]).with_name("alone")
    for turn in ("once", "twice"):
        with first_alone() as mine:
            assert mine == first()
            if mine:
                time.sleep(0.4)
                done.with_suffix(f".{turn}").touch()
        assert done.with_suffix(f".{turn}").exists()
        assert agreed(first()) is True


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=RANKS)
    for check in (decisions, waits, global_order, gradients, shares):
        check()
    Path(sys.argv[1]).with_name(f"{rank()}.ok").touch()
    dist.destroy_process_group()
