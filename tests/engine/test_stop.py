from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from deft.engine import stop
from deft.engine.stop import Stopped, between_steps, ending_on_signals, interrupts_held


def nothing() -> None:
    pass


def test_sigterm_ends_what_can_end_anywhere_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped), ending_on_signals(nothing):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        raise AssertionError("not reached")
    assert signal.getsignal(signal.SIGTERM) == before
    assert not stop.asked()


def test_between_steps_it_is_only_noted() -> None:
    with ending_on_signals(nothing):
        with between_steps():
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.asked()
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)


def test_an_error_after_sigterm_is_its_consequence_and_one_before_is_not() -> None:
    with pytest.raises(Stopped) as found, ending_on_signals(nothing), between_steps():
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("a reader has ended")
    assert str(found.value.__cause__) == "a reader has ended"
    with pytest.raises(RuntimeError, match="of its own"), ending_on_signals(nothing), between_steps():
        raise RuntimeError("of its own")


def test_ctrl_c_is_held_and_comes_at_the_end() -> None:
    inside = False
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        signal.raise_signal(signal.SIGINT)
        inside = True
    assert inside
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with interrupts_held():
        pass  # without a signal nothing comes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_does_not_hold_the_end_up() -> None:
    start = time.monotonic()
    with interrupts_held(), ending_on_signals(nothing):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        os.kill(child, signal.SIGINT)
    assert time.monotonic() - start < 30
    assert os.waitpid(child, os.WNOHANG) == (0, 0)  # it runs, and has ignored Ctrl-C
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "deaf",
    [
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)",  # as deaf as a long backward pass
        "weakref.finalize(type('Held', (), {})(), time.sleep, 30)",  # as a destructor, in which Python loses errors
    ],
)
def test_what_does_not_end_is_ended(deaf: str, sent: signal.Signals, code: int) -> None:
    program = f"""
import hashlib, signal, threading, time, weakref
from deft.engine import stop
stop.GRACE = 0.3
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the parent process does with it
with stop.ending_on_signals(lambda: print("last words", flush=True)), stop.between_steps():
    threading.Timer(0.5, lambda: print("begun", flush=True)).start()  # once it is deaf
    {deaf}
    time.sleep(30)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    start = time.monotonic()
    child.send_signal(sent)
    assert child.stdout.read() == "last words\n"
    assert child.wait(20) == code
    assert time.monotonic() - start < 20


def test_another_thread_changes_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with ending_on_signals(nothing):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
