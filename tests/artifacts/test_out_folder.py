from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deft.artifacts.out_folder import RECORD, OutFolder
from deft.contracts import InputError

NAMES = ["masks/a.png", "masks/sub/b.png"]


def make(out: Path) -> None:
    folder = OutFolder(out, [], NAMES)
    for name in NAMES:
        folder.write(name, name.encode())


def test_what_was_made_is_made_again(tmp_path: Path) -> None:
    for _ in range(2):
        make(tmp_path / "out")
    assert (tmp_path / "out" / NAMES[1]).read_text() == NAMES[1]
    subprocess.run(["sha256sum", "--check", "--quiet", RECORD], cwd=tmp_path / "out", check=True)


def test_nothing_is_made_before_the_first_file(tmp_path: Path) -> None:
    OutFolder(tmp_path / "out", [], NAMES)
    assert not (tmp_path / "out").exists()


def test_files_of_somebody_else_stay(tmp_path: Path) -> None:
    mine = tmp_path / "masks" / "a.png"
    mine.parent.mkdir()
    mine.write_text("drawn by hand")
    with pytest.raises(InputError, match=r"expected a folder without masks/a\.png, which deft did not make"):
        OutFolder(tmp_path, [], NAMES)
    assert mine.read_text() == "drawn by hand"
    OutFolder(tmp_path, [], ["masks/c.png"]).write("masks/c.png", b"c")  # other files do not matter
    assert mine.read_text() == "drawn by hand"


def test_a_corrected_file_stays(tmp_path: Path) -> None:
    make(tmp_path / "out")
    for name in NAMES:
        (tmp_path / "out" / name).write_text("corrected")
    with pytest.raises(InputError, match=r"without masks/a\.png and 1 more, which .* somebody has changed"):
        OutFolder(tmp_path / "out", [], NAMES)


def test_a_kill_between_record_and_file_costs_nothing(tmp_path: Path) -> None:
    make(tmp_path / "out")
    with (tmp_path / "out" / RECORD).open("a") as record:
        record.write(f"{'0' * 64}  {NAMES[0]}\n{'1' * 20}")
    make(tmp_path / "out")


@pytest.mark.parametrize("name", ["masks", "masks/sub", RECORD, "masks/a.png"])
def test_links_are_not_followed(name: str, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "a.png").write_text("drawn")
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).symlink_to(theirs / "a.png" if "." in name else theirs)
    with pytest.raises(InputError, match=r"link|did not make"):
        OutFolder(tmp_path / "out", [], NAMES)
    assert [path.read_text() for path in theirs.iterdir()] == ["drawn"]


def test_data_is_kept_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected another folder than that of the data"):
        OutFolder(tmp_path / "photos" / "out", [tmp_path / "photos"], NAMES)


def test_a_file_that_another_library_writes(tmp_path: Path) -> None:
    for content in ("first", "second"):
        with OutFolder(tmp_path / "out", [], NAMES).part(NAMES[1]) as path:
            assert not path.exists() and path.parent == tmp_path / "out" / "masks" / "sub"
            path.write_text(content)
        assert (tmp_path / "out" / NAMES[1]).read_text() == content
    with pytest.raises(ZeroDivisionError), OutFolder(tmp_path / "out", [], NAMES).part(NAMES[1]) as path:
        path.write_text("half")
        _ = 1 / 0
    assert [file.name for file in (tmp_path / "out" / "masks" / "sub").iterdir()] == ["b.png"]
    assert (tmp_path / "out" / NAMES[1]).read_text() == "second"
