"""Pages of the API reference, one for each part of the package, found by walking its files.

Nothing is listed by hand, so a module that moves takes its page along. Nothing is imported either: what a package
offers is read off the imports of its ``__init__.py``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path


def parts(package: Path) -> list[Path]:
    """Public modules and packages right below a package, by name."""
    found = [path for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    return sorted(path for path in found if not path.name.startswith("_"))


def modules(part: Path) -> Iterator[Path]:
    """A part and all public modules below it, parents first."""
    yield part
    if part.is_dir():
        for inner in parts(part):
            yield from modules(inner)


def dotted(path: Path, root: Path) -> str:
    """Name to import a module by; ``root`` is the folder that holds the package."""
    return ".".join(path.relative_to(root).with_suffix("").parts)


@cache
def _tree(root: Path, module: str) -> ast.Module:
    """The code of a module; nothing where there is no such module."""
    place = root / module.replace(".", "/")
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8") if path.is_file() else "")


@cache  # asked for each name in each signature
def imports(root: Path, module: str) -> dict[str, str]:
    """Names that a module takes from others of its package, each with its full name there."""
    found: dict[str, str] = {}
    for node in ast.walk(_tree(root, module)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == module.split(".")[0]:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def exports(package: Path, root: Path) -> dict[str, str]:
    """Names that a package takes from others and offers again in ``__all__``: name offered to name at home."""
    name = dotted(package, root)
    listed: list[str] = []
    for node in _tree(root, name).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            listed = ast.literal_eval(node.value)
    return {f"{name}.{short}": home for short, home in imports(root, name).items() if short in listed}


def all_exports(package: Path) -> dict[str, str]:
    """What the package and every package in it offer again, each name led to the module that defines it."""
    root = package.parent
    folders = [path for path in modules(package) if path.is_dir()]
    direct = {name: home for path in folders for name, home in exports(path, root).items()}

    def home(name: str) -> str:
        return home(direct[name]) if direct.get(name, name) != name else name

    return {name: home(target) for name, target in direct.items()}


def page(part: Path, root: Path, homes: Mapping[str, str]) -> str:
    """The reference of one part: what it offers, then module after module in full."""
    text = []
    for path in modules(part):
        name = dotted(path, root)
        text += [name, ("=" if path == part else "-") * len(name), "", f".. automodule:: {name}", ""]
        text += _list(exports(path, root) if path.is_dir() else {}, root, homes)
    return "\n".join(text)


def front(package: Path, homes: Mapping[str, str]) -> str:
    """The first page: the package's own words, the names it offers, and its parts."""
    root, name = package.parent, package.name
    text = ["API reference", "=============", "", f".. automodule:: {name}", ""]
    text += [*_list(exports(package, root), root, homes), ".. toctree::", "   :caption: Parts", "   :maxdepth: 1", ""]
    return "\n".join([*text, *(f"   {path.stem}" for path in parts(package)), ""])


def _list(names: Iterable[str], root: Path, homes: Mapping[str, str]) -> list[str]:
    """Names with the first line of what is said of them."""
    return [f"- :py:obj:`{name}` {_first_line(homes[name], root)}".rstrip() for name in sorted(names)] + [""]


def _first_line(name: str, root: Path) -> str:
    """First line of the docstring of a function or class; nothing for a constant."""
    module, _, short = name.rpartition(".")
    for node in _tree(root, module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == short:
            return (ast.get_docstring(node) or "").split("\n")[0]
    return ""


def write(package: Path, folder: Path) -> None:
    """Write all pages into a folder of nothing else; those that have not changed keep their time."""
    homes = all_exports(package)
    pages = {f"{path.stem}.rst": page(path, package.parent, homes) for path in parts(package)}
    pages["index.rst"] = front(package, homes)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
