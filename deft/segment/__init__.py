"""The segmentation network, which needs no tags to make masks (``deeplab``), and its inference (``inference``)."""
