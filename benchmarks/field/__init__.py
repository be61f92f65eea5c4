"""Inputs that people had trouble with, or that are hostile, each made here and with its right outcome beside it."""
