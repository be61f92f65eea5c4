"""Facts of a small machine, as ``deft doctor`` finds them."""

from __future__ import annotations

from pathlib import Path

from deft.backbone.reach import Reach
from deft.doctor.facts import EXTRAS, Facts
from deft.doctor.need import Need
from deft.doctor.storage import Storage
from deft.engine.machine import Machine, Memory
from deft.engine.threads import Choice

GB = 10**9
MACHINE = Machine(
    system="Linux 6, x86_64",
    python="3.13.1",
    torch="2.9.0",
    build="CPU",
    cores=2,
    free=1.1,
    threads=Choice(1, "1.1 of 2 cores free", True),
    memory=Memory(8 * GB, 5 * GB),
    gpu=None,
    precision="32-true",
    readers=0,
    shared=64_000_000,
    files=64,
)
FACTS = Facts(
    machine=MACHINE,
    storage=Storage(Path("runs"), "", 50 * GB, True, True, True, True),
    weights=Reach(False, False, Path("cache"), (), ("tf_efficientnet_lite0",)),
    needs=(Need("resnet50", 16, 512, GB, GB // 4),),
    extras=dict.fromkeys(EXTRAS, True) | {"heif": False},
    home="/home/a",
    cache=True,
    temporary="/tmp",
)
"""A small machine on which a run can work."""
