"""What a finished run is made from and made of: images and weights known by their contents, and files verified."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import timm
import torch
from safetensors.torch import save_file

from field.case import Case, Content, called, grey, picture
from field.runs import PHOTOS, all_of, copied, differs, expected, finished, remade, run_words, unlike, whole


def _again(folder: Path, run: Path, code: int, stages: list[str], *said: str, data: str = "", **more: str) -> str:
    """The run's command is repeated: it ends with this code, says these words and makes these stages."""
    ended: list[tuple[int, str]] = []
    words = run_words(data or folder / "photos", run, **more)
    made = remade(run, lambda: ended.append(called(words)))
    return all_of(expected(ended[0], code, *said), "" if made == stages else f"makes {made} instead of {stages}")


def _touched(folder: Path) -> str:
    run = copied(folder)
    for path in folder.glob("photos/images/*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    before = (run / "scores.json").read_bytes()
    return all_of(
        _again(folder, run, 0, []),
        "" if (run / "scores.json").read_bytes() == before else "scores changed",
        differs(run, finished()),
    )


def _elsewhere(folder: Path) -> str:
    """A copy of the data, named in other ways, serves a new run that reuses the old one."""
    run, copy = copied(folder), shutil.copytree(folder / "photos", folder / "out" / "copy")
    words = [*run_words(f"{copy}/../copy/", folder / "out" / "new"), "--reuse", str(run)]
    ended = called(words)
    shared = (folder / "out/new/classifier/model.safetensors").samefile(run / "classifier/model.safetensors")
    return all_of(
        expected(ended, 0),
        differs(folder / "out" / "new", finished()),
        "" if shared else "the classifier was trained again",
        _again(folder, run, 0, [], data=f"{copy}/"),
    )


def _changed_beneath(folder: Path) -> str:
    """Other pixels under the same size and time: the folder is refused, and a new one trains."""
    run, path = copied(folder), folder / "out" / "data" / "images" / "a.png"
    shutil.copytree(folder / "photos", folder / "out" / "data")
    run_on = folder / "out" / "data"
    wrong = _again(folder, run, 0, [], data=str(run_on))
    time, size = path.stat().st_mtime_ns, path.stat().st_size
    other = picture(seed=77)
    path.write_bytes(other[:size].ljust(size, b"\0"))  # what follows the end of a PNG is passed over
    os.utime(path, ns=(time, time))
    words = [*run_words(run_on, folder / "out" / "new"), "--reuse", str(run)]
    return all_of(
        wrong,
        "" if len(other) <= size else "the case has made no picture of the same size",
        _again(folder, run, 2, [], "images to learn from", "a", data=str(run_on)),
        expected(called(words), 0),
        whole(folder / "out" / "new"),
        "" if unlike(folder / "out" / "new", run) else "the weights are those of the other images",
    )


def _mended_mask(folder: Path) -> str:
    """A mask is redrawn: nothing is trained again, and the scores are others."""
    run, data = copied(folder), folder / "out" / "data"
    shutil.copytree(folder / "photos", data)
    (data / "masks" / "a.png").write_bytes(grey(np.full((12, 16), 1, np.uint8)))
    before = json.loads((run / "scores.json").read_text())
    wrong = _again(folder, run, 0, [], data=str(data))
    return wrong or ("" if json.loads((run / "scores.json").read_text()) != before else "the scores are the old ones")


def _damaged(name: str, stages: list[str], change: Callable[[Path], object]) -> Callable[[Path], str]:
    """A file of a finished stage was changed: the stage is made again, and the run is as it was."""

    def wrong(folder: Path) -> str:
        run = copied(folder)
        change(run / name)
        return all_of(
            expected(called(["verify", str(run)]), 2, name),
            _again(folder, run, 0, stages, name, f"the stage {stages[0]} is made again"),
            differs(run, finished()),
            whole(run),
            expected(called(["verify", str(run)]), 0, "no faults"),
        )

    return wrong


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _another_network(path: Path) -> None:
    """Sound weights of the same shapes, which were never trained here."""
    from safetensors import safe_open

    with safe_open(str(path), "pt") as file:
        state, note = {key: file.get_tensor(key) + 1 for key in file.keys()}, file.metadata()  # noqa: SIM118
    path.unlink()
    save_file(state, path, metadata=note)


def _weights(seed: int) -> Content:
    """A file of weights of the backbone, as the hub has it."""

    def make(path: Path) -> None:
        torch.manual_seed(seed)
        save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), path)

    return make


_TAGGED = "test_resnet.r160_in1k"
_CACHE = f"cache/models--timm--{_TAGGED}"
_HUB: dict[str, Content] = {
    **PHOTOS,
    f"{_CACHE}/refs/main": "one",
    f"{_CACHE}/snapshots/one/model.safetensors": _weights(1),
    "other.safetensors": _weights(2),
}


@contextmanager
def _hub(cache: Path) -> Iterator[None]:
    """Timm's hub cannot be reached, and this is its cache."""
    import huggingface_hub.constants

    with (
        mock.patch.dict(os.environ, HF_HUB_OFFLINE="1"),
        mock.patch.object(huggingface_hub.constants, "HF_HUB_CACHE", str(cache)),
    ):
        yield


def _recorded(run: Path) -> str:
    return str(json.loads((run / "run.json").read_text())["settings"]["weights"])


def _sha(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _named(folder: Path) -> str:
    """The record of a run names tag and hash of what ``resnet50`` meant."""
    run = folder / "out" / "run"
    with _hub(folder / "cache"):
        wrong = all_of(expected(called(run_words(folder / "photos", run, weights="hub")), 0), whole(run))
    if wrong:
        return wrong
    there, said = _sha(folder / _CACHE / "snapshots/one/model.safetensors"), _recorded(run)
    return "" if _TAGGED in said and there in said else f"run.json has {said!r} of {_TAGGED}, {there}"


def _replaced(folder: Path) -> str:
    """Under the same name the hub has other weights now."""
    run, new, cache = folder / "out" / "run", folder / "out" / "new", folder / "out" / "cache"
    shutil.copytree(folder / "cache", cache)
    with _hub(cache):
        wrong = expected(called(run_words(folder / "photos", run, weights="hub")), 0)
        two = cache / Path(_CACHE).name / "snapshots" / "two"
        two.mkdir()
        shutil.copy(folder / "other.safetensors", two / "model.safetensors")
        (cache / Path(_CACHE).name / "refs" / "main").write_text("two")
        return all_of(
            wrong,
            _again(folder, run, 2, [], "settings.weights", _sha(two / "model.safetensors"), weights="hub"),
            expected(called([*run_words(folder / "photos", new, weights="hub"), "--reuse", str(run)]), 0),
            "" if unlike(new, run) else "the classifier of the other weights was taken over",
        )


def _gone(folder: Path) -> str:
    """The cache was emptied: a finished run is still known, and a new one is refused before anything is made."""
    run = folder / "out" / "run"
    with _hub(folder / "cache"):
        wrong = expected(called(run_words(folder / "photos", run, weights="hub")), 0)
    with _hub(folder / "out" / "nothing"):
        return all_of(
            wrong,
            _again(folder, run, 0, [], weights="hub"),
            expected(
                called(run_words(folder / "photos", folder / "out" / "new", weights="hub")), 2, "not in the local cache"
            ),
            "a folder was made" if (folder / "out" / "new").exists() else "",
        )


def _a_file(folder: Path) -> str:
    """A renamed copy of a file of weights is the same, and other bytes under its name are not."""
    run, mine = folder / "out" / "run", folder / "out" / "mine.safetensors"
    source = folder / _CACHE / "snapshots/one/model.safetensors"
    mine.parent.mkdir()
    shutil.copy(source, mine)
    wrong = expected(called(run_words(folder / "photos", run, weights=mine)), 0)
    copy = shutil.copy(source, folder / "out" / "renamed.safetensors")
    wrong = wrong or _again(folder, run, 0, [], weights=str(copy))
    shutil.copy(folder / "other.safetensors", mine)
    return wrong or _again(folder, run, 2, [], "settings.weights", _sha(mine), weights=str(mine))


def _group(group: str, cases: dict[str, Callable[[Path], str]], files: dict[str, Content] = PHOTOS) -> list[Case]:
    return [Case(group, name, files, wrong) for name, wrong in cases.items()]


CASES: list[Case] = [
    *_group(
        "test-time-adaptation 4: weights by name",
        {
            "tag and hash in the record": _named,
            "replaced on the hub": _replaced,
            "gone from the cache": _gone,
            "a file, renamed and replaced": _a_file,
        },
        _HUB,
    ),
    *_group(
        "Contents decide",
        {
            "touched": _touched,
            "copied, and spelt in another way": _elsewhere,
            "other bytes under the same size and time": _changed_beneath,
            "a mask was redrawn": _mended_mask,
        },
    ),
    *_group(
        "Finished stages are verified",
        {
            "garbage for a network": _damaged(
                "classifier/model.safetensors", ["classifier"], lambda path: path.write_bytes(b"garbage")
            ),
            "another network": _damaged("segment/model.safetensors", ["segment"], _another_network),
            "one bit of a map": _damaged("seeds/train/b.npz", ["seeds"], _flip),
            "a mask is missing": _damaged("masks/c.png", ["masks"], lambda path: path.unlink()),
        },
    ),
]
