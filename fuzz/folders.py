"""Records in folders of results, which somebody may have edited or made, and shards."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from contextlib import suppress
from pathlib import Path

from hypothesis import strategies as st

from deft.artifacts.hashes import digest
from deft.artifacts.out_folder import OutFolder
from deft.contracts import InputError
from deft.data.layouts.entries import image_of, tags_of
from deft.data.layouts.shards import read_shard
from fuzz.damage import damaged, sometimes_damaged
from fuzz.labels import images
from fuzz.pictures import picture
from fuzz.reader import Files, Reader
from fuzz.records import DATA, run_json
from fuzz.values import WORDS, encoded, filled, json_file


def _read_run(folder: Path) -> None:
    from deft.runner.recorded import read_record

    pipeline, _, _ = read_record(folder, DATA)
    repr(pipeline)


_NAMES = ("a.png", "../kept.txt", "../../kept.txt", "/kept.txt", "masks/../../kept.txt", ".", "..", "", "\0", "a" * 300)
_HASH = hashlib.sha256(b"mask").hexdigest()
_STAGE = {"key": "k", "state": "done", "seconds": 1.5, "files": {"a.png": _HASH, "../kept.txt": "0" * 64, "x": None}}
_STATISTICS = {"made_by": "k", "counts": [1] * 256, "information": [0.5] * 100, "images": 3}
_BESIDE = {"kept.txt": b"kept", "photos/kept.txt": b"kept"}


@st.composite
def _stage(draw: st.DrawFn) -> Files:
    record = {**_STAGE, "files": {draw(st.sampled_from(_NAMES)): "0" * 64, **_STAGE["files"]}}  # type: ignore[dict-item]
    return {
        "run/seeds/stage.json": draw(json_file(record)),
        "run/seeds/a.png": b"mask",
        "run/seeds/thresholds.json": draw(json_file(_STATISTICS)),
        "run/made.json": draw(json_file({"run.json": _HASH, "seeds/stage.json": _HASH})),
    }


def _read_stage(folder: Path) -> None:
    from deft.artifacts.stage import Stage
    from deft.runner.verify import own_files, stages
    from deft.thresholds.statistics import stored_statistics

    run = folder / "run"
    try:
        for read in (own_files, lambda at: [stage.damages() for stage in stages(at)]):
            try:
                read(run)
            except InputError:
                continue
        with suppress(InputError):
            stored_statistics(run / "seeds" / "thresholds.json", "k")
        stage = Stage("seeds", run / "seeds", "k")
        stage.verify()
        with stage.making():
            pass
    finally:
        kept = [folder / name for name in _BESIDE]
        if not all(path.is_file() and path.read_bytes() == b"kept" for path in kept):
            raise AssertionError("a file outside the folder of the stage was changed or removed")


_REVIEW = {"version": 2, "classes": ["cat", "dog"]}
_JOURNAL = {
    "name": "a",
    "revision": 3,
    "at": 1,
    "steps": [
        {"state": "unreviewed"},
        {
            "state": "accepted",
            "mask": _HASH,
            "replaces": _HASH,
            "what": "accepted",
            "time": "2026-01-31T12:00:00+00:00",
        },
        {"state": "corrected", "mask": "0" * 64, "tags": ["cat"], "threshold": 0.25, "what": "threshold"},
    ],
}


@st.composite
def _review(draw: st.DrawFn) -> Files:
    """A review, most often one whose record, or one of whose journals, is odd."""
    odd = draw(st.sampled_from(("nothing", "nothing", "record", "a", "a", "name")))
    sound = {**_JOURNAL, "at": draw(st.integers(0, 2)), "revision": draw(st.integers(0, 2**50))}
    if odd == "name":
        sound["name"] = draw(st.sampled_from(_NAMES))
    return {
        "run/review/review.json": draw(json_file(_REVIEW)) if odd == "record" else json.dumps(_REVIEW).encode(),
        "run/review/images/a.json": draw(json_file(sound)) if odd == "a" else json.dumps(sound).encode(),
        "run/review/images/b.json": json.dumps({**_JOURNAL, "name": "b"}).encode(),
        f"run/review/masks/a/{_HASH}.png": b"mask",
    }


def _read_review(folder: Path) -> None:
    from deft.artifacts.review import Decision, Review

    review = Review(folder / "run", ("cat", "dog"))
    try:
        for name, found in review.read().items():
            with suppress(InputError):
                review.load(name, found)
        journal = review.journal("a")
        if journal.name != "a" or not 0 <= journal.at < len(journal.steps):
            raise AssertionError(f"the steps of another image, or none that holds: {journal}")
        if review.step(Decision("a", "rejected"), journal.revision).revision != journal.revision + 1:
            raise AssertionError("a step that does not count")
        review.move("a", journal.revision + 1, -1)
    finally:
        kept = [folder / name for name in _BESIDE]
        if not all(path.is_file() and path.read_bytes() == b"kept" for path in kept):
            raise AssertionError("a file outside the review was changed or removed")


_CORRECTED = {
    "taught": {"a": _HASH, "../kept": _HASH},
    "held out": {"b/c": _HASH},
    "val": {"v": _HASH},
    "rejected": ["d"],
    "tags": {"a": ["cat", "dog"], "e": []},
}


def _read_corrected(folder: Path) -> None:
    from deft.artifacts import write_json
    from deft.artifacts.corrected import FOLDER, RECORD, read_corrected

    found = read_corrected(folder / "run")
    write_json(folder / "run" / FOLDER / RECORD, found.to_json())
    again = read_corrected(folder / "run")
    if (again.masks_key, again.scores_key) != (found.masks_key, found.scores_key):
        raise AssertionError("what was written is not what was read")


_MADE = f"«{_HASH}»  «a.png»\n«{'0' * 64}»  «../kept.txt»\n«»\n"


@st.composite
def _made(draw: st.DrawFn) -> Files:
    text = st.one_of(filled(_MADE), filled(_MADE, (*WORDS, *_NAMES, _HASH)))
    return {"out/made.sha256": draw(sometimes_damaged(encoded(text))), "out/a.png": b"mask"}


def _read_made(folder: Path) -> None:
    before = digest(folder / "photos" / "kept.txt")
    OutFolder(folder / "out", [folder / "photos"], ["a.png", "b/c.png"])
    if digest(folder / "photos" / "kept.txt") != before:
        raise AssertionError("a file of the user was changed")


_MEMBERS = (
    *(
        "a.jpg",
        "a.json",
        "a.txt",
        "a.seg.png",
        "b.png",
        "b.jpg",
        "sub/c.jpg",
        "./d.jpg",
        "../e.jpg",
        "/f.jpg",
        "a",
        "",
        ".",
    ),
    *(
        "x/../../g.jpg",
        ".hidden",
        "__meta__/a.jpg",
        "a.JPG",
        "é.jpg",
        "a\nb.jpg",
        "\x1b[31m.jpg",
        "n" * 200 + ".jpg",
        "a..jpg",
    ),
)
_KINDS = (
    tarfile.REGTYPE,
    tarfile.REGTYPE,
    tarfile.REGTYPE,
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    b"S",
    b"Z",
)


@st.composite
def _shard(draw: st.DrawFn) -> bytes:
    buffer = io.BytesIO()
    kind = draw(st.sampled_from((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)))
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for _ in range(draw(st.integers(0, 6))):
            info = tarfile.TarInfo(draw(st.sampled_from(_MEMBERS)))
            content = draw(
                st.one_of(
                    st.sampled_from((picture(), picture("JPEG"), b"", b"cow\ndog\n", b"\xff")),
                    json_file({"tags": ["cow", "dog"]}, ["cow"]),
                )
            )
            info.size, info.type, info.linkname = len(content), draw(st.sampled_from(_KINDS)), "/etc/hostname"
            if kind == tarfile.PAX_FORMAT and draw(st.booleans()):
                info.pax_headers = {
                    draw(st.sampled_from(("path", "size", "GNU.sparse.map", "x"))): draw(st.sampled_from(_PAX))
                }
            try:
                archive.addfile(info, io.BytesIO(content))
            except (ValueError, UnicodeError):  # a name that this format cannot hold
                continue
    return buffer.getvalue()


_PAX = ("../a.jpg", "99999999999", "-1", "nan", "0,1,2", "é", "a.jpg")


def _read_shard(folder: Path) -> None:
    for entry in read_shard(folder / "a.tar", lambda suffix: True):
        for read in (image_of, lambda entry: tags_of(entry, "json"), lambda entry: tags_of(entry, "txt")):
            try:
                read(entry)
            except InputError:
                continue


_shards = st.one_of(_shard(), damaged(_shard()))
READERS = (
    Reader("runs", st.deferred(lambda: json_file(run_json())).map(lambda data: {"run.json": data}), _read_run),
    Reader("stages", _stage(), _read_stage, lambda: _BESIDE),
    Reader("reviews", _review(), _read_review, lambda: _BESIDE),
    Reader(
        "corrections", json_file(_CORRECTED).map(lambda data: {"run/corrected/corrections.json": data}), _read_corrected
    ),
    Reader("made", _made(), _read_made, lambda: {**images("photos"), **_BESIDE}),
    Reader("shards", _shards.map(lambda data: {"a.tar": data}), _read_shard),
)
