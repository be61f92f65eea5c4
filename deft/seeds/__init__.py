"""Seed methods: class maps of images with tags.

``cam`` and ``advcam`` read the classifier, ``rib`` fine-tunes it for each image, ``icd`` measures its features, ``amn``
and ``ood`` train a network after it, ``external`` reads files, and ``clip_text`` reads the names of the classes.
"""
