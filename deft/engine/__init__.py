"""Training (``fit``), running a function over a dataset (``infer``) and the optimiser presets (``optimise``)."""
