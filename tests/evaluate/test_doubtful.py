from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import deft
from deft.artifacts import read_json
from deft.evaluate.doubtful import doubtful_tags
from deft.recipes import cam
from deft.runner.recorded import reopen
from short import tiny


def _flip(folder: Path, rows: dict[str, str]) -> None:
    """Replace the labels of some images in a folder's table."""
    table = folder / "labels.csv"
    lines = table.read_text().splitlines()
    table.write_text(
        "\n".join(f"{name},{rows[name]}" if (name := line.split(",")[0]) in rows else line for line in lines) + "\n"
    )


@pytest.fixture(scope="module")
def run_folder(make_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on 40 training images of which one is tagged wrongly: its class is replaced by another."""
    root = tmp_path_factory.mktemp("doubtful")
    folder = make_folder(root / "photos", count=60, side=48)
    _flip(folder, {"img_06": "dog"})
    deft.run(tiny(cam(), "segment=none", steps=2), f"folder:{folder}", root / "run")
    return root / "run"


def test_a_wrong_tag_is_listed_and_shown(run_folder: Path) -> None:
    found = read_json(run_folder / "scores.json")["doubtful"]
    assert found["images"] == 40 and found["features"] == "trained"
    assert found["doubted"] == len(found["tags"]) < 20
    first = [(tag["image"], tag["class"], tag["given"]) for tag in found["tags"][:4]]
    assert ("img_06", "dog", True) in first and ("img_06", "cat", False) in first
    assert [tag["doubt"] for tag in found["tags"]] == sorted((tag["doubt"] for tag in found["tags"]), reverse=True)
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    section = page.split('<section id="tags">')[1].split("</section>")[0]
    assert "may be wrong" in section and "may be missing" in section and "img_06" in section
    assert section.count("<img") == min(24, len(found["tags"]))


def test_few_images_say_nothing(folder_data: Path, tmp_path: Path) -> None:
    page = deft.run(tiny(cam(), "segment=none", steps=2), f"folder:{folder_data}", tmp_path / "run")
    run = reopen(tmp_path / "run")
    try:
        assert doubtful_tags(run) == {}
    finally:
        run.out.close()
    assert "doubtful" not in read_json(tmp_path / "run" / "scores.json")
    assert 'id="tags"' not in page.read_text(encoding="utf-8")
