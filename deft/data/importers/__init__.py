"""Conversion of labels and masks of other tools."""
