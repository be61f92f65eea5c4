from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from deft.data import room
from deft.data.room import room_for


@pytest.mark.parametrize(("each", "at_most"), [(10, 4), (25, 2), (60, 1), (500, 1)])
def test_no_more_pixels_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch, each: int, at_most: int) -> None:
    monkeypatch.setattr(room, "MOST", 50 if each != 10 else 40)
    lock, inside, most = threading.Lock(), 0, 0

    def decode(_: int) -> None:
        nonlocal inside, most
        with room_for(each):
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.01)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, range(24)))
    assert 1 <= most <= at_most
    assert room._taken == 0


def test_room_is_given_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="damaged"), room_for(room.MOST):
        raise ValueError("damaged")
    with room_for(room.MOST):
        assert room._taken == room.MOST
    assert room._taken == 0
