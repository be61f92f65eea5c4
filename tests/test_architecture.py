"""Who may import whom: the data flow is the layout."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import deft

ROOT = Path(deft.__file__).parent
BASE = {"contracts", "settings", "artifacts"}
MAY_IMPORT = {
    "contracts": set(),
    "settings": {"contracts"},
    "artifacts": {"contracts", "settings"},
    "package_weights": {"contracts"},
    "backbone": {"contracts", "package_weights"},
    "augment": {"contracts"},
    "metrics": {"contracts"},
    "engine": BASE | {"thresholds"},
    "thresholds": {"artifacts", "contracts", "engine", "metrics", "seeds"},
    "data": BASE,
    "classify": BASE | {"backbone", "engine", "augment"},
    "seeds": BASE | {"backbone", "engine"},
    "refine": BASE | {"backbone", "engine", "thresholds"},
    "segment": BASE | {"backbone", "engine"},
    "report": BASE | {"metrics"},
}
TOP = {"mapping", "stages", "pipeline", "evaluate", "precision_check", "present", "predict", "locate"}
TOP |= {"photographs", "streaming", "join", "submit", "tune", "refinement_check"}
"""These stand above; then come recipes, then studies, then cli."""

DOORS = {
    "timm": "backbone.py",
    "lightning": ("engine/launch.py", "engine/loop.py"),
    "segmentation_models_pytorch": "segment/deeplab.py",
    "matplotlib": "report/plots.py",
    "jinja2": "report/html.py",
    "sklearn": "report/tsne.py",
    "pycocotools": "data/coco.py",
    "jsonargparse": "settings.py",
    "filelock": "artifacts/folder.py",
    "webdataset": "data/shards.py",
    "braceexpand": "data/shards.py",
}
"""Each heavy dependency has one door; Lightning's two are where processes are started and where they train."""


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_data_flow(path: Path) -> None:
    relative = path.relative_to(ROOT)
    own = relative.parts[0].removesuffix(".py")
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("deft.")}
    if own in MAY_IMPORT:
        assert ours - {own} <= MAY_IMPORT[own]
    elif own in TOP:
        assert not ours & {"cli", "recipes", "studies"}
    elif own == "recipes":
        assert not ours & {"cli", "studies"}
    elif own == "studies":
        assert not ours & {"cli", "verbs"}


def test_thresholds_stand_between_maps_and_what_cuts_them() -> None:
    """They know the grid of the maps and nothing of how maps are made; of the engine the workshop alone knows them."""
    known = {name for path in (ROOT / "thresholds").glob("*.py") for name in imports(path) if name.startswith("deft.")}
    assert {name for name in known if name.startswith("deft.seeds")} == {"deft.seeds.views"}
    assert {name for name in known if name.startswith("deft.engine")} == {"deft.engine", "deft.engine.infer"}
    users = {str(path.relative_to(ROOT)) for path in FILES if any("deft.thresholds" in name for name in imports(path))}
    parts = {name for name in users if name.split("/")[0] in MAY_IMPORT and not name.startswith("thresholds/")}
    assert parts == {"engine/workshop.py", "refine/irn.py", "refine/labels.py", "refine/psa.py"}


@pytest.mark.parametrize(("package", "door"), DOORS.items())
def test_heavy_dependencies_have_one_door(package: str, door: str | tuple[str, ...]) -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in FILES
        if any(name == package or name.startswith(package + ".") for name in imports(path))
    }
    assert users == ({door} if isinstance(door, str) else set(door))


def test_no_pickle_anywhere() -> None:
    for path in FILES:
        assert not imports(path) & {"pickle", "dill", "joblib", "cloudpickle"}, path
        text = path.read_text(encoding="utf-8").replace(" ", "")
        assert "allow_pickle=True" not in text, path
        assert "weights_only=False" not in text, path


def test_importing_the_command_line_is_cheap() -> None:
    code = "import sys, deft.cli; print(sorted({'torch', 'timm', 'lightning', 'numpy.linalg'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "torch" not in loaded
    assert "lightning" not in loaded


def test_public_names_resolve() -> None:
    for name in deft.__all__:
        assert getattr(deft, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = deft.nothing
