"""The names of formats, and the nearest of a misspelt one."""

from __future__ import annotations

from pathlib import Path

import pytest

from deft.cli.main import main
from deft.contracts import InputError
from deft.export.formats import FORMATS, format_named, reader_of


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("coco", "coco"),
        ("COCO", "coco"),
        ("label-studio", "labelstudio"),
        ("Label_Me", "labelme"),
        ("yolo-semantic", "yolo-semantic"),
    ],
)
def test_a_format_is_found_however_it_is_spelt(given: str, name: str) -> None:
    assert format_named(given) is FORMATS[name]


@pytest.mark.parametrize(
    ("given", "near"), [("cocoo", "coco"), ("labelstdio", "labelstudio"), ("yolov8", "yolo"), ("cvt", "cvat")]
)
def test_the_nearest_name_is_told(given: str, near: str) -> None:
    for act in (format_named, reader_of):
        with pytest.raises(InputError, match=rf"--format {given}: expected one of png, .*\(nearest: '{near}'\)"):
            act(given)


@pytest.mark.parametrize("verb", ["export", "import"])
def test_the_command_tells_it_before_it_opens_anything(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--out", str(tmp_path / "out")] if verb == "export" else [str(tmp_path)]
    assert main([verb, str(tmp_path / "no run"), *words, "--format", "cocco"]) == 2
    assert "(nearest: 'coco')" in capsys.readouterr().err


def test_every_format_but_one_is_read() -> None:
    assert [name for name, each in FORMATS.items() if each.reader is None] == ["datasets"]
