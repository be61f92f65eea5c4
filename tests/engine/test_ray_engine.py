from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import deft.engine.ray_engine
from deft import __version__
from deft.contracts import InputError
from deft.engine.ray_engine import MOST_BLOCKS, Call, Ray, Tries, Worker, block_count
from ray_fakes import OneProcess, notes, refuses, threads

TESTS = Path(__file__).parents[1]


def test_a_call_can_be_repeated_from_its_name_and_plain_arguments() -> None:
    call = Call.of(json.dumps, obj={"a": [1, None]})
    assert call == Call("json:dumps", {"obj": {"a": [1, None]}})
    assert call() == '{"a": [1, null]}'
    nested = Call.of(notes, folder=Path("x"))
    assert nested.function == "ray_fakes:notes" and callable(nested())


@pytest.mark.parametrize(
    ("items", "most", "blocks"),
    [(1, 8, 1), (8, 8, 1), (9, 8, 2), (30, 1, 30), (1_000_000, 8, MOST_BLOCKS), (80_000, 8, MOST_BLOCKS)],
)
def test_blocks_are_small_but_not_too_many(items: int, most: int, blocks: int) -> None:
    assert block_count(items, most) == blocks


def answer(call: Call, *items: int, here: str = "", version: str = __version__) -> Any:
    worker = Worker(call, here or os.getcwd(), version)
    return json.loads(worker({"data": np.array(items, dtype=np.int64)})["answer"][0])


def test_a_worker_answers_with_results_or_with_what_the_driver_raises(tmp_path: Path) -> None:
    assert answer(Call.of(notes, folder=tmp_path), 4, 2) == {"result": [4, 2]}
    assert (tmp_path / "4.txt").exists()
    for what, text in (("call", "expected better arguments"), ("input", "expected better items than 7")):
        assert answer(Call.of(refuses, what=what), 7)["input"].startswith(f"{text} (on ")
    assert answer(Call.of(refuses, what="disk"), 7) == {"system": [28, "No space left on device", "/somewhere/file"]}
    with pytest.raises(ZeroDivisionError):
        answer(Call.of(refuses, what="bug"), 7)
    call = Call.of(notes, folder=tmp_path)
    assert "expected deft 0.0.1 on every machine" in answer(call, 1, version="0.0.1")["input"]
    assert f"expected the folder {tmp_path / 'gone'}" in answer(call, 1, here=str(tmp_path / "gone"))["input"]


@pytest.mark.parametrize("what", ["memory", "no memory"])
def test_a_worker_tells_that_it_lacks_memory(what: str) -> None:
    told = answer(Call.of(refuses, what=what), 7)["input"]
    assert told.startswith("not enough memory for a worker (") and "smaller --max-side" in told
    assert ("can't allocate memory" in told) == (what == "memory")


@pytest.mark.parametrize("outside", [1, 3])
def test_a_worker_computes_with_one_thread_and_gives_the_others_back(outside: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(outside)
    try:
        assert answer(Call.of(threads), 0) == {"result": [1, 1]}
        assert torch.get_num_threads() == outside
    finally:
        torch.set_num_threads(before)


def test_a_block_is_begun_so_often_and_no_more(tmp_path: Path) -> None:
    count = Tries()
    worker = Worker(Call.of(notes, folder=tmp_path), os.getcwd(), __version__, lambda first: count.begin(first) <= 2)

    def said(*items: int) -> Any:
        return json.loads(worker({"data": np.array(items)})["answer"][0])

    assert said(0, 1) == said(0, 1) == {"result": [0, 1]}
    assert said(2) == {"result": [2]}
    assert "every worker that was given numbers 1 to 2 of the work died" in said(0, 1)["input"]
    assert said(2) == {"result": [2]}
    assert "every worker that was given number 3 of the work died" in said(2)["input"]


def test_errors_that_are_answers_are_raised_by_the_driver() -> None:
    with pytest.raises(InputError, match="expected better items than 1"):
        list(OneProcess().map(Call.of(refuses, what="input"), [1, 2]))
    with pytest.raises(OSError, match="No space left") as told:
        list(OneProcess().map(Call.of(refuses, what="disk"), [1, 2]))
    assert (told.value.errno, told.value.filename) == (28, "/somewhere/file")


@pytest.mark.parametrize("module", ["ray", "ray.data"])
def test_without_ray_its_extra_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"--engine ray: expected Ray with Ray Data.*'deft-wsss\[ray\]'"):
        Ray()


@pytest.mark.parametrize("address", ["ray://head:10001", "http://head:8265"])
def test_a_client_is_no_machine_of_the_cluster(address: str) -> None:
    with pytest.raises(InputError, match="expected HOST:PORT or auto"):
        Ray(address)


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:port", "head:70000", "head:\u0661", "local"])
def test_an_address_names_a_host_and_a_port(address: str) -> None:
    with pytest.raises(InputError, match="expected HOST:PORT, such as head:6379, or auto"):
        Ray(address)


@pytest.mark.parametrize("by_variable", [False, True])
def test_an_address_where_no_cluster_is_told_at_once(by_variable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=f"--ray-address {address}: expected a Ray cluster, got: .*refused"):
        next(Ray("auto" if by_variable else address).map(Call.of(print), [1]))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Ray]:
    """A cluster of this machine, whose workers can import what is in tests/."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), *filter(None, [before])])
    try:
        with Ray() as ray:
            yield ray
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_every_item_is_done_once(cluster: Ray, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    found = list(cluster.map(Call.of(notes, folder=tmp_path, poison=37), range(100)))
    assert sorted(item for block in found for item in block) == list(range(100))
    assert (tmp_path / "killed").exists()
    assert [len((tmp_path / f"{item}.txt").read_text().splitlines()) for item in range(100)] == [1] * 100
    assert signal.getsignal(signal.SIGTERM) is before  # Ray's own handler is put away
    assert list(cluster.map(Call.of(notes, folder=tmp_path), [])) == []


@pytest.mark.slow
def test_what_a_worker_refuses_ends_the_work(cluster: Ray) -> None:
    with pytest.raises(InputError, match="expected better items"):
        list(cluster.map(Call.of(refuses, what="input"), range(40)))


@pytest.mark.slow
def test_an_item_that_ends_every_worker_is_given_up(
    cluster: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deft.engine.ray_engine, "TRIES", 1)
    with pytest.raises(InputError, match="every worker that was given numbers 1 to 4 of the work died"):
        list(cluster.map(Call.of(notes, folder=tmp_path, poison=1, always=True), range(4)))


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_leaves_no_process_behind(sent: signal.Signals, code: int, tmp_path: Path) -> None:
    program = f"""
import signal, sys
from pathlib import Path
from deft.engine.ray_engine import Call, Ray
from deft.engine.stop import EXIT_CODE, Stopped, ending_on_signals
from ray_fakes import notes
signal.signal(signal.SIGINT, signal.default_int_handler)
with ending_on_signals(lambda: None):
    try:
        with Ray() as ray:
            list(ray.map(Call.of(notes, folder=Path({str(tmp_path)!r})), range(4_000)))
    except KeyboardInterrupt:
        sys.exit(130)
    except Stopped:
        sys.exit(EXIT_CODE)
"""
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path})
    try:
        patience = time.monotonic() + 300
        while not any(tmp_path.glob("*.txt")) and time.monotonic() < patience:
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(sent)
        assert process.wait(180) == code
    finally:
        process.kill()
    workers = {int(path.read_text()) for path in tmp_path.glob("*.txt")}
    patience = time.monotonic() + 30
    while any(alive(worker) for worker in workers) and time.monotonic() < patience:
        time.sleep(0.1)
    assert workers and not any(alive(worker) for worker in workers)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
