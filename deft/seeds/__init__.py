"""Seed methods: class maps of images with tags, from the classifier (``cam``, ``advcam``, ``amn``) or from files."""
