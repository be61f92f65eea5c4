"""Trainings that are hard to finish: few images, losses that are no numbers, too little memory."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import timm
import torch
from safetensors.torch import save_file

from field.case import Case, Content, NotHere, called, photographs, picture
from field.runs import PHOTOS, all_of, copied, expected, process, remade, run_words, unlike, whole


def _few(count: int, *settings: str, recipe: str = "cam", labels: str = "") -> tuple[dict[str, Content], object]:
    """A run on so few images ends with a mask for each."""
    names = "abc"[:count]
    table = labels or "".join(f"{name},{'cow' if name != 'b' else 'dog'}\n" for name in names)
    photos = photographs(*(f"{name}.png" for name in names))
    files: dict[str, Content] = {f"photos/{name}": content for name, content in photos.items()}

    def wrong(folder: Path) -> str:
        run = folder / "out" / "run"
        words = run_words(folder / "photos", run, *settings, recipe=recipe)
        ended = called(words)
        masks = [name for name in names if not (run / "masks" / f"{name}.png").is_file()]
        return all_of(expected(ended, 0), whole(run), f"no mask of {masks[0]}" if masks else "")

    return {**files, "photos/labels.csv": f"image,labels\n{table}"}, wrong


_IRN = (
    *("refine.plan.epochs=1", "refine.plan.min_steps=2", "refine.plan.batch=16", "refine.plan.workers=0"),
    *("refine.labels.fg=0.02", "refine.labels.bg=0.01", "refine.labels.crf.iterations=0"),
    *("classifier.plan.epochs=2", "classifier.head.swap_epoch=1"),
)
_LARGE = ("classifier.plan.batch=16", "segment.plan.batch=16")

_NAN_AUGMENT = """
from dataclasses import dataclass, replace
from deft import Pipeline, recipes

@dataclass(frozen=True)
class Spoil:
    def __call__(self, x, labels, rng):
        return x * float("nan"), labels

def recipe() -> Pipeline:
    base = recipes.cam()
    return replace(base, classifier=replace(base.own_classifier, augment=Spoil()))
"""
_LATE = """
from dataclasses import dataclass, replace
from deft import Pipeline, recipes

calls = []

@dataclass(frozen=True)
class Spoil:
    def __call__(self, x, labels, rng):
        if len(x) == 4:  # a whole batch: steps that are only measured have fewer images
            calls.append(1)
        return x * float("nan") if len(calls) == 4 and len(x) == 4 else x, labels

def recipe() -> Pipeline:
    calls.clear()
    base = recipes.cam()
    return replace(base, classifier=replace(base.own_classifier, augment=Spoil()))
"""


def _not_a_number(
    stage: str, *settings: str, recipe: str = "", weights: str = "none", step: str = "step"
) -> Callable[[Path], str]:
    """The training ends with one message; what it says of a checkpoint is so, and nothing that was finished is lost."""

    def wrong(folder: Path) -> str:
        run = folder / "out" / "run"
        given = {"recipe": str(folder / recipe) if recipe else "cam"}
        if weights != "none":
            given["weights"] = str(folder / weights)
        words = run_words(folder / "photos", run, *settings, **given)
        ended = called(words)
        title = {"classifier": "classifier", "segment": "segmentation"}[stage]
        kept = (run / stage / "checkpoint.safetensors").exists()
        told = "the last checkpoint are kept" if kept else "no checkpoint yet"
        made = remade(run, lambda: called(words))
        return all_of(
            expected(ended, 2, title, "expected a finite", step, "lower the learning rate", told),
            "" if made == [stage] else f"makes {made} again",
            "a network was stored" if (run / stage / "model.safetensors").exists() else "",
            "a page was written" if (run / "report.html").exists() else "",
        )

    return wrong


def _late(folder: Path) -> str:
    """The loss is none after a checkpoint: it is kept, and a mended recipe goes on from it to a sound end."""
    run, recipe = folder / "out" / "run", folder / "late.py"
    words = run_words(folder / "photos", run, "classifier.plan.min_steps=6", recipe=str(recipe))
    with mock.patch("deft.engine.plan.CHECKPOINT_SECONDS", 0.0):
        ended = called(words)
    kept = run / "classifier" / "checkpoint.safetensors"
    wrong = all_of(
        expected(ended, 2, "expected a finite loss at step 4", "the last checkpoint are kept"),
        "" if kept.exists() else "there is no checkpoint",
    )
    again = called(words)  # from step 3 on, the fourth call is not reached
    return all_of(wrong, expected(again, 0), whole(run), "the checkpoint is left" if kept.exists() else "")


def _weights(path: Path, first: float | None = None) -> None:
    """Weights of a backbone; the statistics of its batch norms are then frozen."""
    torch.manual_seed(0)
    state = timm.create_model("test_resnet", pretrained=False).state_dict()
    if first is not None:
        state["conv1.0.weight"][0, 0, 0, 0] = first
    save_file(state, path)


def _broken_weights(path: Path) -> None:
    """Weights of which one is no number."""
    _weights(path, float("nan"))


_LIMITED = """
import contextlib, io, json, resource, sys
from deft.cli.main import main

def used():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024

def limit(room):
    resource.setrlimit(resource.RLIMIT_AS, (first + room * 2**20, resource.getrlimit(resource.RLIMIT_AS)[1]))

def within(room, words):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        if room:
            limit(room)
        try:
            code = main(words)
        finally:
            if room:
                hard = resource.getrlimit(resource.RLIMIT_AS)[1]
                resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    return {"code": code, "said": said.getvalue(), "room": room}

before, words, sign, after, room = map(json.loads, sys.argv[1:])
within(0, before)  # imports what is needed
first = used()
found = [within(room, words)]
if sign in found[0]["said"]:
    found += [within(room if bounded else 0, more) for bounded, more in after]
print(json.dumps(found))
"""
"""A command in little memory; if a sign of it is in what it says more commands, within as much or without."""
_ROOMS = (1600, 1300, 1100, 900, 800, 700, 600, 500, 400, 300, 200)
"""Memory in MB, beside what the process has when it begins."""


def _limited(
    before: list[str], words: list[str], sign: str, *after: tuple[bool, list[str]]
) -> tuple[list[tuple[int, str]], str]:
    """How the command ended in which memory ran short, and those after it; and the room there was, in MB.

    Every room is tried in a process of its own: what one has freed is no room for the next, and counts as used.
    """
    if sys.platform != "linux":
        raise NotHere("only Linux limits the address space of a process")
    found: list[dict[str, Any]] = []
    for room in _ROOMS:
        given = (before, _in(room, words), sign, [(bounded, _in(room, more)) for bounded, more in after], room)
        ended = process([json.dumps(each) for each in given], program=_LIMITED)
        if ended.code:
            return [(ended.code, ended.said)] * (1 + len(after)), ""
        found = json.loads(ended.said.splitlines()[-1])
        if sign in found[0]["said"]:
            break
    last = (found[-1]["code"], found[-1]["said"])
    ends = [(one["code"], one["said"]) for one in found]
    return ends + [last] * (1 + len(after) - len(ends)), str(found[0]["room"])


def _in(room: int, words: list[str]) -> list[str]:
    """Words of a command, with the number of a room in place of its name."""
    return [word.replace("ROOM", str(room)) for word in words]


def _in_parts(stage: str, title: str) -> Callable[[Path], str]:
    """A batch that does not fit is trained in parts: to the same weights, or with a word on what changes them."""

    def wrong(folder: Path) -> str:
        out = folder / "out"
        settings = [f"{stage}.plan.batch=48", *(["segment=none"] if stage == "classifier" else ())]
        weights = folder / "w.safetensors"
        words = [str(word) for word in run_words(folder / "photos", out / "ROOM", *settings, weights=weights)]
        words[words.index(f"folder:{folder / 'photos'}")] = "demo:train=4,val=1,size=512"
        whole_batch = [word.replace("ROOM", "whole") for word in words]
        before = run_words(folder / "photos", out / "before")
        sign = "of 48 images at a time"  # said before the first step, or when memory has run out
        ended, room = _limited(before, words, sign, (False, whole_batch))
        # The classifier's batch norms are frozen; those of the network's decoder are trained.
        same = stage == "classifier"
        told = () if same else ("batch norms that are trained see these images only, which changes results",)
        return all_of(
            expected(ended[0], 0, f"{title}: ", sign, *told),
            expected(ended[1], 0, never=("Traceback", "out of memory")),
            whole(out / room),
            unlike(out / room, out / "whole", stage, 1e-3) if same else "",
        )

    return wrong


_PANORAMA: dict[str, Content] = {**PHOTOS, "large/wide.png": picture(size=(2600, 2600)), "large/small.png": picture()}


def _alone(folder: Path) -> str:
    """An image of which the maps do not fit is named; what was trained is kept, and it is finished without a limit."""
    data = folder / "out" / "data"
    shutil.copytree(folder / "photos", data)
    shutil.copy(folder / "large" / "wide.png", data / "images" / "a.png")
    (data / "masks" / "a.png").unlink()
    words = [*run_words(data, folder / "out" / "ROOM", "segment=none"), "--max-side", "none"]
    before = run_words(folder / "photos", folder / "out" / "before")
    sign = "needs more memory than there is"
    ended, room = _limited(before, words, sign)
    run = folder / "out" / room
    made = remade(run, lambda: ended.append(called([word.replace("ROOM", room) for word in words])))
    return all_of(
        expected(ended[0], 2, sign, ": a: needs", "--max-side", "finished work is kept"),
        expected(ended[1], 0),
        whole(run),
        "the classifier was trained again" if "classifier" in made else "",
    )


def _predicted(folder: Path) -> str:
    """A photograph that does not fit is named and the others are done; a smaller bound has it fit."""
    run, out = copied(folder), folder / "out"
    words = ["predict", str(run), str(folder / "large"), "--out", str(out / "ROOM"), "--threads", "1"]
    before = ["predict", str(run), str(folder / "photos" / "images"), "--out", str(out / "before")]
    small = [*words[:-3], str(out / "small"), *words[-2:], "--max-side", "256"]
    sign = "needs more memory than there is"
    ended, room = _limited(before, [*words, "--max-side", "none"], sign, (True, small))
    return all_of(
        expected(ended[0], 2, "1 of 2 photographs are done", "wide.png", sign, "smaller --max-side"),
        "" if (out / room / "masks" / "small.png").is_file() else "the other photograph was not done",
        expected(ended[1], 0),
        "" if (out / "small" / "masks" / "wide.png").is_file() else "there is no mask at the smaller bound",
    )


CASES: list[Case] = []
for _name, (_files, _wrong) in {
    "3 images, batches of 16": _few(3, *_LARGE),
    "one image": _few(1, *_LARGE),
    "2 images, batches of one": _few(2, "classifier.plan.batch=1", "segment.plan.batch=1"),
    "3 images, one without tags, DEFT and IRN": _few(3, *_LARGE, *_IRN, recipe="irn_deft", labels="a,cow\nb,dog\nc,\n"),
}.items():
    CASES.append(Case("robosat 228: few images", _name, _files, _wrong))  # type: ignore[arg-type]
CASES += [
    Case("A loss that is not a number", _name, {**PHOTOS, **_files}, _wrong)
    for _name, _files, _wrong in (
        (
            "a rate that is too high",
            {},
            _not_a_number(
                "segment",
                "segment.plan.optimiser.lr=100",
                "segment.plan.optimiser.decay=100",
                "segment.plan.min_steps=30",
                "segment.plan.clip=0",
            ),
        ),
        (
            "weights that are no numbers",
            {"w.safetensors": _broken_weights},
            _not_a_number("classifier", weights="w.safetensors", step="step 1"),
        ),
        ("an augmentation", {"spoil.py": _NAN_AUGMENT}, _not_a_number("classifier", recipe="spoil.py", step="step 1")),
        ("after a checkpoint", {"late.py": _LATE}, _late),
    )
]
CASES += [
    *(
        Case(
            "Recovery from lack of memory",
            name,
            {**PHOTOS, "w.safetensors": _weights},
            _in_parts(stage, title),
        )
        for name, stage, title in (
            ("a classifier in parts", "classifier", "classifier"),
            ("a segmentation network in parts", "segment", "segmentation"),
        )
    ),
    Case("Recovery from lack of memory", "an image whose maps do not fit", _PANORAMA, _alone),
    Case("Recovery from lack of memory", "a photograph that does not fit", _PANORAMA, _predicted),
]
