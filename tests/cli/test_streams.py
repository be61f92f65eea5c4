"""Commands whose output nobody reads, in processes of their own: only there are closed and full streams real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deft.cli.streams import Answer, OutputError, Progress

DEFT = f"{sys.executable} -m deft"


def shell(command: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a shell command; the exit code is that of the last part of a pipe that failed."""
    words = ["bash", "-o", "pipefail", "-c", command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=300, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A folder with so many faults that they fill a pipe."""
    (tmp_path / "images").mkdir()
    names = [f"no_photograph_of_a_cow_{index:06d}" for index in range(1000)]
    for name in names:
        (tmp_path / "images" / f"{name}.png").touch()
    (tmp_path / "labels.csv").write_text("image,labels\n" + "".join(f"{name},cow\n" for name in names))
    return tmp_path


def test_a_reader_that_has_enough_ends_the_command_quietly(faulty: Path) -> None:
    done = shell(f"{DEFT} check folder:{faulty} 2>/dev/null | head -1")
    assert done.returncode == 141
    assert done.stdout == "1 class, 1000 training images\n"
    assert done.stderr == ""


@pytest.mark.parametrize("verb", ["--help", "run cam --data x --out y --show"])
def test_full_or_closed_output_is_told(verb: str) -> None:
    for ending, reason in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
        done = shell(f"{DEFT} {verb} {ending}")
        assert done.returncode == 2, (verb, ending, done.stderr)
        assert done.stderr.splitlines()[-1] == f"deft: standard output cannot be written to ({reason})"
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize("ending", ["2>/dev/full", "2>&- <&-"])
def test_without_standard_error_a_command_does_its_work(ending: str) -> None:
    done = shell(f"{DEFT} check demo:train=4,val=2 {ending}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("0 faults, 3 warnings\n")
    assert shell(f"{DEFT} check folder:/nowhere {ending}").returncode == 2


def test_with_all_streams_closed_no_file_takes_their_place() -> None:
    done = shell(f"{DEFT} check folder:/nowhere <&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


class Broken:
    """A stream that cannot be written to."""

    encoding = "ascii"

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    def fileno(self) -> int:
        raise OSError


def test_errors_of_both_streams() -> None:
    out, err = Answer(Broken()), Progress(Broken())  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="No space left") as full:
        out.write("a")
    with pytest.raises(OutputError, match="Broken pipe") as gone:
        out.flush()
    assert (full.value.has_reader, gone.value.has_reader) == (True, False)
    assert err.write("four") == 4
    err.flush()
    assert err.encoding == "ascii"


def test_control_characters_of_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    data = tmp_path / "photos\x1b[2J"
    data.mkdir()
    (data / "a\x1b[31m\nb.png").write_bytes(b"no image")
    (data / "labels.csv").write_text('image,labels\n"a\x1b[31m\nb",cow\n')
    done = shell(f"{DEFT} check 'folder:{data}'; {DEFT} run cam --data 'folder:{data}' --out {tmp_path}/r")
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.count("\n") == 4  # the number of images, the class with an example, the fault, and the count
    assert "photos\\x1b[2J" in done.stdout and "a\\x1b[31m\\nb.png" in done.stdout
