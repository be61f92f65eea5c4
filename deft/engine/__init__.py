"""Training (``fit``), running a function over a data set (``infer``) and the optimiser presets (``optimise``)."""
