"""What a machine offers and what it means for a run: facts (``facts``), and the lines that tell them (``told``)."""

from __future__ import annotations

from deft.doctor.facts import Facts, examine
from deft.doctor.told import told

__all__ = ["Facts", "examine", "told"]
