"""Files of the page and of Leaflet: by plain names alone, from their packages."""

from __future__ import annotations

import sys

import pytest

from deft.contracts import InputError
from deft.review.leaflet import leaflet_file, page_file, require_leaflet


def test_leaflets_files_come_from_its_package() -> None:
    content, kind = leaflet_file("leaflet-src.esm.js")
    assert (b"Leaflet" in content, kind) == (True, "text/javascript; charset=utf-8")
    assert leaflet_file("leaflet.css")[1] == "text/css; charset=utf-8"
    content, kind = leaflet_file("images/layers.png")
    assert (content[:4], kind) == (b"\x89PNG", "image/png")


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../__init__.py", "images/../../__init__.py", "/etc/passwd", "leaflet.css/", "images"),
        *("leaflet.css\0", "..%2f__init__.py", "images\\layers.png", "leaflet.js.map", "none.js", "a" * 3000 + ".js"),
        *("../leaflet.py", "../app.py", "//leaflet.css", "./leaflet.css", ".leaflet.css"),
    ],
)
def test_nothing_else_is_given_out(name: str) -> None:
    for read in (page_file, leaflet_file):
        with pytest.raises(LookupError, match="no file"):
            read(name)


def test_the_extra_is_named_if_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    require_leaflet()
    monkeypatch.setitem(sys.modules, "xstatic.pkg.leaflet", None)
    with pytest.raises(InputError, match=r"pip install 'deft-wsss\[review\]'"):
        require_leaflet()
