from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from deft.artifacts import write_json
from deft.contracts import InputError
from deft.data.layouts.entries import Entry, image_of, is_image
from deft.data.layouts.shards import read_shard
from deft.guards.opening import exists
from deft.predict import shards
from deft.predict.photographs import Files
from deft.predict.shards import LEFT_OUT, EntryTags, EntryWork, Streamed, refuse_left_out, stream
from userfiles import picture, write_tar

pytest.importorskip("webdataset")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six shards of three photographs."""
    for shard in range(6):
        members = [(f"{shard}/{index}.png", picture((10 * shard + index, 7, 9))) for index in range(3)]
        write_tar(tmp_path / "photos" / f"p-{shard:03}.tar", members)
    return tmp_path / "photos"


def red(entry: Entry) -> Files:
    return {"txt": str(image_of(entry).pixels[0, 0, 0]).encode()}


def run(photos: Path, out: Path, work: Callable[[Entry], Files] = red, made_from: str = "x") -> Streamed:
    return stream(f"shards:{photos}/p-*.tar", out, cast(Any, lambda: EntryWork(work)), {"network": made_from}, "test")


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_every_shard_becomes_one_of_its_name(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(photos, out) == Streamed(images=18, shards=6, all_shards=6)
    assert sorted(contents(out)) == ["made-from.json", *(f"p-{shard:03}.tar" for shard in range(6))]
    found = {entry.key: entry.files for path in out.glob("*.tar") for entry in read_shard(path, lambda _: True)}
    assert found == {
        f"{shard}/{index}": {"txt": str(10 * shard + index).encode()} for shard in range(6) for index in range(3)
    }
    assert run(photos, out) == Streamed(images=0, shards=0, all_shards=6)


def test_a_stopped_command_goes_on_and_ends_alike(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "unbroken")
    done = []

    def stopped(entry: Entry) -> Files:
        if len(done) == 10:
            raise KeyboardInterrupt
        done.append(entry.key)
        return red(entry)

    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "out", stopped)
    finished = len(list((tmp_path / "out").glob("*.tar")))
    assert 0 < finished < 6
    assert run(photos, tmp_path / "out").shards == 6 - finished
    assert contents(tmp_path / "out") == contents(tmp_path / "unbroken")


def test_another_command_may_begin_the_same_folder_at_the_same_moment(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(photos, tmp_path / "alone")
    looked = []

    def exists_until_now(path: Path) -> bool:
        looked.append(path)
        there = exists(path)
        if len(looked) == 1:  # right after this command has looked
            write_json(path, {"network": "x"})
            (path.parent / "p-000.tar").write_bytes((tmp_path / "alone" / "p-000.tar").read_bytes())
        return there

    monkeypatch.setattr(shards, "exists", exists_until_now)
    assert run(photos, tmp_path / "out").shards == 5
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_what_cannot_be_used_is_left_out_and_named_every_time(photos: Path, tmp_path: Path) -> None:
    members = {"good.png": picture(), "bad.png": b"no image", "../up.png": picture(), "a.json": b"{}"}
    write_tar(photos / "p-001.tar", members.items())
    (photos / "p-002.tar").write_bytes((photos / "p-002.tar").read_bytes()[:700])
    write_tar(photos / "p-003.tar", [("bad.png", b"no image")])
    for _ in range(2):
        with pytest.raises(InputError) as told:
            run(photos, tmp_path / "out")
        text = str(told.value)
        assert "all else is done; 5 shards or photographs cannot be used:" in text
        for part in ("p-001.tar: bad: image of 8 bytes", "../up: expected a key", "a: expected one image"):
            assert part in text
        assert "p-002.tar: " in text
        assert "none of 1 photographs can be used" in text
    out = tmp_path / "out"
    assert sorted(path.name for path in out.glob("*.tar")) == ["p-000.tar", "p-001.tar", "p-004.tar", "p-005.tar"]
    assert [entry.key for entry in read_shard(out / "p-001.tar", is_image)] == ["good"]
    for shard in range(1, 4):
        write_tar(photos / f"p-{shard:03}.tar", [("good.png", picture())])
    (out / "p-001.tar").unlink()
    assert run(photos, out).shards == 3
    assert not list(out.glob("*.left-out"))


def test_a_folder_holds_results_of_one_kind(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "out")
    with pytest.raises(InputError, match=r"other settings:\n  network: 'x' in the folder, 'y' now"):
        run(photos, tmp_path / "out", made_from="y")
    with pytest.raises(InputError, match="expected another folder"):
        run(photos, photos)


def test_tags_of_a_member_or_of_a_table(tmp_path: Path) -> None:
    table = tmp_path / "tags.csv"
    table.write_text("image,labels\na/x,cow;dog\n./b.png,\n")
    known = EntryTags.given(table, "", ("cow", "dog"))
    assert known.of(Entry("a/x", {"png": b""})) == ("cow", "dog")
    assert known.of(Entry("./b", {"png": b""})) == ()
    assert known.of(Entry("c", {"png": b""})) is None
    known = EntryTags.given(None, ".JSON", ("cow",))
    assert known.of(Entry("a", {"json": b'{"tags": ["cow"]}'})) == ("cow",)
    with pytest.raises(InputError, match=r"expected its tags in \.json, found none"):
        known.of(Entry("a", {"png": b""}))
    with pytest.raises(InputError, match="got both"):
        EntryTags.given(table, "json", ("cow", "dog"))
    assert EntryTags.given(None, "", ()).of(Entry("a", {})) is None
    table.write_text("image,labels\na,cow\na,dog\nb,cwo\n")
    with pytest.raises(InputError, match=r"(?s)tags.csv:4: unknown class 'cwo'.*tags.csv:3: a second row of 'a'"):
        EntryTags.given(table, "", ("cow", "dog"))


def test_a_note_that_somebody_edited_to_other_bytes_is_still_named(tmp_path: Path) -> None:
    result = tmp_path / "a.tar"
    (tmp_path / f"a.tar{LEFT_OUT}").write_bytes(b"a.tar: b: caf\xe9\n")
    with pytest.raises(InputError, match=r"1 shards or photographs cannot be used:\na\.tar: b: caf"):
        refuse_left_out([result], [])
