from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from deft.contracts import InputError
from deft.data.layouts import shards
from deft.data.layouts.entries import image_of, is_image
from deft.data.layouts.shards import read_shard, shard_paths, writing
from fakes import uninstall
from userfiles import picture, write_tar

pytest.importorskip("webdataset")


def entries(path: Path) -> list[tuple[str, Mapping[str, bytes | InputError]]]:
    return [(entry.key, entry.files) for entry in read_shard(path, lambda suffix: suffix != "npy")]


def test_members_of_one_basename_are_one_entry(tmp_path: Path) -> None:
    members = [("a/x.jpg", b"1"), ("a/x.seg.PNG", b"2"), ("a/y.JSON", b"3"), ("z.npy", b"4"), ("__meta__", b"")]
    path = write_tar(tmp_path / "s.tar", [*members, ("a/._x.jpg", b""), ("__x__/a.jpg", b""), ("nosuffix", b"")])
    assert entries(path) == [
        ("a/x", {"jpg": b"1", "seg.png": b"2"}),
        ("a/y", {"json": b"3"}),
        ("z", {}),
    ]


def test_the_library_reads_what_is_written_and_the_other_way_round(tmp_path: Path) -> None:
    import webdataset

    given = {"a/é": {"png": b"1", "json": b"{}"}, "b" * 200: {"png": b"2"}, "bad\udcff": {"png": b"3"}}
    with writing(tmp_path / "ours.tar") as add:
        for key, files in given.items():
            add(key, files)
    found = {item["__key__"]: item for item in webdataset.WebDataset(str(tmp_path / "ours.tar"), shardshuffle=False)}
    assert {key: {name: found[key][name] for name in files} for key, files in given.items()} == given
    assert dict(entries(tmp_path / "ours.tar")) == given
    with webdataset.TarWriter(str(tmp_path / "theirs.tar"), encoder=False) as writer:
        for key, files in given.items():
            writer.write({"__key__": key, **files})
    assert dict(entries(tmp_path / "theirs.tar")) == given


def test_equal_contents_are_equal_bytes(tmp_path: Path) -> None:
    digests = set()
    for name in ("one", "two"):
        with writing(tmp_path / name / "s.tar") as add:
            add("a", {"png": picture(), "jpg": b"x"})
        digests.add(hashlib.sha256((tmp_path / name / "s.tar").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_shard_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / ".part-s.tar-killed").write_bytes(b"half")
    (tmp_path / ".part-t.tar-alive").write_bytes(b"half")
    with pytest.raises(RuntimeError), writing(tmp_path / "s.tar") as add:
        add("a", {"png": b"1"})
        raise RuntimeError("killed")
    assert [path.name for path in tmp_path.iterdir()] == [".part-t.tar-alive"]


@pytest.mark.parametrize("cut", [100, 512 + 100, 512 * 3, 512 * 3 + 7, 512 * 4])
def test_a_shard_that_is_cut_short_is_told(tmp_path: Path, cut: int) -> None:
    path = write_tar(tmp_path / "s.tar", [("a.png", b"1" * 600), ("b.png", b"2" * 600)])
    assert len(entries(path)) == 2
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"s\.tar: (damaged or )?truncated|expected an uncompressed tar"):
        entries(path)


def test_damage_that_tarfile_takes_for_the_end_is_told(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", [("a.png", b"1"), ("b.png", b"2"), ("c.png", b"3")])
    content = bytearray(path.read_bytes())
    content[2 * 512 + 150] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged at byte 1,024"):
        entries(path)


def test_tars_joined_by_cat_are_told(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", [("a.png", b"1")])
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(InputError, match="has data after its end mark"):
        entries(path)


@pytest.mark.parametrize("content", [b"", b"no tar" * 200])
def test_what_is_no_tar_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.tar").write_bytes(content)
    with pytest.raises(InputError, match="expected an uncompressed tar file"):
        entries(tmp_path / "s.tar")
    with tarfile.open(tmp_path / "s.tar", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    with pytest.raises(InputError, match="expected an uncompressed tar file"):
        entries(tmp_path / "s.tar")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.png", "a.png"], "each file name once, got a.png twice"),
        (["a.png", "a.PNG"], "each file name once, got a.PNG twice"),
        (["a.png", "b.png", "a.json"], "next to each other, got 'a' in two places"),
        (["a.png", "b.png", "a.png"], "next to each other, got 'a' in two places"),
    ],
)
def test_a_key_that_comes_twice_is_named(tmp_path: Path, names: list[str], message: str) -> None:
    path = write_tar(tmp_path / "s.tar", [(name, b"1") for name in names])
    with pytest.raises(InputError, match=message):
        entries(path)


def test_nothing_but_files_of_a_sane_size_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MAX_BYTES", 1000)
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("fifo", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(f"{name}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("large.png")
        info.size = 1001
        archive.addfile(info, io.BytesIO(bytes(1001)))
    found = [entry for entry in read_shard(tmp_path / "s.tar", is_image)]
    assert [entry.key for entry in found] == ["link", "hard", "fifo", "large"]
    for entry in found[:3]:
        with pytest.raises(InputError, match="a regular file in the tar, got a link"):
            image_of(entry)
    with pytest.raises(InputError, match="expected at most 0 MB"):
        image_of(found[3])


def test_patterns(tmp_path: Path) -> None:
    for name in ("p-000.tar", "p-001.tar", "p-002.tar", "odd[1]{2}.tar"):
        (tmp_path / name).write_bytes(b"")
    names = [path.name for path in shard_paths(f"shards:{tmp_path}/p-{{002..000}}.tar")]
    assert names == ["p-002.tar", "p-001.tar", "p-000.tar"]
    assert [path.name for path in shard_paths(f"shards:{tmp_path}/p-*.tar")] == names[::-1]
    assert len(shard_paths(f"shards:{tmp_path}/{{p-*,p-000}}.tar")) == 3
    assert shard_paths(f"shards:{tmp_path}/odd[1]{{2}}.tar") == [tmp_path / "odd[1]{2}.tar"]
    with pytest.raises(InputError, match=r"expected a shard at .*p-003.tar, found none"):
        shard_paths(f"shards:{tmp_path}/p-{{000..009}}.tar")
    with pytest.raises(InputError, match="expected a shard at"):
        shard_paths(f"shards:{tmp_path}/q-*.tar")
    with pytest.raises(InputError, match="expected braces as in"):
        shard_paths(f"shards:{tmp_path}/p-{{000.tar")
    with pytest.raises(InputError, match="at most 1,000,000 shards"):
        shard_paths(f"shards:{tmp_path}/p-{{0..99999999}}.tar")


def test_results_would_have_one_name(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "s.tar").write_bytes(b"")
    with pytest.raises(InputError, match="expected shards with different names"):
        shard_paths(f"shards:{tmp_path}/{{a,b}}/s.tar")


@pytest.mark.parametrize(
    "name", ["pipe:touch owned", "http://host/a.tar", "s3://bucket/a.tar", "-", "", "a.tar::b.tar"]
)
def test_no_command_and_no_url_is_opened(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected a path on this machine"):
        shard_paths(f"shards:{name}")
    assert not list(tmp_path.iterdir())


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(b"")
    uninstall("webdataset", monkeypatch)
    with pytest.raises(InputError, match=r"pip install 'deft-wsss\[shards\]'"):
        shard_paths(f"shards:{tmp_path}/s.tar")
