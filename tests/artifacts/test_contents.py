from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deft.artifacts import contents as module
from deft.artifacts.contents import DIGITS, YOUNG, Contents, joined, read, stamp, whole
from deft.contracts import InputError

OLD = 10**18
"""A time in ns, long ago."""


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock says that every file was last touched an hour ago."""
    now = module.time.time_ns
    monkeypatch.setattr(module.time, "time_ns", lambda: now() + 3600 * 10**9)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Forty files, more than one task of a thread."""
    found = [tmp_path / "data" / f"{index}.png" for index in range(40)]
    found[0].parent.mkdir()
    for index, path in enumerate(found):
        path.write_bytes(b"image %d" % index)
    return found


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read from now on."""
    names: list[str] = []
    open_regular = module.open_regular

    def noted(path: Path) -> object:
        names.append(Path(path).name)
        return open_regular(path)

    monkeypatch.setattr(module, "open_regular", noted)
    return names


def remembered(files: list[Path], record: Path) -> list[str]:
    known = Contents(record)
    found = known(files)
    known.store()
    return found


def test_digests_are_of_bytes_in_the_order_of_the_files(files: list[Path]) -> None:
    expected = [hashlib.sha256(path.read_bytes()).hexdigest()[:DIGITS] for path in files]
    assert whole(files) == expected
    assert whole(files[::-1]) == expected[::-1]
    assert whole([]) == []


@pytest.mark.usefixtures("later")
def test_only_files_that_changed_are_read_again(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "contents.json"
    before = remembered(files, record)
    names = opened(monkeypatch)
    assert remembered(files, record) == before and names == []
    os.utime(files[3], ns=(OLD, OLD))
    files[5].write_bytes(b"image five")
    os.replace(files[6], files[7])
    after = remembered([*files[:6], *files[7:]], record)
    assert sorted(names) == ["3.png", "5.png", "7.png"]
    assert [index for index in range(6) if after[index] != before[index]] == [5]
    assert after[6] == before[6]  # the content of 6, under the name of 7


@pytest.mark.usefixtures("later")
def test_the_same_files_under_another_spelling_are_not_read_again(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "contents.json"
    before = remembered(files, record)
    names = opened(monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert remembered([Path("data") / path.name for path in files], record) == before
    assert remembered([tmp_path / "data" / ".." / "data" / path.name for path in files], record) == before
    assert names == []


@pytest.mark.usefixtures("later")
@pytest.mark.skipif(os.name == "nt", reason="there is no time of change")
def test_a_change_of_equal_size_with_its_time_put_back_is_seen(files: list[Path], tmp_path: Path) -> None:
    record = tmp_path / "contents.json"
    os.utime(files[0], ns=(OLD, OLD))
    before = remembered(files, record)
    files[0].write_bytes(b"image X")
    os.utime(files[0], ns=(OLD, OLD))
    assert (files[0].stat().st_size, files[0].stat().st_mtime_ns) == (7, OLD)
    after = remembered(files, record)
    assert after[0] != before[0] and after[1:] == before[1:]


def test_a_young_file_is_read_again_though_nothing_tells_it_apart(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written twice within one step of the disk's clock: same size, same times, same inode."""
    fixed = (7, OLD, OLD, 1)
    monkeypatch.setattr(module, "stamp", lambda status: fixed)
    monkeypatch.setattr(module.time, "time_ns", lambda: OLD + YOUNG - 1)
    record = tmp_path / "contents.json"
    before = remembered(files[:1], record)
    assert not record.exists()
    files[0].write_bytes(b"image X")
    assert remembered(files[:1], record) != before
    monkeypatch.setattr(module.time, "time_ns", lambda: OLD + YOUNG)
    kept = remembered(files[:1], record)
    files[0].write_bytes(b"image Y")  # with an equal stamp, it cannot be seen any more
    assert remembered(files[:1], record) == kept


@pytest.mark.usefixtures("later")
def test_a_file_from_the_future_is_never_taken_as_known(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(files[0], ns=(3 * OLD, 3 * OLD))
    record = tmp_path / "contents.json"
    remembered(files, record)
    names = opened(monkeypatch)
    remembered(files, record)
    assert names == ["0.png"]


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, later: None
) -> None:
    digest = module._sha256

    def slow(file: object, path: Path) -> str:
        found = digest(file, path)  # type: ignore[arg-type]
        with path.open("ab") as longer:
            longer.write(b"more")
        return found

    monkeypatch.setattr(module, "_sha256", slow)
    assert read(files[0])[1] is None


HALF: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "binary": lambda content: bytes(range(256)),
    "list": lambda content: b"[1, 2]",
    "files are a list": lambda content: b'{"files": [1]}',
    "folder is a list": lambda content: b'{"files": {"/": [1]}}',
    "deep": lambda content: b"[" * 100_000,
}


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("damage", HALF)
def test_a_damaged_record_is_made_again(damage: str, files: list[Path], tmp_path: Path) -> None:
    record = tmp_path / "contents.json"
    before = remembered(files, record)
    good = record.read_bytes()
    record.write_bytes(HALF[damage](good))
    assert remembered(files, record) == before
    assert record.read_bytes() == good


@pytest.mark.usefixtures("later")
def test_a_damaged_entry_is_not_believed(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "contents.json"
    before = remembered(files, record)
    content = json.loads(record.read_text())
    (entries,) = content["files"].values()
    digest, numbers = entries["0.png"]
    wrong = [None, [], [digest], [digest[:-1], numbers], [1, numbers], [digest, numbers[:-1]], [digest, [*"abcd"]]]
    for index, entry in enumerate(wrong):
        entries[f"{index}.png"] = entry
    record.write_text(json.dumps(content))
    names = opened(monkeypatch)
    assert remembered(files, record) == before
    assert sorted(names) == [f"{index}.png" for index in range(len(wrong))]


def test_a_file_that_cannot_be_read_is_named_or_empty(files: list[Path], tmp_path: Path) -> None:
    files[1].unlink()
    files[2].unlink()
    files[2].mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path, words in ((files[1], "No such file"), (files[2], "got a folder"), (tmp_path / "pipe", "named pipe")):
        with pytest.raises(InputError, match=f"{path.name}.*{words}"):
            whole([files[0], path])
        assert whole([files[0], path], strict=False) == [*whole([files[0]]), ""]


def test_names_of_any_bytes_are_remembered(tmp_path: Path, later: None, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / name for name in ("\udcff.png", "猫.png", "a b\n.png")]
    for path in files:
        path.write_bytes(path.name.encode("utf-8", "surrogateescape"))
    record = tmp_path / "contents.json"
    before = remembered(files, record)
    names = opened(monkeypatch)
    assert remembered(files, record) == before and names == [] and len(set(before)) == 3


def test_without_a_record_nothing_is_written(files: list[Path], tmp_path: Path, later: None) -> None:
    known = Contents()
    known(files)
    known.store()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_stamp_is_of_size_times_and_inode(files: list[Path]) -> None:
    status = os.stat(files[0])
    assert stamp(status) == (7, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def test_lists_that_differ_have_other_digests() -> None:
    lists = [["a", "b"], ["b", "a"], ["ab"], ["a", "b", ""], ["a', 'b"], []]
    assert len({joined(one) for one in lists}) == len(lists)
