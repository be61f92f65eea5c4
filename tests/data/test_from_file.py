"""Datasets that a Python file of the user makes, by their name on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from deft.cli.main import main
from deft.contracts import InputError
from deft.data import check, open_data
from deft.data.from_file import arguments, code_of, options_of, own_data

FILE = """from __future__ import annotations
from pathlib import Path
from typing import TYPE_CHECKING
import numpy as np
from deft import ImageDataset, InputError, Splits
if TYPE_CHECKING:
    from nowhere import Unknown


def birds(count: int = 4, root: Path = Path("."), version: str = "1") -> ImageDataset:
    picture = np.full((32, 32, 3), 90, dtype=np.uint8)
    labels = np.arange(count)[:, None] % 2 == np.arange(2)
    return ImageDataset(("owl", "tit"), labels, lambda index: picture + np.uint8(10 * index), version=version)


class Birds:
    def __new__(cls, count=3):
        return birds(count)


def pair(held_out=True):
    return birds(), birds(2) if held_out else None


def splits() -> Splits:
    return Splits(birds(), birds(2))


def unknown(kind: Unknown = None, count: int = 2):
    return birds(count)


def needs(root: str):
    raise InputError(f"{root} is empty")


def nothing():
    pass


def crowd():
    return [birds(), birds(), birds()]


def wrong():
    return Splits(3, None)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_data.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("spec", "file", "name", "options"),
    [
        ("my_data.py:Birds", "my_data.py", "Birds", ()),
        ("a/my_data.py:Birds?root=photos", "a/my_data.py", "Birds", ("root=photos",)),
        ("my_data.py:Birds?root=a,b,size=3&flip=true", "my_data.py", "Birds", ("root=a,b", "size=3", "flip=true")),
        (r"C:\code\my_data.py:Birds?root=D:\photos", r"C:\code\my_data.py", "Birds", (r"root=D:\photos",)),
        ("C:/code.py/my_data.py:Birds", "C:/code.py/my_data.py", "Birds", ()),
        ("my_data.py", "my_data.py", "", ()),
        ("my_data.py:", "my_data.py", "", ()),
        ("my_data.py?root=x", "my_data.py", "", ("root=x",)),
        ("my_data.py:Birds?other=x.py:Bees", "my_data.py", "Birds", ("other=x.py:Bees",)),
    ],
)
def test_a_specification_is_read(spec: str, file: str, name: str, options: tuple[str, ...]) -> None:
    own = own_data(spec)
    assert own is not None
    assert (str(own.file), own.name, own.options) == (file, name, options)


@pytest.mark.parametrize("spec", ["folder:photos", "my_data.pyc:Birds", "my_data:Birds", "coco:PATH?file=x.py", ""])
def test_others_are_not(spec: str) -> None:
    assert own_data(spec) is None


def test_a_folder_may_be_called_like_a_python_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a folder, .*photos\.py does not exist"):
        open_data(f"folder:{tmp_path / 'photos.py'}")


@pytest.mark.parametrize("path", [r"C:\photos", "D:/photos"])
def test_a_windows_path_alone_is_answered_with_its_kind(path: str) -> None:
    with pytest.raises(InputError) as caught:
        open_data(path)
    assert f"write folder:{path}" in str(caught.value)


@pytest.mark.parametrize(
    ("ending", "train", "val"),
    [
        ("birds", 4, None),
        ("birds?count=6", 6, None),
        ("Birds", 3, None),
        ("Birds?count=5", 5, None),
        ("pair", 4, 2),
        ("pair?held_out=false", 4, None),
        ("splits", 4, 2),
        ("unknown?count=3", 3, None),
    ],
)
def test_what_is_named_is_opened(ending: str, train: int, val: int | None, file: Path) -> None:
    opened = open_data(f"{file}:{ending}")
    assert len(opened.train) == train
    assert (None if opened.val is None else len(opened.val)) == val
    assert [fault for fault in check(f"{file}:{ending}") if not fault.warning] == []


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("", "expected the name of a class or function"),
        (":brids", "found none; did you mean 'birds'? It defines: birds, Birds, pair, "),
        (
            ":birds?conut=3",
            "expected NAME=VALUE of its arguments, got 'conut=3'; did you mean 'count'? It takes: count=int",
        ),
        (":birds?count", "got 'count'"),
        (":birds?count=many", "expected count as int, got 'many'"),
        (":birds?count=1,count=2", "count is given twice"),
        (":splits?x=1", "It takes none"),
        (":needs", "expected a value for root; write "),
        (":needs?root=here", "here is empty"),
        (":nothing", "expected it to return a dataset, deft.Splits, or (train, val), got NoneType"),
        (":crowd", "expected it to return a dataset, deft.Splits, or (train, val), got list"),
        (":wrong", "train: expected a dataset, but int has no classes"),
    ],
)
def test_what_is_wrong_is_one_message(
    ending: str, words: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    for verb in (["run", "cam", "--out", str(out), "--data"], ["check"]):
        assert main([*verb, f"{file}{ending}"]) == 2
        told = capsys.readouterr().err
        assert words in told
        assert len([line for line in told.splitlines() if line.startswith("deft: ")]) == 1
        assert "Traceback" not in told
    assert not out.exists()


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.py: expected a Python file, found no file"):
        open_data(f"{tmp_path / 'gone.py'}:Birds")
    assert code_of(f"{tmp_path / 'gone.py'}:Birds") == ""


def make(
    text: str,
    number: int = 1,
    share: float = 0.5,
    flip: bool = False,
    root: Path | None = None,
    part: Literal["a", "b"] = "a",
    size: tuple[int, int] = (1, 1),
    plain=3,
) -> None:
    """Arguments of every type."""


def test_options_have_the_types_of_the_arguments() -> None:
    given = ["text=12", "number=3", "share=1e-2", "flip=true", "root=~/x", "part=b", "size=2,3", "plain=4"]
    expected: dict[str, Any] = {
        **{"text": "12", "number": 3, "share": 0.01, "flip": True, "root": Path.home() / "x"},
        **{"part": "b", "size": (2, 3), "plain": 4},
    }
    assert arguments(make, given, "make") == expected
    assert arguments(make, ["text=a=b"], "make") == {"text": "a=b"}
    with pytest.raises(InputError, match="make: expected part as a or b, got 'c'"):
        arguments(make, ["text=x", "part=c"], "make")


def test_the_code_is_told_from_other_code(file: Path) -> None:
    before = code_of(f"{file}:birds?count=3")
    assert len(before) == 12
    assert code_of("demo:") == ""
    file.write_text(FILE + "# more\n")
    assert code_of(f"{file}:birds") not in ("", before)


def test_the_function_and_its_options_are_told_without_paths(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from pathlib import Path\nimport numpy as np\nfrom deft import ImageDataset\n\n\n"
        "def birds(root: Path, side: int = 8) -> ImageDataset:\n"
        "    image = np.zeros((side, side, 3), np.uint8)\n"
        "    return ImageDataset(('owl',), np.ones((2, 1), bool), lambda i: image, version='1')\n"
    )
    options = ("root=a", "root=b", "side=8,root=/c", "root=a,side=9")
    specs = [f"{tmp_path}/own.py:birds?{one}" for one in options]
    assert options_of(specs[0]) == [] == options_of("folder:a")  # it was not opened, and is no Python file
    open_data(specs[0])
    assert [options_of(spec) for spec in specs] == [["birds"], ["birds"], ["birds", "side=8"], ["birds", "side=9"]]
