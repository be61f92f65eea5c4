"""A page that is not that of a run: statements, tables and pictures in sections. Drawn by ``html.render_sheet``.

Names in it come from users and are hostile until rendered, as everywhere in a report.
"""

from __future__ import annotations

from dataclasses import dataclass

from deft.report.data import PictureRow
from deft.report.summary import Line
from deft.report.tables import Table


@dataclass(frozen=True, eq=False)
class Section:
    """One card of the page; what is empty is left out."""

    title: str
    explain: str = ""
    lines: tuple[Line, ...] = ()
    first: str = ""
    """Title of the table's first column."""
    table: Table | None = None
    pictures: tuple[PictureRow, ...] = ()


@dataclass(frozen=True, eq=False)
class Sheet:
    """The page."""

    title: str
    lead: str
    sections: tuple[Section, ...]
