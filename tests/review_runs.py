"""A finished run without its training, with maps: as the stages leave it, for the page on which masks are reviewed."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deft.artifacts import RunFolder, file_stem, read_json, save_mask, save_seeds, write_json
from deft.contracts import Dataset, SeedMaps
from deft.data import open_data
from deft.review.learning import Learning
from deft.review.serve import listening, opened, prepared
from deft.review.session import Session
from deft.seedmaps import full_mask, grid
from deft.settings import plain
from deft.stages.context import Run
from deft.stages.make import Maps, make_masks
from trained_run import pipeline

THRESHOLD = 0.3
SEED_THRESHOLD = 0.45
TOKEN = "token"


def maps_of(data: Dataset, index: int, seed: int) -> SeedMaps:
    """Smooth maps of the tags of an image, multiples of 1/255 as they are stored."""
    sample = data[index]
    size = (sample.image.shape[0], sample.image.shape[1])
    rng = np.random.default_rng(seed)
    classes = tuple(int(k) for k in np.flatnonzero(data.labels[index]))
    rows, columns = grid(size)
    y, x = np.mgrid[:rows, :columns]
    planes = []
    for _ in classes:
        centre = rng.uniform(0.3, 0.7, 2) * (rows, columns)
        planes.append(np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (0.06 * rows * columns)))
    maps = torch.from_numpy(np.array(planes, dtype=np.float32).reshape(len(classes), rows, columns))
    return SeedMaps(classes, (maps * 255).round() / 255, size, photograph=sample.photograph)


def write_run(run: Path, given: str, refined: bool = True, max_side: int | None = None) -> Path:
    """A run on any dataset: seeds, refined maps, the masks that they make, and predictions of held-out images.

    Args:
        run: its folder.
        given: ``KIND:PATH`` of its data.
        refined: with a refiner.
        max_side: at which it has read photographs.
    """
    splits = open_data(given)
    classes, held_out = list(splits.train.classes), 0 if splits.val is None else len(splits.val)
    settings = [f"seed_threshold={SEED_THRESHOLD}", "segment=none", f"max_side={max_side}"]
    made_with = pipeline(*settings, *([f"refine.background={THRESHOLD}"] if refined else ["refine=none"]))
    record: dict[str, Any] = {
        "recipe": "irn_deft",
        "settings": plain(made_with),
        "data": {"given": given, "images": len(splits.train), "held out": held_out, "classes": classes},
    }
    folder = RunFolder(run, record)
    work = Run(made_with, splits, folder)
    train = [(name, maps_of(work.train, index, index)) for index, name in enumerate(splits.train.names)]
    write_maps(folder, "seeds", "train", train)
    if refined:
        sharper = [(name, replace(maps, maps=(maps.maps**2 * 255).round() / 255)) for name, maps in train]
        train = sharper
        write_maps(folder, "refined", "", train)
    make_masks(work, Maps(work.stored("refined" if refined else "seeds")))
    if splits.val is not None:
        made = folder.stage("predictions", "key of predictions")
        with made.making():
            for index, name in enumerate(splits.val.names):
                mask = full_mask(maps_of(splits.val, index, 100 + index), 0.5)
                save_mask(made.folder / "val" / f"{file_stem(name)}.png", mask, made.key)
    thresholds = {"seeds": {"threshold": SEED_THRESHOLD}} | ({"refined": {"threshold": THRESHOLD}} if refined else {})
    write_json(run / "run.json", read_json(run / "run.json") | {"thresholds": thresholds})
    folder.seal()
    folder.close()
    return run


def write_maps(folder: RunFolder, stage: str, inside: str, maps: list[tuple[str, SeedMaps]]) -> None:
    made = folder.stage(stage, f"key of {stage}")
    with made.making():
        for name, each in maps:
            save_seeds(made.folder / inside / f"{file_stem(name)}.npz", each, made.key)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Client:
    """Asks a server as its page would."""

    port: int
    session: Session

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request; a body that is no bytes is sent as JSON. Headers replace those of the page; None leaves out."""
        own = {"Host": f"127.0.0.1:{self.port}", "Cookie": f"deft-review-{self.port}={TOKEN}"}
        if method == "POST":
            own["Origin"] = f"http://127.0.0.1:{self.port}"
        sent = {name: value for name, value in (own | (headers or {})).items() if value is not None}
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in (sent | ({} if content is None else {"Content-Length": str(len(content))})).items():
                connection.putheader(name, value)
            connection.endheaders(content)
            came = connection.getresponse()
            return Answer(came.status, {name.lower(): value for name, value in came.getheaders()}, came.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, body: Any = b"") -> Answer:
        return self.ask("POST", path, body)


@contextmanager
def served(run: Path, learning: Learning | None = None) -> Iterator[Client]:
    """A server of a run, on a free port; with what makes rounds of it, and its session."""
    session = opened(run) if learning is None else learning.session
    taken = listening(0)
    server, _ = prepared(session, taken, TOKEN, learning)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
    thread.start()
    try:
        yield Client(taken.getsockname()[1], session)
    finally:
        server.should_exit = True
        thread.join()
        taken.close()
