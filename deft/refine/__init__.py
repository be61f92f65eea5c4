"""Refinement of seeds: the dense CRF, confident labels, the random walk, and the methods IRN and PSA."""
