"""What stands around the code: one version, a citation, workflows, forms, the site and its pictures."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import deft

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def read(path: Path) -> dict[Any, Any]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def script(name: str) -> ModuleType:
    """A program of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The version


def test_the_version_stands_in_one_place_that_can_be_read_without_importing() -> None:
    assert "version" not in PROJECT["project"]
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "deft.__version__"}
    tree = ast.parse((ROOT / "deft" / "__init__.py").read_text(encoding="utf-8"))
    given = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    ]
    assert [ast.literal_eval(value) for value in given] == [deft.__version__]


def test_changelog_and_citation_are_of_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", text, re.MULTILINE)
    assert newest is not None
    citation = read(ROOT / "CITATION.cff")
    assert newest[1] == deft.__version__ == citation["version"]
    assert newest[2] == str(citation["date-released"])


def test_the_citation_names_the_software_and_the_papers() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PROJECT["project"]["license"]
    for work in [citation, *citation["references"]]:
        assert work["title"] and work["authors"]
    titles = " ".join(work["title"] for work in citation["references"])
    assert "Disentangled Feature Swapping" in titles and "Learning to Detour" in titles


# The code host


@each_workflow
def test_workflows_are_short_of_rights_and_of_time(path: Path) -> None:
    workflow = read(path)
    assert workflow["name"] == path.stem
    assert workflow[True], "YAML reads the key `on` as true"
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["runs-on"] and job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if "uses" in step:
                assert re.fullmatch(r"[\w.-]+/[\w.-]+@(v\d+|release/v\d+)", step["uses"]), step["uses"]


@each_workflow
def test_workflows_run_what_there_is(path: Path) -> None:
    commands = [step["run"] for job in read(path)["jobs"].values() for step in job["steps"] if "run" in step]
    for name in re.findall(r"(?<![\w./-])(?:tests|docs|deft|benchmarks)/[\w./]+", "\n".join(commands)):
        assert (ROOT / name).exists(), name


def test_every_python_that_is_promised_is_tested() -> None:
    tested = read(ROOT / ".github" / "workflows" / "test.yml")["jobs"]["linux"]["strategy"]["matrix"]["python"]
    lowest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert tested[0] == lowest
    assert tested == [f"3.{minor}" for minor in range(11, 11 + len(tested))]


def test_a_release_is_built_once_attested_and_published_without_a_password() -> None:
    jobs = read(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    builds = [step for job in jobs.values() for step in job["steps"] if "python -m build" in step.get("run", "")]
    assert len(builds) == 1
    publish = [
        job for job in jobs.values() if any("gh-action-pypi-publish" in step.get("uses", "") for step in job["steps"])
    ]
    assert len(publish) == 1
    assert publish[0]["permissions"] == {"id-token": "write"}
    assert publish[0]["environment"]["name"] == "pypi"
    assert any(
        "actions/attest@" in step.get("uses", "") for name in publish[0]["needs"] for step in jobs[name]["steps"]
    )
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_have_what_the_host_needs(path: Path) -> None:
    form = read(path)
    assert form["name"] and form["description"]
    asked = [item for item in form["body"] if item["type"] != "markdown"]
    assert asked
    assert len({item["id"] for item in asked}) == len(asked)
    for item in form["body"]:
        assert item["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
        assert item["attributes"]["value" if item["type"] == "markdown" else "label"]


def test_forms_ask_for_bugs_masks_and_questions() -> None:
    assert {path.stem for path in FORMS} == {"bug", "masks", "question"}
    assert read(ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml")["blank_issues_enabled"] is True


def test_commits_are_checked_by_the_tools_of_the_project() -> None:
    hooks = [hook for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert {"ruff-check", "ruff-format", "mypy", "end-of-file-fixer"} <= {hook["id"] for hook in hooks}


# The site


def test_the_contents_name_every_page() -> None:
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- \[.+?\]\(([\w./-]+\.md)\): .+$", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    pages = {(ROOT / "docs" / name).resolve() for name in listed}
    around = {ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")}
    readmes = {ROOT / "examples" / "README.md", ROOT / "benchmarks" / "README.md"}
    assert pages == set((ROOT / "docs").glob("*.md")) - {ROOT / "docs" / "README.md"} | around | readmes


def test_the_examples_are_listed() -> None:
    text = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(\w+\.py)\]\(\1\) \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def test_the_reference_has_every_module_once(tmp_path: Path) -> None:
    pages = script("api_pages")
    (tmp_path / "gone.rst").write_text("a part that moved away", encoding="utf-8")
    pages.write(ROOT / "deft", tmp_path)
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    found = sorted(
        name for text in written.values() for name in re.findall(r"^\.\. automodule:: (.+)$", text, re.MULTILINE)
    )
    paths = [
        path.relative_to(ROOT).with_suffix("") for path in (ROOT / "deft").rglob("*.py") if path.name != "__main__.py"
    ]
    assert found == sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)
    assert "gone.rst" not in written
    for path in tmp_path.glob("*.rst"):
        if path.name != "index.rst":
            assert f"\n   {path.stem}\n" in written["index.rst"]


def test_the_reference_leads_names_to_where_they_are_defined() -> None:
    homes = script("api_pages").all_exports(ROOT / "deft")
    assert homes["deft.metrics.Confusion"] == "deft.metrics.miou.Confusion"
    assert homes["deft.multi_hot"] == "deft.data.labels.multi_hot"
    for name in deft.__all__:
        assert homes[f"deft.{name}"].startswith("deft."), name


def test_sites_of_versions_stand_side_by_side(tmp_path: Path) -> None:
    publish = script("publish").publish
    site, pages = tmp_path / "site", tmp_path / "pages"
    site.mkdir()
    pages.mkdir()
    with pytest.raises(SystemExit, match=r"no index\.html"):
        publish(site, pages, "0.2.0", "https://host/deft")
    for version in ("0.9.0", "0.10.0", "0.2.0", "0.10.0"):
        (site / "index.html").write_text(f"site of {version}", encoding="utf-8")
        publish(site, pages, version, "https://host/deft")
    entries = json.loads((pages / "versions.json").read_text(encoding="utf-8"))
    assert [entry["version"] for entry in entries] == ["0.10.0", "0.9.0", "0.2.0"]
    assert [entry.get("preferred", False) for entry in entries] == [True, False, False]
    assert entries[1]["url"] == "https://host/deft/0.9.0/"
    assert (pages / "0.9.0" / "index.html").read_text(encoding="utf-8") == "site of 0.9.0"
    assert "url=0.10.0/" in (pages / "index.html").read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match="expected a version"):
        publish(site, pages, "../elsewhere", "https://host/deft")


def test_pictures_are_small_and_shown() -> None:
    pictures = [path for path in (ROOT / "docs" / "pictures").iterdir() if path.suffix in (".webp", ".png", ".jpg")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    assert sum(path.stat().st_size for path in pictures) < 1_000_000
    for path in pictures:
        assert path.stat().st_size < 150_000, path.name
        assert re.search(rf"!\[[^]]{{20,}}\]\(pictures/{re.escape(path.name)}\)\n\n\*", text), path.name
