"""The stages of a run: data and files (``context``), what each makes (``make``), sharing the work (``shares``)."""
