"""The network that makes masks of photographs nobody has tagged (``deeplab``) and its inference (``inference``)."""
