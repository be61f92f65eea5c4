from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import deft.engine.ray_train
from deft.contracts import InputError
from deft.engine.ray_engine import Call, Ray
from deft.engine.ray_train import _fit, start
from ray_fakes import meets

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("resources", "processes", "most"),
    [({"CPU": 2.0}, 3, "2, one for each core"), ({"CPU": 64.0, "GPU": 4.0}, 5, "4, one for each GPU"), ({}, 1, "0, ")],
)
def test_a_cluster_has_a_device_for_each_process(resources: dict[str, float], processes: int, most: str) -> None:
    cluster = SimpleNamespace(connected=lambda: SimpleNamespace(cluster_resources=lambda: resources))
    with pytest.raises(InputError, match=f"--devices {processes}: expected at most {most}"):
        start(Call.of(meets), processes, cast(Any, cluster))


@pytest.mark.parametrize("module", ["ray.train", "ray.train.torch"])
def test_without_ray_train_its_extra_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"expected Ray Train, got .*'deft-wsss\[ray\]'"):
        start(Call.of(meets), 2, cast(Any, SimpleNamespace(connected=lambda: None)))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_those_of_the_command_while_a_trainer_works(sent: signal.Signals) -> None:
    def sleeps() -> None:
        time.sleep(60)

    before = signal.signal(sent, signal.default_int_handler)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), sent))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            _fit(SimpleNamespace(fit=sleeps))
    finally:
        timer.cancel()
        signal.signal(sent, before)


def test_errors_of_a_trainer_are_raised() -> None:
    def fails() -> None:
        raise InputError("expected a better trainer")

    with pytest.raises(InputError, match="a better trainer"):
        _fit(SimpleNamespace(fit=fails))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Ray]:
    """A cluster of this machine, whose workers can import what is in tests/."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]))
        patch.setattr("deft.engine.ray_engine.cores", lambda: 2)
        with Ray() as ray:
            yield ray


@pytest.mark.slow
def test_processes_meet_print_and_the_exit_code_is_that_of_one_that_failed(
    cluster: Ray, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert start(Call.of(meets, folder=tmp_path, code=3), 2, cluster) == 3
    assert signal.getsignal(signal.SIGINT) is before  # Ray Train's own is put away
    out, err = capfd.readouterr()
    assert sorted(out.splitlines()) == [f"process {rank} of 2 in {Path.cwd()}, True" for rank in range(2)]
    assert err.splitlines().count("a fault") == 2


@pytest.mark.slow
def test_a_run_that_lost_a_process_is_started_again(
    cluster: Ray, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert start(Call.of(meets, folder=tmp_path, dies=True), 2, cluster) == 0
    err = capfd.readouterr().err
    assert err.count("deft: a process of the run was lost: ") == err.count("starting again") == 1


@pytest.mark.slow
def test_a_run_that_goes_on_losing_processes_is_given_up(
    cluster: Ray, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.train import TrainingFailedError

    def loses(trainer: object) -> None:
        raise TrainingFailedError("a worker died")

    monkeypatch.setattr(deft.engine.ray_train, "RESTARTS", 2)
    monkeypatch.setattr(deft.engine.ray_train, "_fit", loses)  # each loss of a real one takes half a minute
    with pytest.raises(InputError, match="the run lost a process 3 times; finished work is kept"):
        start(Call.of(meets, folder=tmp_path), 2, cluster)
    err = capfd.readouterr().err
    assert err.count("a process of the run was lost: a worker died") == 3 and err.count("starting again") == 2
