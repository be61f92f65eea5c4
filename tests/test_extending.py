"""``docs/extending.md`` is enough: methods with the members of its table, and no other, run end to end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import deft
from deft.cli.main import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## What can be replaced")[2].partition("###")[0]
IMPORTS = "from dataclasses import dataclass, replace\nimport numpy as np\nimport torch\nfrom deft import *\n"
WRITTEN = {
    "seed method": '''
@dataclass(frozen=True)
class Own:
    """Colour that is far from the mean of the image."""

    power: float = 1.0

    def prepare(self, context):
        def locate(sample):
            height, width = sample.image.shape[:2]
            classes = tuple(int(k) for k in np.flatnonzero(sample.labels))
            image = torch.from_numpy(sample.image[::4, ::4]).float()
            away = (image - image.mean(dim=(0, 1))).norm(dim=2) ** self.power
            return SeedMaps(classes, (away / away.max()).expand(len(classes), *away.shape), (height, width))
        return locate


def recipe():
    return replace(recipes.cam(), seeds=Own())
''',
    "refiner": '''
@dataclass(frozen=True)
class Own:
    """Maps, squared."""

    background: float = 0.3

    def prepare(self, context):
        return lambda sample, seeds: replace(seeds, maps=seeds.maps**2)


def recipe():
    return replace(recipes.cam(), refine=Own())
''',
    "classifier head": '''
@dataclass(frozen=True)
class Own:
    """The strongest cell instead of the mean."""

    power: float = 1.0

    def build(self, channels, classes):
        return Weights(channels, classes)


class Weights(HeadModule):
    def __init__(self, channels, classes):
        super().__init__()
        self.scores = torch.nn.Conv2d(channels, classes, 1, bias=False)

    def logits(self, features):
        return self.scores(features).amax(dim=(2, 3))

    def activation(self, features):
        return self.scores(features).relu()[:, None]


def recipe():
    base = recipes.cam()
    return replace(base, classifier=replace(base.classifier, head=Own()), seed_threshold=0.3)
''',
    "augmentation": '''
@dataclass(frozen=True)
class Own:
    """Some channels dark."""

    share: float = 0.5

    def __call__(self, x, labels, rng):
        dark = torch.rand(*x.shape[:2], 1, 1, generator=rng) < self.share
        return x.masked_fill(dark.to(x.device), 0), labels


def recipe():
    base = recipes.cam()
    return replace(base, classifier=replace(base.classifier, augment=Own()))
''',
    "optimiser": '''
@dataclass(frozen=True)
class Own:
    """Signs of gradients."""

    lr: float = 0.01

    def build(self, groups):
        return torch.optim.Rprop([{"params": group.params, "lr": self.lr * group.lr} for group in groups])

    def factor(self, step, steps):
        return 1 - step / steps


def recipe():
    base = recipes.cam()
    plan = replace(base.classifier.plan, optimiser=Own())
    return replace(base, classifier=replace(base.classifier, plan=plan))
''',
}
DATA = """
def own(count: int):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (count, 48, 48, 3), dtype=np.uint8)
    labels = np.arange(count)[:, None] % 2 == np.arange(2)
    return ImageDataset(classes=("odd", "even"), labels=labels, image=lambda i: images[i], version="1")
"""
SETTINGS = ["backbone=test_resnet", "weights=none", "segment=none"]
SETTINGS += [f"classifier.plan.{item}" for item in ("min_steps=2", "epochs=1", "batch=4", "workers=0")]


def row(kind: str) -> list[str]:
    """Cells of the table's row on a kind of thing."""
    (line,) = re.findall(rf"^\| {kind} \|.*$", TABLE, re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split("|")]


def members(kind: str) -> list[str]:
    """Members that the table's row says a thing has."""
    return re.findall(r"`(\w+)[^`]*`", row(kind)[2].replace("deft.", ""))


def run(out: Path, recipe: str, data: str, *settings: str) -> None:
    words = ["run", recipe, "--data", data, "--out", str(out)]
    for item in [*SETTINGS, *settings]:
        words += ["--set", item]
    assert main(words) == 0


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_has_the_members_of_the_table_and_no_other_runs(kind: str, folder_data: Path, tmp_path: Path) -> None:
    code = WRITTEN[kind]
    body = code.partition("class Own:")[2].partition("def recipe")[0]
    has = set(re.findall(r"^    def (\w+)|^    (\w+):", body, re.MULTILINE))
    found = {name for pair in has for name in pair if name}
    needed = set(members(kind))
    assert needed <= found
    assert found - needed <= {"power", "share", "__init__"}  # settings of its own, and the weights of a head
    file = tmp_path / "mine.py"
    file.write_text(IMPORTS + code)
    scales = [] if kind == "seed method" else ["seeds.scales=(1.0,)"]
    run(tmp_path / "run", str(file), f"folder:{folder_data}", *scales)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    assert 0 < scores["train"]["masks"]["used"]["miou"] <= 1


def test_a_dataset_of_the_tables_members_runs(tmp_path: Path) -> None:
    assert members("dataset") == ["classes", "labels", "image", "files", "version", "ImageDataset"]
    file = tmp_path / "mine.py"
    file.write_text(IMPORTS + DATA)
    run(tmp_path / "run", "cam", f"{file}:own?count=6", "seeds.scales=(1.0,)", "seed_threshold=0.3")
    assert len(list((tmp_path / "run" / "masks").glob("*.png"))) == 6


def test_every_row_of_the_table_has_an_example_that_is_named_on_the_page() -> None:
    for path in (ROOT / "examples").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert f"`examples/{path.name}`" in TABLE or "def main(" in text, path.name
    kinds = ("classifier head", "augmentation", "seed method", "refiner", "optimiser", "dataset")
    for kind in kinds:
        assert re.fullmatch(r"`examples/\w+\.py`", row(kind)[4]), kind


def test_the_page_names_all_public_names_and_no_other() -> None:
    (paragraph,) = [part for part in PAGE.split("\n\n") if part.startswith("`deft` itself offers")]
    assert set(re.findall(r"`(\w+)`", paragraph)) - {"deft"} == set(deft.__all__)
