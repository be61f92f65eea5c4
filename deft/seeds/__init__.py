"""Seeds: where the classifier looks (``cam``)."""
