"""Results of runs in Jupyter notebooks."""
