"""Sphinx: the repository's own pages as a site, and the reference of the package from its docstrings.

The source folder is the repository, so a link that leads somewhere on the code host leads there on the site too.
``make docs`` builds it, with every warning an error.
"""

from __future__ import annotations

import os
import re
import sys
import types
from pathlib import Path
from typing import Any

from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import numpy.typing  # noqa: E402


class NDArray:
    """Stands for numpy's, which signatures would show as ndarray[tuple[Any, ...], dtype[...]]."""

    __module__ = "numpy.typing"
    __class_getitem__: Any = classmethod(types.GenericAlias)


vars(numpy.typing)["NDArray"] = NDArray  # before the package is imported
numpy.set_printoptions(threshold=8, edgeitems=2)  # an array that is a constant is shown by its ends

import api_pages  # noqa: E402

import deft  # noqa: E402

project = "deft"
author = "the authors of deft"
version = release = deft.__version__
copyright = f"{author}, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
root_doc = "README"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/api/*.rst",
    "benchmarks/*.md",
    "benchmarks/*/*.md",
    "benchmarks/*/*/*.md",
    "examples/*.md",
]
exclude_patterns = [".*", "build", "dist", "runs", "site"]
nitpicky = True
suppress_warnings = ["myst.header"]  # a page may begin at any level

myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_default_options = {
    "members": True,
    "ignore-module-all": True,  # what a package takes from its modules is described there
    "member-order": "bysource",
    "special-members": "__call__",
}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
add_module_names = False

html_theme = "sphinx_book_theme"
html_title = f"deft {version}"
html_copy_source = False
html_show_sphinx = False
html_theme_options: dict[str, Any] = {
    "navbar_persistent": [],
    "show_navbar_depth": 1,
    "use_download_button": False,
}
if switcher := os.environ.get("DEFT_DOCS_SWITCHER"):  # address of the list of versions; only a published site has one
    html_theme_options |= {
        "switcher": {"json_url": switcher, "version_match": version},
        "check_switcher": False,
        "primary_sidebar_end": ["version-switcher"],
    }

OTHERS = {"PIL", "argparse", "collections", "numpy", "pathlib", "torch", "typing"}
"""Libraries that signatures and base classes name. Their pages are not looked up: building needs no network."""

HOMES = api_pages.all_exports(ROOT / "deft")


def contents() -> str:
    """Tables of contents that Sphinx reads, from the headings and links of docs/README.md."""
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    tables = []
    for section in text.split("\n## ")[1:]:
        links = re.findall(r"^- \[(.*?)\]\(([\w./-]+)\.md\)", section, re.MULTILINE)
        pages = [f"{title} <{os.path.normpath(f'docs/{link}')}>" for title, link in links]
        tables.append(toctree(pages, "hidden:", f"caption: {section.splitlines()[0]}"))
    return "\n".join([*tables, toctree(["docs/api/index"], "hidden:", "caption: Reference")])


def toctree(pages: list[str], *options: str) -> str:
    """A table of contents as Sphinx reads it in Markdown."""
    return "\n".join(["", "```{toctree}", *(f":{option}" for option in options), "", *pages, "```", ""])


def add_contents(app: Sphinx, name: str, source: list[str]) -> None:
    """Give pages the contents that the code host would show as a block of code."""
    if name == root_doc:
        source[0] += contents()
    elif name == "benchmarks/README":
        source[0] += toctree(["*", "*/*", "*/*/*"], "glob:", "maxdepth: 1")
    elif name == "docs/README":  # its links are the contents themselves
        source[0] = "---\norphan: true\n---\n" + source[0]


def keep(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep |a - b| from being read as a substitution, and words before a colon from being read as a type."""
    lines[:] = [re.sub(r"(?<![`|])\|(?=\S)([^|`]*\S)\|(?![`|])", r"\|\1\|", line) for line in lines]
    lines[:] = [{"Returns:": ":returns:", "Yields:": ":yields:"}.get(line, line) for line in lines]
    if what in ("attribute", "data", "property"):
        _fields[name] = list(lines)


def give_back(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Undo what napoleon does to the text of a field, which takes all before a colon for its type."""
    lines[:] = _fields.pop(name, lines)


_fields: dict[str, list[str]] = {}


def take_exactly(app: Sphinx, doctree: Any) -> None:
    """Read a name in a signature as its module does, instead of as anything whose name ends like it."""
    for node in doctree.findall(pending_xref):
        if _in_a_signature(node):
            node["refspecific"] = False


def find_home(app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """Lead a name that a module imports, or a package offers again, to where it is defined."""
    if node.get("refdomain") != "py":
        return None
    own = api_pages.imports(ROOT, node.get("py:module") or "")
    target = node["reftarget"]
    first, dot, rest = target.partition(".")
    specific = "." in target or first in own
    target = own[first] + dot + rest if first in own else target
    for length in range(target.count(".") + 1, 0, -1):
        front = ".".join(target.split(".")[:length])
        if front in HOMES:
            target = HOMES[front] + target[len(front) :]
            break
    if not specific and not _in_a_signature(node):
        node["refspecific"] = True  # a bare name: whatever one thing of the package is called so
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, content)


def forgive(app: Sphinx, domain: Any, node: Any) -> bool | None:
    """Let a signature name what has no page, such as a type variable; what a text refers to must be there."""
    if node.get("refdomain") == "py" and (_in_a_signature(node) or node["reftarget"].split(".")[0] in OTHERS):
        return True
    return None


def _in_a_signature(node: Any) -> bool:
    """Whether a reference was made of a type; one that a text asks for says whether to warn."""
    return node.get("refdomain") == "py" and "refwarn" not in node


def add_entrance(app: Sphinx, error: Exception | None) -> None:
    """Lead from the site's address to the start page."""
    if error is None and app.builder.format == "html":
        page = '<!doctype html><meta charset="utf-8"><title>deft</title><meta http-equiv="refresh" content="0; url={}">'
        (Path(app.outdir) / "index.html").write_text(page.format(f"{root_doc}.html"), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Write the pages of the reference and connect the above."""
    api_pages.write(ROOT / "deft", ROOT / "docs" / "api")
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", keep, priority=100)  # before napoleon, whose place is 500
    app.connect("autodoc-process-docstring", give_back, priority=900)
    app.connect("doctree-read", take_exactly)
    app.connect("missing-reference", find_home)
    app.connect("warn-missing-reference", forgive)
    app.connect("build-finished", add_entrance)
