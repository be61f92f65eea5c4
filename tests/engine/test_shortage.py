from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.engine.shortage import lacking, out_of_memory, reason_of

LACKS = [
    MemoryError(),
    np._core._exceptions._ArrayMemoryError((10, 10), np.dtype("f8")),  # type: ignore[attr-defined]
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ..."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB, other allocations: 1.00 GB)"),
    RuntimeError("could not create a memory"),
    RuntimeError("could not create a primitive"),
    RuntimeError("could not execute a primitive"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("can't start new thread"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]
OTHERS = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    RuntimeError("expected scalar type Float but found Half"),
    RuntimeError("CUDA error: device-side assert triggered"),
    OSError(errno.ENOSPC, "No space left on device"),
    ValueError("out of memory"),  # of a user's text, say
    KeyError("memory"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("error", LACKS, ids=lambda error: f"{type(error).__name__} {error}"[:40])
def test_every_librarys_words_for_it(error: BaseException) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: f"{type(error).__name__} {error}"[:40])
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert not out_of_memory(error)


def test_the_reason_is_one_short_line() -> None:
    assert reason_of(MemoryError()) == "MemoryError"
    assert reason_of(RuntimeError("CUDA out of memory. Tried to allocate\nmore")) == "CUDA out of memory"
    assert len(reason_of(RuntimeError("x" * 1000))) == 160
    assert "photo.jpg: needs more memory" in lacking("photo.jpg", "no room") and "--max-side" in lacking("a", "b")


LIMITED = """
import resource, sys, time
from pathlib import Path

import numpy as np
import torch

from deft.contracts import InputError, Sample
from deft.engine.fit import fit
from deft.engine.infer import for_each
from deft.engine.optimise import ParamGroup
from deft.engine.parts import in_parts
from deft.engine.plan import Plan

torch.set_num_threads(1)
MB = 2**20


def limit(room):
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if not room:  # at once: reading a file takes memory
        return resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + room, hard))


class Deep(torch.nn.Module):
    "Few weights and many activations: 40 MB for each image, 8 for each layer."

    def __init__(self):
        super().__init__()
        self.first, self.parts = torch.nn.Conv2d(3, 8, 1), 1

    def groups(self):
        return [ParamGroup(list(self.parameters()))]

    def layers(self, x):
        x = self.first(x)
        for _ in range(4):
            x = x.sin()
        return x.mean(dim=(1, 2, 3))

    def terms(self, batch, epoch, rng):
        return {"fit": in_parts(self.layers, batch["image"], self.parts).square().mean()}


class Noise:
    def __len__(self):
        return 8

    def example(self, index, rng):
        return {"image": torch.from_numpy(rng.random((3, 512, 512), dtype=np.float32))}

    def name(self, index):
        return str(index)


def train(folder, room):
    torch.manual_seed(0)
    network = Deep()
    plan = Plan(epochs=1, min_steps=2, batch=8, workers=0)
    folder.mkdir()
    limit(room)
    try:
        fit(network, Noise(), plan, folder=folder)
    finally:
        limit(0)
    return network


class Photographs:
    classes, names, labels = ("a",), tuple("abcd"), np.ones((4, 1), dtype=bool)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return Sample(self.names[index], np.zeros((2, 2, 3), np.uint8), self.labels[index])


def infer(room, each):
    made = []

    def work(index, sample):
        held = torch.empty(each * MB, dtype=torch.uint8)
        time.sleep(0.3)  # so that two of them meet
        made.append(index)

    limit(room)
    try:
        for_each(Photographs(), range(4), work, title="seeds", threads=2)
    except InputError as error:
        print("told:", error)
    finally:
        limit(0)
    print("made:", sorted(made))
"""


def limited(program: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a program that limits its own address space, in a process of its own."""
    return subprocess.run([sys.executable, "-c", LIMITED + program, *map(str, words)], capture_output=True, text=True)


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space of a process")


@linux_only
@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_trained_in_parts_to_the_same_result(tmp_path: Path) -> None:
    program = """
from deft.engine import division

division.budget = lambda asked, device: None  # as where nothing is known of memory before it runs out
whole = train(Path(sys.argv[1]) / "whole", 0)
for room in range(300, 120, -20):  # the first one in which the whole batch does not fit
    network = train(Path(sys.argv[1]) / str(room), room * MB)
    if network.parts > 1:
        break
print(whole.parts, network.parts)
print(all(torch.allclose(a, b, atol=1e-6) for a, b in zip(whole.parameters(), network.parameters())))
"""
    done = limited(program, tmp_path)
    assert done.returncode == 0, done.stderr
    parts, same = done.stdout.splitlines()
    assert parts in ("1 2", "1 4", "1 8") and same == "True"
    assert "training: out of memory; continues with" in done.stderr


@linux_only
@pytest.mark.slow
def test_a_limit_that_is_known_divides_the_batch_before_memory_runs_out(tmp_path: Path) -> None:
    """400 MB are enough for one image and its margin, and not for the 8 of the batch."""
    program = """
whole = train(Path(sys.argv[1]) / "whole", 0)
network = train(Path(sys.argv[1]) / "limited", 400 * MB)
print(whole.parts, network.parts)
print(all(torch.allclose(a, b, atol=1e-6) for a, b in zip(whole.parameters(), network.parameters())))
"""
    done = limited(program, tmp_path)
    assert done.returncode == 0, done.stderr
    parts, same = done.stdout.splitlines()
    assert parts == "1 8" and same == "True"
    assert "left of ulimit" in done.stderr and "out of memory" not in done.stderr


@linux_only
@pytest.mark.slow
def test_a_batch_of_which_not_even_one_image_fits_is_one_error(tmp_path: Path) -> None:
    program = """
train(Path(sys.argv[1]) / "whole", 0)  # imports what a training needs
try:
    train(Path(sys.argv[1]) / "none", 60 * MB)
except InputError as error:
    print(error)
"""
    done = limited(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "training:" in done.stdout and "memory" in done.stdout


@linux_only
@pytest.mark.slow
def test_images_are_worked_on_one_by_one_where_two_do_not_fit() -> None:
    done = limited("infer(700 * MB, 400)\ninfer(700 * MB, 900)")
    assert done.returncode == 0, done.stderr
    together, told, none = done.stdout.splitlines()
    assert together == "made: [0, 1, 2, 3]"
    assert told.startswith("told: seeds: ") and "smaller --max-side" in told and none == "made: []"
