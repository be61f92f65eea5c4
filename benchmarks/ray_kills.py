"""Workers and machines that die in the middle of the work on a Ray cluster: is every mask made, and made once?

    python benchmarks/ray_kills.py
    python benchmarks/ray_kills.py --images 2000 --times 20 --side 96 --backbone test_resnet

A tiny run is made without Ray. Then the masks of its predictions are made again, as `deft run --engine ray` does, on a
cluster of two nodes with one worker each, both on this machine (`ray.cluster_utils.Cluster`): once undisturbed, and
`--times` times with one worker killed by SIGKILL after a third of the masks and one node removed after two thirds. Each
time every file is compared with the run without Ray, byte for byte; a file that was replaced by a second one was made
twice. The memory is that of the driver, the process of the command.

Rates are of the time between the first mask and the last, so that the start of workers is left out; it is given beside
them. `benchmarks/ray_kills.json` and `benchmarks/ray_kills.md` are written. The exit code is 1 if anything is not as it
must be.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from machine import commit, machine, versions

POLL = 0.05
"""Seconds between two looks at the folder."""


@dataclass
class Pass:
    """One making of all masks."""

    start: float = 0.0
    """Seconds until the first mask."""
    rate: float = 0.0
    """Masks per second from the first to the last."""
    memory_mb: float = 0.0
    """Growth of the driver's resident memory, from the first mask to its largest value."""
    worker_killed: bool = False
    node_removed: bool = False
    twice: int = 0
    """Masks of which a second file was seen."""
    faults: list[str] = field(default_factory=list)


class Watch:
    """Looks at a folder while it fills, and disturbs the work once it is so far."""

    def __init__(self, folder: Path, images: int, disturb: list[tuple[float, Callable[[], None]]]) -> None:
        self.folder, self.images, self.disturb = folder, images, list(disturb)
        self.begun = time.monotonic()
        self.seen: dict[str, int] = {}
        self.twice: set[str] = set()
        self.first = self.last = 0.0
        self.memory: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within, the folder is watched."""
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()
            self._look()

    def _run(self) -> None:
        while not self._ended.wait(POLL):
            self._look()
            if self.disturb and len(self.seen) >= self.disturb[0][0] * self.images:
                self.disturb.pop(0)[1]()

    def _look(self) -> None:
        before = len(self.seen)
        if self.folder.is_dir():
            for entry in os.scandir(self.folder):
                if entry.name.endswith(".png") and not entry.name.startswith("."):
                    number = entry.inode()
                    if self.seen.setdefault(entry.name, number) != number:
                        self.twice.add(entry.name)
        if len(self.seen) > before:
            self.last = time.monotonic()
            self.first = self.first or self.last
        if self.seen:
            self.memory.append(resident())


def resident() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def workers() -> list[int]:
    """The cluster's actors: processes below this one whose title says so."""
    parents: dict[int, int] = {}
    titles: dict[int, bytes] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(path.name)] = (path / "cmdline").read_bytes()
        except OSError:
            continue

    def ours(process: int) -> bool:
        while process in parents and process > 1:
            process = parents[process]
            if process == os.getpid():
                return True
        return False

    return [process for process, title in titles.items() if title.startswith(b"ray::MapWorker") and ours(process)]


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--images", type=int, default=2000)
    reader.add_argument("--times", type=int, default=20, help="passes that are disturbed")
    reader.add_argument("--side", type=int, default=96, help="pixels of an image")
    reader.add_argument("--backbone", default="test_resnet")
    reader.add_argument("--write", type=Path, default=Path(__file__).with_suffix(".json"))
    given = reader.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="deft-ray-") as place:
        for found in measure(Path(place), given):
            given.write.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            given.write.with_suffix(".md").write_text(page(found), encoding="utf-8")
    print(page(found))
    return 1 if any(one["faults"] for one in (found["undisturbed"], *found["disturbed"])) else 0


def measure(place: Path, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The run without Ray, and the passes on the cluster; yields what is known after each of these."""
    from ray.cluster_utils import Cluster

    from deft.artifacts import write_json
    from deft.engine.ray_engine import STORE, Call, Ray
    from deft.engine.share import HERE, Engine
    from deft.recipes.finding import chosen
    from deft.runner.on_ray import OnRay
    from deft.runner.run import working
    from deft.stages.make import make_all

    plan = ("min_steps=2", "epochs=1", "batch=32", "workers=0")
    settings = [f"backbone={given.backbone}", "weights=none", "precision=32-true", "seeds.scales=(1.0,)"]
    settings += [f"{stage}.plan.{item}" for stage in ("classifier", "segment") for item in plan]
    settings += ["seed_threshold=0.5", "segment.channels=16", "inference.scales=(1.0,)", "inference.flip=false"]
    call = Call.of(chosen, recipe="cam", paper=False, settings=settings)
    data, out = f"demo:train={given.images},val=0,size={given.side}", place / "run"
    name, pipeline = call()

    with working(pipeline, data, out, name=name) as work:
        masks = out / "predictions" / "train"
        expected = {path.name: path.read_bytes() for path in masks.iterdir()}

        def again(engine: Engine, disturb: list[tuple[float, Callable[[], None]]]) -> Pass:
            for path in masks.iterdir():
                path.unlink()
            stage = work.stored("predictions")
            write_json(stage.folder / "stage.json", {"key": stage.key, "state": "begun"})
            work.engine = engine
            watch = Watch(masks, given.images, disturb)
            with watch.watching():
                make_all(work)
            faults = [f"expected {len(expected)} masks, got {len(watch.seen)}"] * (len(watch.seen) != len(expected))
            faults += [
                f"{path.name} has other bytes"
                for path in masks.glob("[!.]*")
                if path.read_bytes() != expected.get(path.name)
            ]
            faults += [f"{name} was made twice" for name in sorted(watch.twice)]
            return Pass(
                start=watch.first - watch.begun,
                rate=(len(watch.seen) - 1) / max(1e-9, watch.last - watch.first),
                memory_mb=(max(watch.memory) - watch.memory[0]) / 1e6,
                twice=len(watch.twice),
                faults=faults,
            )

        plain = again(HERE, [])
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": STORE})
        try:
            second = cluster.add_node(num_cpus=1, object_store_memory=STORE)
            with Ray(cluster.address) as ray:
                engine = OnRay(ray, call, data, name)
                undisturbed = again(engine, [])
                disturbed: list[Pass] = []
                yield _found(given, plain, undisturbed, disturbed)
                for _ in range(given.times):
                    done = {"killed": False, "removed": False}

                    def kill(done: dict[str, bool] = done) -> None:
                        for process in workers()[:1]:
                            os.kill(process, signal.SIGKILL)
                            done["killed"] = True

                    def remove(done: dict[str, bool] = done, node: Any = second) -> None:
                        cluster.remove_node(node, allow_graceful=False)
                        done["removed"] = True

                    one = again(engine, [(1 / 3, kill), (2 / 3, remove)])
                    one.worker_killed, one.node_removed = done["killed"], done["removed"]
                    one.faults += [f"nothing was {word}" for word, was in done.items() if not was]
                    disturbed.append(one)
                    print(f"{len(disturbed)} of {given.times}: {one}", file=sys.stderr, flush=True)
                    yield _found(given, plain, undisturbed, disturbed)
                    if done["removed"]:
                        second = cluster.add_node(num_cpus=1, object_store_memory=STORE)
        finally:
            cluster.shutdown()


def _found(given: argparse.Namespace, plain: Pass, undisturbed: Pass, disturbed: list[Pass]) -> dict[str, Any]:
    """All results, and where they come from."""
    return {
        "command": " ".join(["python", "benchmarks/ray_kills.py", *sys.argv[1:]]),
        "commit": commit(),
        "machine": machine(torch.device("cpu")),
        "versions": {**versions(), "ray": version("ray")},
        "load": os.getloadavg()[0],
        "images": given.images,
        "plain": asdict(plain),
        "undisturbed": asdict(undisturbed),
        "disturbed": [asdict(one) for one in disturbed],
    }


def page(found: dict[str, Any]) -> str:
    """The tables."""
    plain, ray, all_of = found["plain"], found["undisturbed"], found["disturbed"]
    good = sum(not one["faults"] for one in all_of)
    lines = ["# Workers and nodes that die", "", (__doc__ or "").partition("test_resnet\n\n")[2].strip(), ""]
    lines += [
        f"`{found['command']}` at commit {found['commit']}; {found['machine']['processor']}, with a load of "
        f"{found['load']:.0f} from this and other programs; "
        + ", ".join(f"{name} {number}" for name, number in found["versions"].items())
        + ".",
        "",
    ]
    lines += ["| | seconds to the first mask | masks a second | growth of the driver's memory |"]
    lines += ["|---|---|---|---|"]
    for title, one in (("without Ray", plain), ("on Ray, two workers", ray)):
        lines.append(f"| {title} | {one['start']:.1f} | {one['rate']:.1f} | {one['memory_mb']:.0f} MB |")
    lines += ["", f"On Ray: {ray['rate'] / plain['rate']:.2f} times the rate without it.", ""]
    if all_of:
        lines += [
            f"{good} of {len(all_of)} passes with a killed worker and a removed node ended with all {found['images']} "
            f"masks, each made once and with the bytes of the run without Ray; the driver's memory grew by "
            f"{max(one['memory_mb'] for one in all_of):.0f} MB at most.",
            "",
        ]
    faults = [fault for one in (ray, *all_of) for fault in one["faults"]]
    return "\n".join([*lines, *(["## Faults", "", *(f"- {fault}" for fault in faults), ""] if faults else [])])


if __name__ == "__main__":
    sys.exit(main())
