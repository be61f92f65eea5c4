"""Recipes of installed packages: a folder with an entry point on the path is as good as one that pip made."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deft.artifacts import read_json
from deft.cli.main import main
from deft.contracts import InputError
from deft.recipes import RECIPES, cam
from deft.recipes.finding import find_recipe, installed
from deft.studies.rows import system_rows
from deft.studies.runner import StudyRunner

CODE = '''
from dataclasses import dataclass, replace

import torch

from deft import SeedMaps, recipes


@dataclass(frozen=True)
class Flat:
    level: float = 0.5

    def prepare(self, context):
        def locate(sample):
            height, width = sample.image.shape[:2]
            classes = tuple(int(k) for k in sample.labels.nonzero()[0])
            maps = torch.full((len(classes), (height - 1) // 4 + 1, (width - 1) // 4 + 1), self.level)
            maps[:, 2:9, 3:8] = 1.0
            return SeedMaps(classes, maps, (height, width))

        return locate


def theirs():
    """Every map is flat.

    Paper: Nobody, 2026, arXiv:2601.00000.
    """
    return replace(recipes.cam(), seeds=Flat())


def failing():
    raise RuntimeError("no weights here")


def refused():
    return replace(recipes.cam(), seed_threshold=7)


def other():
    return 3


number = 3
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def install(package: str, version: str = "1.2", code: str = CODE, **points: str) -> None:
        """Put a distribution whose module is called like it onto the path, with its recipes."""
        folder = tmp_path / f"site-{package}-{version}"
        info = folder / f"{package}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[console_scripts]\nx = y:z\n[deft.recipes]\n{lines}")
        (info / "top_level.txt").write_text(f"{package}\n")
        (folder / f"{package}.py").write_text(code)
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, package, raising=False)

    return install


def test_an_installed_recipe_runs_by_its_name(
    install: Callable[..., None], folder_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("deft_theirs", theirs="deft_theirs:theirs")
    assert "deft_theirs" not in sys.modules
    words = ["run", "theirs", "--data", f"folder:{folder_data}", "--out", str(tmp_path / "run")]
    settings = ["backbone=test_resnet", "weights=none", "segment=none", "seeds.level=0.25", "seed_threshold=0.5"]
    settings += [f"classifier.plan.{item}" for item in ("min_steps=1", "epochs=1", "batch=4", "workers=0")]
    for item in settings:
        words += ["--set", item]
    assert main(words) == 0
    record = read_json(tmp_path / "run" / "run.json")
    assert record["recipe"] == "theirs"
    assert record["settings"]["seeds"] == {"class": "deft_theirs.Flat", "level": 0.25}
    assert record["versions"]["deft_theirs"] == "1.2"
    assert main(["report", str(tmp_path / "run")]) == 2
    assert "deft_theirs.Flat, which is not part of deft; repeat its deft run command" in capsys.readouterr().err


def test_our_names_mean_our_recipes(install: Callable[..., None]) -> None:
    install("deft_theirs", cam="deft_theirs:theirs", theirs="deft_theirs:theirs")
    assert find_recipe("cam") == ("cam", cam())
    assert list(installed()) == ["theirs"]
    assert "deft_theirs" not in sys.modules


def test_a_name_that_two_packages_offer_means_neither(install: Callable[..., None]) -> None:
    install("deft_theirs", theirs="deft_theirs:theirs")
    install("deft_others", theirs="deft_others:theirs", more="deft_others:theirs")
    with pytest.raises(InputError, match=r"'theirs' is offered by deft_(\w+) 1\.2 and deft_(\w+) 1\.2; uninstall all"):
        find_recipe("theirs")
    assert find_recipe("more")[0] == "more"


def test_of_two_versions_on_the_path_the_first_counts(install: Callable[..., None]) -> None:
    install("deft_theirs", "1.0", theirs="deft_theirs:number")
    install("deft_theirs", "2.0", theirs="deft_theirs:theirs")
    assert [one.package for one in installed()["theirs"]] == ["deft_theirs 2.0"]
    assert find_recipe("theirs")[1].classifier == cam().classifier


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("deft_gone:theirs", "cannot be imported (ModuleNotFoundError: No module named 'deft_gone')"),
        ("deft_theirs:gone", "cannot be imported (AttributeError"),
        ("deft_theirs:number", "expected deft_theirs:number to be a function that returns a deft.Pipeline, got int"),
        ("deft_theirs:failing", "cannot be made (RuntimeError: no weights here)"),
        ("deft_theirs:other", "expected recipe() to return a deft.Pipeline, got int"),
        ("deft_theirs:refused", "seed_threshold"),
    ],
)
def test_a_broken_one_is_named_when_it_is_asked_for_and_harms_no_other(
    value: str, words: str, install: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("deft_theirs", broken=value, theirs="deft_theirs:theirs")
    start = ["--data", "demo:", "--out", str(tmp_path / "run"), "--show"]
    assert main(["run", "broken", *start]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told
    for name in ("theirs", "irn"):
        assert main(["run", name, *start]) == 0
    capsys.readouterr()
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(RECIPES) + 2
    assert "Every map is flat. [deft_theirs 1.2] (Nobody, 2026, arXiv:2601.00000)" in lines[-1]
    assert lines[-2].startswith("broken")
    runner = StudyRunner("demo:", tmp_path, systems=("broken",))
    rows = system_rows()
    assert [row.name for row in rows] == [*RECIPES, "theirs"]
    with pytest.raises(InputError) as caught:
        runner.choose(rows)
    assert words in str(caught.value)


def test_a_code_that_cannot_be_imported_harms_no_listing(
    install: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    install("deft_theirs", code="import nowhere\n", theirs="deft_theirs:theirs")
    assert main(["recipes"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("theirs")
    assert "cannot be used: recipe 'theirs' of deft_theirs 1.2 cannot be imported (ModuleNotFoundError" in last


def test_a_wrong_name_lists_the_installed_ones_too(install: Callable[..., None]) -> None:
    install("deft_theirs", theirs="deft_theirs:theirs")
    with pytest.raises(InputError, match=r"no recipe 'thiers'; did you mean 'theirs'\? There are: cam, .*, theirs,"):
        find_recipe("thiers")


def test_a_twin_is_compared_with_its_base_where_that_is_there(install: Callable[..., None]) -> None:
    install("deft_theirs", theirs_deft="deft_theirs:theirs", mine_deft="deft_theirs:theirs", mine="deft_theirs:theirs")
    rows = {row.name: row for row in system_rows()}
    assert rows["theirs_deft"].against == ()
    assert rows["mine_deft"].against == ("mine",)
    assert rows["irn_deft"].against == ("irn",)


def test_a_file_is_a_recipe_with_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    with pytest.raises(InputError, match=r"mine\.py: expected a Python file, found no file"):
        find_recipe(str(file))
    file.write_text("x = 1\n")
    with pytest.raises(InputError, match=r"expected a function recipe\(\)"):
        find_recipe(str(file))
    file.write_text("def recipe():\n    return 3\n")
    with pytest.raises(InputError, match=r"expected recipe\(\) to return a deft\.Pipeline, got int"):
        find_recipe(str(file))
    file.write_text("from deft.recipes import cam as recipe\n")
    name, pipeline = find_recipe(str(file))
    assert pipeline == cam()
    assert name.startswith("mine (") and len(name) == len("mine ()") + 12
