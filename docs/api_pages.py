"""Pages of the API reference, one for each part of the package, found by walking its files.

Nothing is listed by hand, so a module that moves takes its page along. Nothing is imported either: what a package
offers is read off the imports of its ``__init__.py``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
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
def imports(root: Path, module: str | None) -> dict[str, str]:
    """Names that a module takes from others of its package, each with its full name there."""
    place = root / (module or "").replace(".", "/")
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if not module or not path.is_file():
        return {}
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == module.split(".")[0]:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def exports(package: Path, root: Path) -> dict[str, str]:
    """Names that a package takes from others and offers again in ``__all__``: name offered to name at home."""
    name = dotted(package, root)
    listed: list[str] = []
    for node in ast.parse((package / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            listed = ast.literal_eval(node.value)
    return {f"{name}.{short}": home for short, home in imports(root, name).items() if short in listed}


def all_exports(package: Path) -> dict[str, str]:
    """What the package and every package in it offer again, each name led to the module that defines it."""
    root = package.parent
    folders = [path for path in [package, *(inner for part in parts(package) for inner in modules(part))]]
    direct = {key: value for path in folders if path.is_dir() for key, value in exports(path, root).items()}

    def home(name: str) -> str:
        return home(direct[name]) if direct.get(name, name) != name else name

    return {name: home(target) for name, target in direct.items()}


def page(part: Path, root: Path) -> str:
    """The reference of one part: what it offers, then module after module in full."""
    text = []
    for path in modules(part):
        name = dotted(path, root)
        text += [name, ("=" if path == part else "-") * len(name), "", f".. automodule:: {name}"]
        offered = exports(path, root) if path.is_dir() else {}
        text += ["   :no-members:" if path.is_dir() and not _defines(path) else "   :members:", ""]
        text += [f"- :py:obj:`{full}`" for full in sorted(offered)] + [""]
    return "\n".join(text)


def front(package: Path) -> str:
    """The first page: the package's own words, the names it offers, and its parts."""
    root, name = package.parent, package.name
    text = ["API reference", "=============", "", f".. automodule:: {name}", "   :no-members:", ""]
    text += [f"- :py:obj:`{full}`" for full in sorted(exports(package, root))]
    text += ["", ".. toctree::", "   :caption: Parts", ""]
    return "\n".join([*text, *(f"   {path.stem}" for path in parts(package)), ""])


def write(package: Path, folder: Path) -> None:
    """Write all pages into a folder of nothing else; those that have not changed keep their time."""
    pages = {f"{path.stem}.rst": page(path, package.parent) for path in parts(package)}
    pages["index.rst"] = front(package)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _defines(package: Path) -> bool:
    """Whether the ``__init__.py`` of a package defines public functions or classes of its own."""
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) and not node.name.startswith("_") for node in tree.body)
