"""Files of the page: its own, and Leaflet's, which come from a package of the registry; the door to XStatic."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from deft.contracts import InputError

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
}
_NAME = re.compile(r"(?:[a-z0-9_-]+/){0,2}[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.(html|js|css|svg|png)")


def page_file(name: str) -> tuple[bytes, str]:
    """A file of the page and its type.

    Raises:
        LookupError: there is none of this name.
    """
    return _file("deft.review", f"page/{name}", name)


def leaflet_file(name: str) -> tuple[bytes, str]:
    """A file of Leaflet and its type; raises as :func:`page_file`."""
    return _file("xstatic.pkg.leaflet", f"data/{name}", name)


def require_leaflet() -> None:
    """Refuse to begin without Leaflet.

    Raises:
        InputError: its package is not installed.
    """
    try:
        import xstatic.pkg.leaflet  # noqa: F401 (its files are read)
    except ImportError:
        raise InputError(
            "deft review needs Leaflet, which shows its pictures; pip install 'deft-wsss[review]'"
        ) from None


@cache
def _file(package: str, path: str, name: str) -> tuple[bytes, str]:
    found = _NAME.fullmatch(name)
    if found is None:
        raise LookupError(f"no file {name[:60]!r}")
    try:
        return files(package).joinpath(path).read_bytes(), _TYPES[found[1]]
    except OSError:
        raise LookupError(f"no file {name[:60]!r}") from None
