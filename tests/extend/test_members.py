"""Everything that a user's code has to have, left out one by one: told before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from deft.cli.main import main

HEADER = """from __future__ import annotations
from dataclasses import dataclass, replace
import numpy as np
from deft import Pipeline, Sample, recipes


def with_augment(augment):
    return replace(recipes.cam(), classifier=replace(recipes.cam().classifier, augment=augment))


def with_head(head):
    return replace(recipes.cam(), classifier=replace(recipes.cam().classifier, head=head))


def with_optimiser(optimiser):
    plan = replace(recipes.cam().classifier.plan, optimiser=optimiser)
    return replace(recipes.cam(), classifier=replace(recipes.cam().classifier, plan=plan))
"""
FRAME = HEADER + "\n\n@dataclass(frozen=True)\nclass Own:\n    x: int = 0\n{body}\n\ndef recipe():\n    return {made}\n"
PARTS = {
    "seeds": ("replace(recipes.cam(), seeds=Own())", {"prepare": "def prepare(self, context): ..."}),
    "refine": (
        "replace(recipes.cam(), refine=Own())",
        {"background": "background: float = 0.3", "prepare": "def prepare(self, context): ..."},
    ),
    "classifier.head": ("with_head(Own())", {"build": "def build(self, channels, classes): ..."}),
    "classifier.augment": ("with_augment(Own())", {"__call__": "def __call__(self, x, labels, rng): ..."}),
    "classifier.augment, of images": (
        "with_augment(Own())",
        {
            "rounds": "rounds: int = 1",
            "earlier": "earlier: None = None",
            "prepare": "def prepare(self, data, masks): ...",
        },
    ),
    "plan.optimiser": (
        "with_optimiser(Own())",
        {
            "lr": "lr: float = 0.1",
            "build": "def build(self, groups): ...",
            "factor": "def factor(self, step, steps): ...",
        },
    ),
}
DATASET = {
    "classes": "classes = ('cat', 'cow')",
    "contexts": "contexts = ()",
    "names": "names = ('one', 'two')",
    "labels": "labels = np.eye(2, dtype=bool)",
    "context_labels": "context_labels = None",
    "scored": "scored = np.zeros(2, dtype=bool)",
    "groups": "groups = {}",
    "fingerprint": "def fingerprint(self): return '1'",
    "__len__": "def __len__(self): return 2",
    "__getitem__": "def __getitem__(self, i): return Sample(self.names[i], np.ones((9, 9, 3), 'u1'), self.labels[i])",
}
EACH = [(where, name) for where, (_, members) in PARTS.items() for name in members]
CALLED = [(where, name) for where, name in EACH if PARTS[where][1][name].startswith("def ")]


def write(path: Path, where: str, members: dict[str, str]) -> Path:
    body = "".join(f"    {line}\n" for line in members.values())
    path.write_text(FRAME.format(body=body, made=PARTS[where][0]))
    return path


def refused(capsys: pytest.CaptureFixture[str], out: Path, *words: str) -> str:
    """The message of a run that is refused, and that made nothing."""
    assert main(["run", *words, "--out", str(out)]) == 2
    assert not out.exists()
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert told.count("\n") == 1
    return told


@pytest.mark.parametrize("where", PARTS)
def test_what_has_all_members_is_taken(where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "mine.py", where, PARTS[where][1])
    assert main(["run", str(file), "--data", "demo:", "--out", str(tmp_path / "run"), "--show"]) == 0
    assert f"{where.partition(',')[0].replace('plan', 'classifier.plan')}.x = 0" in capsys.readouterr().out


@pytest.mark.parametrize(("where", "name"), EACH)
def test_a_method_without_a_member_is_refused(
    where: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {key: line for key, line in PARTS[where][1].items() if key != name}
    file = write(tmp_path / "mine.py", where, members)
    told = refused(capsys, tmp_path / "run", str(file), "--data", "demo:")
    assert told.startswith(f"deft: {where.partition(',')[0]}: expected ")
    assert f"Own has no {name}; add " in told
    assert "docs/extending.md" in told


@pytest.mark.parametrize(("where", "name"), CALLED)
def test_a_method_with_other_arguments_is_refused(
    where: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = PARTS[where][1] | {name: f"def {name}(self): ..."}
    file = write(tmp_path / "mine.py", where, members)
    told = refused(capsys, tmp_path / "run", str(file), "--data", "demo:")
    assert f"expected Own.{name} to take " in told
    assert f"got {name}()" in told


@pytest.mark.parametrize("name", DATASET)
def test_a_data_set_without_a_member_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    body = "".join(f"    {line}\n" for key, line in DATASET.items() if key != name)
    file.write_text(f"{HEADER}\n\nclass Own:\n{body}")
    told = refused(capsys, tmp_path / "run", "cam", "--data", f"{file}:Own")
    assert f"Own has no {name}; add " in told
    assert "deft.ImageDataset" in told
    assert "docs/extending.md" in told


def test_a_data_set_that_has_all_members_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"{HEADER}\n\nclass Own:\n" + "".join(f"    {line}\n" for line in DATASET.values()))
    assert main(["check", f"{file}:Own"]) == 0
    assert capsys.readouterr().out.endswith("\n0 faults, 1 warning\n")  # each class is on one image


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("replace(recipes.cam(), seeds=Own)", "got the class Own itself; write Own()"),
        ("replace(recipes.cam(), seeds=None)", "NoneType has no prepare"),
        ("with_augment(3)", "int has no __call__"),
        ("replace(recipes.cam(), seeds=Plain())", "expected a seed method that is a dataclass, got Plain"),
        ("with_augment(Lit())", "def __call__(self, x, labels, rng, gradients): ..."),
        ("with_augment(Both())", "got Both with salient True and layer; leave one of them out"),
        ("replace(recipes.cam(), seeds=Number())", "Number.prepare is 3, which cannot be called"),
    ],
)
def test_other_mistakes_are_told_as_what_they_are(
    made: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = "\n\nclass Plain:\n    def prepare(self, context): ...\n\n\nclass Number:\n    prepare = 3\n"
    others += (
        "\n\n@dataclass(frozen=True)\nclass Lit:\n    salient = True\n    def __call__(self, x, labels, rng): ...\n"
    )
    others += "\n\nclass Both:\n    salient = True\n    layer = 3\n"
    file = tmp_path / "mine.py"
    file.write_text(FRAME.format(body="    def prepare(self, context): ...\n", made=made) + others)
    assert words in refused(capsys, tmp_path / "run", str(file), "--data", "demo:")


def test_a_fault_in_a_members_own_code_is_shown_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    broken = "    @property\n    def background(self): return self.nowhere\n    def prepare(self, context): ...\n"
    file.write_text(FRAME.format(body=broken, made="replace(recipes.cam(), refine=Own())"))
    with pytest.raises(AttributeError, match="nowhere"):
        main(["run", str(file), "--data", "demo:", "--out", str(tmp_path / "run")])
