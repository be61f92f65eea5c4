from __future__ import annotations

import pytest
import torch

from deft.contracts import InputError
from deft.engine import threads
from deft.engine.threads import Choice, choose, computing


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cores of which three are free, and no variables of a launcher or a user."""
    for name in ("OMP_NUM_THREADS", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "cores", lambda: 4)
    monkeypatch.setattr(threads, "measured", lambda: (3.1, 4))
    monkeypatch.setattr(threads, "processes_of_this_machine", lambda: 1)


@pytest.mark.parametrize(
    ("free", "usual", "number"),
    [(4.0, 4, 4), (3.6, 4, 4), (3.4, 4, 3), (0.9, 4, 1), (0.0, 4, 1), (4.0, 2, 2), (1.2, 2, 1)],
)
def test_auto_takes_the_free_cores(free: float, usual: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "measured", lambda: (free, usual))
    choice = choose()
    assert choice.number == number and choice.measured
    assert choice.why.startswith(f"{free:.1f} of 4 cores free")
    assert ("torch takes 2" in choice.why) == (free == 4.0 and usual == 2)


def test_what_was_asked_for_comes_first_and_then_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(begun=2) == Choice(2, "as the run was begun")
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert choose(begun=2) == choose() == Choice(6, "as OMP_NUM_THREADS says")
    assert choose(5, begun=2) == Choice(5, "as set")


@pytest.mark.parametrize(("begun", "number"), [(1, 1), (4, 4), (9, 4), (0, 3), (None, 3), ("2", 3), (-1, 3)])
def test_a_run_keeps_its_number_as_far_as_there_are_cores(begun: object, number: int) -> None:
    assert choose(begun=begun).number == number


@pytest.mark.parametrize(("processes", "number"), [(2, 2), (3, 1), (8, 1)])
def test_processes_share_the_cores(processes: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "processes_of_this_machine", lambda: processes)
    assert choose().number == choose(begun=4).number == number


@pytest.mark.parametrize(("text", "number"), [("2", 2), (" 3 ", 3), ("4,2", 4), ("", 3)])
def test_spellings_of_the_variable(text: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert choose().number == number


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "99999"])
def test_a_variable_that_is_no_number_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    with pytest.raises(InputError, match="OMP_NUM_THREADS: expected a whole number from 1 to 1024, got "):
        choose()


@pytest.mark.parametrize(("run", "number"), [("none", 2), ("deft-1234", 1)])
def test_one_thread_is_torchruns_default_and_no_wish(run: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", run)
    monkeypatch.setattr(threads, "processes_of_this_machine", lambda: 2)
    assert choose().number == number


def test_threads_are_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), computing(Choice(3, "as set")):
        assert torch.get_num_threads() == 3
        raise RuntimeError
    assert torch.get_num_threads() == before
    assert capsys.readouterr().err == "3 threads: as set\n"
    with computing(Choice(1, "as set"), tell=False):
        assert torch.get_num_threads() == 1
    assert capsys.readouterr().err == ""
