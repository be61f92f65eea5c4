"""The classifier that learns from tags (``classifier``) and its heads: plain CAM (``linear``), ``deft`` and ``sma``."""
