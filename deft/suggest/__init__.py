"""Which image of a run to correct next: ``deft suggest``."""

from __future__ import annotations

from deft.suggest.suggested import Suggestion, suggested

__all__ = ["Suggestion", "suggested"]
