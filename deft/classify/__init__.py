"""The classifier that learns from tags (``classifier``) and its heads: plain CAM (``linear``) and DEFT (``deft``)."""
