"""Masks of a run for other tools, and back: ``deft export`` and ``deft import``.

A file for each format has what its tool writes and reads. Their readers are those of :mod:`deft.data.layouts`, which
also open whole datasets of the formats.

Masks always refer to the upright photograph. A photograph that EXIF turns is written upright, without the turn, so that
tools that apply EXIF and tools that ignore it show the same pixels.
"""
