"""Run as a program this file is one of two processes: ``test_share.py FILE RANK``."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from deft.contracts import Sample
from deft.data import open_data
from deft.engine import ranks
from deft.engine.share import HERE, Share
from processes import together

RANKS = 2
IMAGES = 11


def share(folder: Path, made: list[int]) -> Share:
    """Files in two folders, each with the name of its image."""
    data = open_data(f"demo:train={IMAGES},val=0,size=96").train
    paths = [folder / "ab"[index % 2] / f"{index}.txt" for index in range(IMAGES)]
    lock = threading.Lock()

    def work(index: int, sample: Sample) -> None:
        paths[index].parent.mkdir(parents=True, exist_ok=True)
        paths[index].write_text(sample.name)
        with lock:
            made.append(index)

    return Share("some work", data, folder, paths, work, read=False)


def test_what_is_missing_is_made_and_what_is_there_is_kept(tmp_path: Path) -> None:
    made: list[int] = []
    given = share(tmp_path, made)
    assert given.missing() == list(range(IMAGES))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "4.txt").write_text("kept")
    (tmp_path / "a" / "3.txt").write_text("a file of another folder")
    HERE.make(given)
    assert sorted(made) == [index for index in range(IMAGES) if index != 4]
    assert given.missing() == []
    assert given.paths[4].read_text() == "kept"
    assert given.paths[3].read_text() == given.data.names[3]
    HERE.make(given)
    assert len(made) == IMAGES - 1


def test_some_images_are_made_quietly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made: list[int] = []
    assert share(tmp_path, made).make([5, 2], threads=1, bar=False) == 2
    assert made == [5, 2]
    assert "some work" not in capsys.readouterr().err


def test_two_processes_divide_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "files" / "b").mkdir(parents=True)
    (tmp_path / "files" / "b" / "1.txt").write_text("kept")
    together(Path(__file__), tmp_path / "meeting", processes=RANKS)
    parts = [[int(word) for word in (tmp_path / f"{rank}.made").read_text().split()] for rank in range(RANKS)]
    assert sorted(parts[0]) == [0, 3, 5, 7, 9]
    assert sorted(parts[1]) == [2, 4, 6, 8, 10]


def divided(folder: Path) -> None:
    made: list[int] = []
    given = share(folder, made)
    if not ranks.first():
        time.sleep(0.3)  # the first process waits for the list to be taken up, and for the others at the end
    HERE.make(given)
    assert given.missing() == []
    folder.with_name(f"{ranks.rank()}.made").write_text(" ".join(map(str, made)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=RANKS)
    divided(Path(sys.argv[1]).with_name("files"))
    dist.destroy_process_group()
