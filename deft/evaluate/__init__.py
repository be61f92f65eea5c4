"""Scores of a run, what can be said without masks, and the values of its page."""
