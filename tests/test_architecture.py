"""Who may import whom: the data flow is the layout, and nothing goes round in circles."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import deft

ROOT = Path(deft.__file__).parent
BASE = {"contracts", "guards", "ranges", "settings", "artifacts", "extend"}
METHODS = BASE | {"backbone", "engine", "thresholds"}
ON_MAPS = METHODS | {"seedmaps"}
STAGES = ON_MAPS | {"data", "classify", "seeds", "refine", "segment", "metrics", "pipeline"}
RUNS = STAGES | {"stages", "report", "evaluate"}
COMMANDS = RUNS | {"augment", "export", "predict", "runner", "recipes", "studies", "deploy", "review", "suggest"}
MAY_IMPORT = {
    "": set(),
    "contracts": set(),
    "seedmaps": {"contracts"},
    "guards": {"contracts"},
    "ranges": {"contracts"},
    "settings": {"contracts", "ranges"},
    "extend": {"contracts", "guards"},
    "artifacts": {"contracts", "guards", "settings"},
    "backbone": {"contracts", "guards"},
    "augment": {"contracts", "ranges"},
    "metrics": {"contracts", "seedmaps"},
    "data": BASE,
    "thresholds": {"artifacts", "contracts", "engine", "guards", "metrics", "seedmaps"},
    "engine": BASE | {"backbone", "data", "thresholds"},
    "classify": METHODS | {"augment"},
    "seeds": ON_MAPS,
    "refine": ON_MAPS,
    "segment": ON_MAPS | {"refine"},
    "report": BASE | {"metrics"},
    "pipeline": STAGES,
    "stages": STAGES,
    "evaluate": STAGES | {"stages", "report"},
    "predict": RUNS,
    "runner": RUNS,
    "recipes": STAGES | {"augment"},
    "export": RUNS | {"runner"},
    "notebook": RUNS | {"export", "runner"},
    "suggest": RUNS | {"runner"},
    "review": RUNS | {"runner", "export", "predict", "suggest", ""},
    "studies": RUNS | {"augment", "predict", "runner", "recipes", ""},
    "deploy": RUNS | {"predict", "runner", "studies", ""},
    "doctor": STAGES | {"recipes"},
    "cli": COMMANDS | {"", "doctor"},
    "__main__": {"cli"},
}
"""What each part may import of the others; ``""`` is ``deft/__init__.py``."""

DOORS = {
    "timm": ("backbone/hub.py", "backbone/network.py", "backbone/weights.py"),
    "lightning_fabric": ("engine/fabric.py", "engine/launch.py"),
    "segmentation_models_pytorch": ("segment/deeplab.py",),
    "matplotlib": ("report/plots.py",),
    "jinja2": ("report/html.py",),
    "sklearn": ("report/tsne.py",),
    "skimage": ("refine/superpixels.py",),
    "transformers": ("backbone/from_transformers.py",),
    "pycocotools": ("data/layouts/outlines.py",),
    "pyarrow": ("data/layouts/saved_datasets.py",),
    "yaml": ("data/layouts/yolo.py",),
    "jsonargparse": ("settings.py",),
    "simplejpeg": ("data/jpeg.py",),
    "pillow_heif": ("data/images.py",),
    "rasterio": ("data/raster.py",),
    "av": ("data/video.py",),
    "filelock": ("artifacts/lock.py",),
    "webdataset": ("data/layouts/shards.py",),
    "braceexpand": ("data/layouts/shards.py",),
    "onnx": ("deploy/onnx.py",),
    "onnxruntime": ("deploy/onnx.py",),
    "starlette": ("review/app.py",),
    "uvicorn": ("review/serve.py",),
    "xstatic": ("review/leaflet.py",),
    "ray": ("engine/ray_engine.py", "engine/ray_train.py"),
}
"""Each heavy dependency has one door; Lightning and Ray have two: for a run's processes, and for their work."""

FILES = sorted(ROOT.rglob("*.py"))


def module_of(path: Path, root: Path) -> str:
    """Dotted name of a file of the package."""
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    return {module_of(path, root): path for path in sorted(root.rglob("*.py"))}


@cache
def imported(path: Path) -> frozenset[str]:
    """Names that a file imports anywhere in it, also for types alone; of ``from a import b`` both ``a`` and ``a.b``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports are not used here"
            found |= {str(node.module)} | {f"{node.module}.{name.name}" for name in node.names}
    return frozenset(found)


def defined(path: Path) -> set[str]:
    """Names that a file assigns, and those it lists in ``__all__``."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names.add(node.targets[0].id)
            if node.targets[0].id == "__all__":
                names |= set(ast.literal_eval(node.value))
    return names


@cache
def graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Which modules of the package each of its modules imports.

    ``from deft.part import name`` is an import of the module ``deft.part.name`` where there is one, else of the file
    that defines ``deft.part``. The public names of ``deft`` itself are imported when they are first used, so that its
    own file depends on nothing.
    """
    known = modules(root)
    found: dict[str, set[str]] = {}
    for module, path in known.items():
        names = {name for name in imported(path) if name.split(".")[0] == root.name}
        packages = {name.rpartition(".")[0] for name in names if name in known}
        targets = {name for name in names if name in known and not (name in packages and _is_package(known[name]))}
        public = {f"{root.name}.{name}" for name in defined(known[root.name])}
        unplaced = {name for name in names - set(known) - public if name.rpartition(".")[0] in ("", root.name)}
        unplaced |= {name for name in names - set(known) - public if name.rpartition(".")[0] not in known}
        assert not unplaced, f"{module} imports {sorted(unplaced)}, which is no module of {root.name}"
        found[module] = set() if module == root.name else targets - {module}
    return found


def _is_package(path: Path) -> bool:
    return path.name == "__init__.py"


def circle(depends: Mapping[str, Iterable[str]]) -> list[str]:
    """The modules of a circle of imports, or nothing."""
    try:
        TopologicalSorter(depends).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def part_of(module: str) -> str:
    """The part that a module belongs to; "" is the package's own file."""
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", modules(), ids=lambda module: module)
def test_imports_follow_the_data_flow(module: str) -> None:
    own = part_of(module)
    assert own in MAY_IMPORT, f"{own} is not a part that this test knows: say here what it may import"
    others = {part_of(name) for name in graph()[module]} - {own}
    assert others <= MAY_IMPORT[own], f"{module} may not import {sorted(others - MAY_IMPORT[own])}"


def test_there_are_no_circles() -> None:
    assert circle(graph()) == []


def test_the_table_names_only_parts_that_there_are() -> None:
    assert set(MAY_IMPORT) == {part_of(module) for module in modules()}
    assert all(allowed <= set(MAY_IMPORT) for allowed in MAY_IMPORT.values())


def write(root: Path, **files: str) -> Path:
    """A package of these modules."""
    for name, text in {"__init__": "", **files}.items():
        path = root / "deft" / (name.replace("__in__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "deft"


@pytest.mark.parametrize(
    "back",
    [
        "from deft.one import a",
        "from deft import one",
        "import deft.one",
        "def f():\n    from deft.one import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from deft.one import a",
    ],
)
def test_a_circle_put_in_by_hand_is_refused(back: str, tmp_path: Path) -> None:
    others = {"one": "from deft.two import b\na = 1", "two": "from deft.three import c\nb = 2"}
    assert set(circle(graph(write(tmp_path / "round", **others, three=back)))) == {"deft.one", "deft.two", "deft.three"}
    assert circle(graph(write(tmp_path / "straight", **others, three="c = 3"))) == []


@pytest.mark.parametrize("line", ["from deft.gone import a", "from deft import gone", "import deft.gone"])
def test_an_import_that_cannot_be_placed_is_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"deft\.gone"):
        graph(write(tmp_path, one=line))


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    assert {part_of(module) for module in graph(write(tmp_path, loose=""))} - set(MAY_IMPORT) == {"loose"}


def test_public_names_of_the_package_are_imports_of_its_own_file(tmp_path: Path) -> None:
    root = write(tmp_path, __init__='__all__ = ["run"]', one="from deft import run")
    assert graph(root)["deft.one"] == {"deft"}


def test_thresholds_stand_between_maps_and_what_cuts_them() -> None:
    """They know the grid of the maps and nothing of how maps are made."""
    depends = graph()
    known = {name for module in depends if part_of(module) == "thresholds" for name in depends[module]}
    assert "deft.seedmaps" in known
    assert not {part_of(name) for name in known} & {"backbone", "classify", "seeds", "refine"}
    assert {name for name in known if part_of(name) == "engine"} == {"deft.engine.infer", "deft.engine.ranks"}


@pytest.mark.parametrize(("package", "doors"), DOORS.items())
def test_heavy_dependencies_have_one_door(package: str, doors: tuple[str, ...]) -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in FILES
        if any(name == package or name.startswith(package + ".") for name in imported(path))
    }
    assert users == set(doors)


def test_no_pickle_anywhere() -> None:
    for path in FILES:
        assert not imported(path) & {"pickle", "dill", "joblib", "cloudpickle"}, path
        text = path.read_text(encoding="utf-8").replace(" ", "")
        assert "allow_pickle=True" not in text, path
        assert "weights_only=False" not in text, path


def test_importing_the_command_line_is_cheap() -> None:
    code = "import sys, deft.cli.main; print(sorted({'torch', 'timm', 'lightning_fabric', 'numpy'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded == "[]\n"


def test_public_names_resolve() -> None:
    for name in deft.__all__:
        assert getattr(deft, name).__name__.rpartition(".")[2] == name
        assert getattr(deft, name).__doc__
    assert dir(deft) == sorted(deft.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = deft.nothing
