"""Seeds to better maps: confident labels (CRF), the pairs and paths of a grid, the random walk, and IRN."""
