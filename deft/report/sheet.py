"""The content of a page of sections with sentences, tables and images, which ``html.render_sheet`` renders.

Names come from users and must be treated as hostile until they are rendered.
"""

from __future__ import annotations

from dataclasses import dataclass

from deft.report.data import PictureRow
from deft.report.summary import Line
from deft.report.tables import Table


@dataclass(frozen=True, eq=False)
class Section:
    """One section of the page; empty parts are left out."""

    title: str
    explain: str = ""
    """Explanation below the title."""
    lines: tuple[Line, ...] = ()
    """Sentences, shown as a list."""
    first: str = ""
    """Heading of the first column of the table."""
    table: Table | None = None
    pictures: tuple[PictureRow, ...] = ()


@dataclass(frozen=True, eq=False)
class Sheet:
    """The page."""

    title: str
    lead: str
    """Sentence below the title."""
    sections: tuple[Section, ...]
